"""Keys of one's own: a TOML file that names actions of the page, and the keys that shall do them."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tellapart.errors import ConfigError
from tellapart.studio.pages import STATIC

_ACTION = re.compile(r'(\w+): \["([^"]+)", "[^"]*"\],')
_NAMED = r"Space|Enter|Escape|Backspace|Delete|Tab|Home|End|Insert|F\d+|Page(Up|Down)|Arrow(\w+)"
_STROKE = rf"((Ctrl|Alt)\+)?(Shift\+)?([^\s+]|{_NAMED})"
_KEY = re.compile(rf"{_STROKE}( {_STROKE})?")


@cache
def default_keys() -> Mapping[str, str]:
    """Return action -> key as the page has them; the table is in ``static/core/keys.js``."""
    table = (STATIC / "core" / "keys.js").read_text(encoding="utf-8")
    return dict(_ACTION.findall(table))


def read_keys(path: Path) -> dict[str, str]:
    """Read lines such as ``accept = "y"``; keys are written as the help of the page shows them.

    Raises
    ------
    ConfigError
        If it cannot be read, names an unknown action or an impossible key, or one key has two actions.
    """
    try:
        chosen = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f'{path} cannot be read ({exc}); it has lines such as: accept = "y"') from exc
    for action, key in chosen.items():
        if action not in default_keys():
            raise ConfigError(f"{path}: no action {action!r}; there are: {', '.join(default_keys())}")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(
                f"{path}: {action} = {key!r} is no key; write one such as y, Shift+F, Ctrl+Enter or ArrowUp"
            )
    written = {action: _as_pressed(key) for action, key in chosen.items()}
    actions: dict[str, list[str]] = defaultdict(list)
    for action, key in {**default_keys(), **written}.items():
        actions[key].append(action)
    for key, both in actions.items():
        if len(both) > 1:
            raise ConfigError(f"{path}: {key} would do {' and '.join(both)}; give one of them another key")
    return written


def _as_pressed(key: str) -> str:
    """Return a key with letters as the page compares them: small, Shift told apart by its name."""
    return re.sub(r"(^|[ +])([A-Z])(?= |$)", lambda found: found[1] + found[2].lower(), key)
