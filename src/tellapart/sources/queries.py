"""Queries: what is looked for under each class, as a JSON file says."""

import json
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tellapart.data.scan import images_below
from tellapart.errors import ConfigError
from tellapart.sources.answers import web_address
from tellapart.sources.class_folder import check_distinct

MAX_TEXT_CHARS = 200
"""Of one text; Openverse cuts longer ones off without a word."""

_FORM = 'write {"CLASS": ["a text", "https://… of an image", "./folder"], …}'
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_PATH_LIKE = re.compile(r"\.{1,2}[/\\]|~?[/\\]|[a-z]:[/\\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Query:
    """One thing that images of a class are taken from.

    Attributes
    ----------
    text
        As it stands in the file.
    kind
        ``"text"`` is searched for, ``"address"`` is one image on the web, ``"folder"`` lies on this machine.
    folder
        Where a folder lies; None for the other kinds.
    """

    text: str
    kind: Literal["text", "address", "folder"]
    folder: Path | None = None


def read_queries(path: Path) -> dict[str, tuple[Query, ...]]:
    """Read what to look for: a JSON object, class name -> list of queries.

    A query that begins with http:// or https:// is the address of one image; one that names a folder,
    relative to the file, is that folder; any other is a text.

    Raises
    ------
    ConfigError
        If the file is missing or not of that form, or a class or query cannot be used.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repeats)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}; {_FORM} there") from None
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read ({(exc.strerror or str(exc)).lower()})") from exc
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as exc:
        raise ConfigError(f"{path} is not JSON ({exc}); {_FORM}") from exc
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{path} holds no classes; {_FORM}")
    _check_names(content)
    return {label: _read_class(label, entries, path.parent) for label, entries in content.items()}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
    if repeated:
        raise ConfigError(f"the class {repeated[0]!r} stands twice in the queries; join its two lists")
    return dict(pairs)


def _check_names(labels: Collection[str]) -> None:
    for label in labels:
        if not label or label != label.strip() or not label.isprintable():
            raise ConfigError(f"a class is called {label!r}; give it a name without spaces around it")
    check_distinct(labels)


def _read_class(label: str, entries: object, base: Path) -> tuple[Query, ...]:
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"the class {label!r} has no list of queries; {_FORM}")
    return tuple(dict.fromkeys(_read_query(entry, label, base) for entry in entries))


def _read_query(entry: object, label: str, base: Path) -> Query:
    if not isinstance(entry, str) or not entry.strip() or not entry.isprintable():
        raise ConfigError(f"the class {label!r} has the query {entry!r}; {_FORM}")
    text = entry.strip()
    if scheme := _SCHEME.match(text):
        if web_address(text) is None:
            raise ConfigError(
                f"the class {label!r} has an address that begins with {scheme[0]}; use http(s)://"
            )
        return Query(text, "address")
    folder = base / (Path(text).expanduser() if text.startswith("~/") else text)
    if _is_folder(folder):
        if not images_below(folder):
            raise ConfigError(f"the class {label!r} names the folder {folder}, which holds no images")
        return Query(text, "folder", folder)
    if _PATH_LIKE.match(text):
        raise ConfigError(f"the class {label!r} names the folder {text}, but there is none at {folder}")
    if len(text) > MAX_TEXT_CHARS:
        raise ConfigError(
            f"the class {label!r} has a text of {len(text)} characters; shorten it to {MAX_TEXT_CHARS}"
        )
    return Query(text, "text")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a long text is no name of a file
        return False
