"""Image search: what is looked for under each class, and the one interface of the services that answer."""

import hashlib
import itertools
import json
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import quote

from tellapart.data.scan import images_below
from tellapart.errors import ConfigError, FetchError
from tellapart.sources.candidate import Candidate
from tellapart.sources.network import Unavailable

LICENCES = ("CC-0", "PDM", "CC-BY", "CC-BY-SA", "CC-BY-NC", "CC-BY-NC-SA", "CC-BY-ND", "CC-BY-NC-ND")
"""The licences that can be asked for; PDM is the Public Domain Mark."""

OPEN_LICENCES = LICENCES[:4]
"""Those that let everybody use and change an image for any purpose: the default."""

MAX_TEXT_CHARS = 200
"""Of one text; Openverse cuts longer ones off without a word."""

_FORM = 'write {"CLASS": ["a text", "https://… of an image", "./folder"], …}'
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_PATH_LIKE = re.compile(r"\.{1,2}[/\\]|~?[/\\]|[a-z]:[/\\]", re.IGNORECASE)
_VERSION = re.compile(r"[1-9](\.[0-9])?")
_URL_PUNCTUATION = "%/:?#[]@!$&'()*+,;=~"


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


class Source(Protocol):
    """A service that finds images by a text.

    Attributes
    ----------
    name
        As the command line calls it.
    passed_over
        How many images were found and not offered, by the reason.
    """

    name: str
    passed_over: Counter[str]

    def count(self, text: str) -> int:
        """Return about how many images the service has for a text; it may offer fewer."""
        ...

    def find(self, text: str, label: str) -> Iterator[Candidate]:
        """Offer images for a text, the best match first, asking the service only as they are taken.

        Raises
        ------
        FetchError
            If the service does not answer, or answers with something else than a list of images.
        """
        ...


class Search:
    """Offers images class by class, and none under two classes.

    A service that fails ends nothing: the others go on, and so does what is being loaded meanwhile.

    Parameters
    ----------
    sources
        The services that texts are searched in.
    label_of
        Image id -> class of what is there already, from an earlier call for the same folder.

    Attributes
    ----------
    failures
        What services did not answer, and why, in words.
    """

    def __init__(self, sources: Sequence[Source], label_of: Mapping[str, str] | None = None) -> None:
        self._sources = sources
        self._label_of = dict(label_of or {})
        self._passed_over: Counter[str] = Counter()
        self._unavailable: set[str] = set()
        self.failures: list[str] = []

    def candidates(self, label: str, queries: Iterable[Query]) -> Iterator[Candidate]:
        """Offer images of one class, from each query and source in turn: none crowds out the others."""
        offered: set[str] = set()
        for candidate in _in_turn([stream for query in queries for stream in self._streams(query, label)]):
            if self._label_of.setdefault(candidate.id, label) != label:
                self._passed_over["found for another class too"] += 1
            elif candidate.id not in offered:
                offered.add(candidate.id)
                yield candidate

    @property
    def passed_over(self) -> dict[str, int]:
        """How many images were found and not offered, by the reason; most frequent first."""
        total = sum((source.passed_over for source in self._sources), self._passed_over.copy())
        return dict(total.most_common())

    def _streams(self, query: Query, label: str) -> Iterator[Iterator[Candidate]]:
        if query.kind == "text":
            yield from (self._found(source, query.text, label) for source in self._sources)
        elif query.folder is not None:
            yield _in_folder(query, query.folder, label)
        else:
            yield iter([_at_address(query.text, label)])

    def _found(self, source: Source, text: str, label: str) -> Iterator[Candidate]:
        if source.name in self._unavailable:
            return
        try:
            yield from source.find(text, label)
        except FetchError as exc:
            if isinstance(exc, Unavailable):  # it has been asked often enough
                self._unavailable.add(source.name)
            self.failures.append(f"{source.name} gave up on {text!r}: {exc}")


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


def licence_name(text: str) -> str:
    """Return one of `LICENCES` as a user may write it, such as ``cc0`` or ``cc-by``.

    Raises
    ------
    ConfigError
        If it is none of them.
    """
    name = {"CC0": "CC-0"}.get(text.strip().upper(), text.strip().upper())
    if name not in LICENCES:
        raise ConfigError(f"no licence is called {text.strip()!r}; accepted: {', '.join(LICENCES)}")
    return name


def versioned(licence: str, version: str) -> str:
    """Return a licence with its version, such as ``CC-BY 2.0``; what is no version is left out."""
    return f"{licence} {version}" if licence.startswith("CC-BY") and _VERSION.fullmatch(version) else licence


def web_address(text: str) -> str | None:
    """Return an http or https address in plain ASCII; None for anything else, which must not be followed.

    What a service answers is not trusted: a ``file:`` address would read from this machine.
    """
    scheme = _SCHEME.match(text)
    if scheme is None or scheme[1].lower() not in ("http", "https"):
        return None
    return quote(text, safe=_URL_PUNCTUATION, errors="replace")


def one_line(value: object) -> str:
    """Return what a service says as one printable line; empty where it is no text."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    repeated = [name for name, n in Counter(name for name, _ in pairs).items() if n > 1]
    if repeated:
        raise ConfigError(f"the class {repeated[0]!r} stands twice in the queries; join its two lists")
    return dict(pairs)


def _check_names(labels: Iterable[str]) -> None:
    """Refuse classes without a name to print, and those that some file systems would put into one folder."""
    folders = {"licences": "licences"}  # the collection's own
    for label in labels:
        if not label or label != label.strip() or not label.isprintable():
            raise ConfigError(f"a class is called {label!r}; give it a name without spaces around it")
        folder = unicodedata.normalize("NFC", label).casefold()
        if folder in folders:
            raise ConfigError(f"{folders[folder]!r} and {label!r} would be one folder; rename the class")
        folders[folder] = label


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


def _at_address(text: str, label: str) -> Candidate:
    url = web_address(text) or text  # what else it is, the session refuses
    return Candidate(f"web_{_digest(url)}", url, label, metadata={"service": "web", "query": text})


def _in_folder(query: Query, folder: Path, label: str) -> Iterator[Candidate]:
    for path in images_below(folder):
        url = path.resolve().as_uri()
        metadata = {"service": "folder", "query": query.text, "title": one_line(path.stem)}
        yield Candidate(f"folder_{_digest(url)}", url, label, metadata=metadata)


def _digest(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:20]


def _in_turn(streams: Iterable[Iterator[Candidate]]) -> Iterator[Candidate]:
    """Yield the first of every stream, then the second of every stream, and so on."""
    waiting = deque(streams)
    while waiting:
        stream = waiting.popleft()
        for candidate in itertools.islice(stream, 1):
            yield candidate
            waiting.append(stream)
