"""What keys do on the page, and keys of one's own: a TOML file that names actions, and their keys."""

import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tellapart.errors import ConfigError

_NAMED = r"Space|Enter|Escape|Backspace|Delete|Tab|Home|End|Insert|F\d+|Page(Up|Down)|Arrow(\w+)"
_STROKE = rf"((Ctrl|Alt)\+)?(Shift\+)?([^\s+]|{_NAMED})"
_KEY = re.compile(rf"{_STROKE}( {_STROKE})?")

_SIGNS = {"ArrowLeft": "←", "ArrowRight": "→", "ArrowUp": "↑", "ArrowDown": "↓", "Backspace": "⌫"}

ACTIONS = {
    "left": ("ArrowLeft", "Move"),
    "right": ("ArrowRight", "Move"),
    "up": ("ArrowUp", "Move"),
    "down": ("ArrowDown", "Move"),
    "first": ("Home", "To the first, to the last"),
    "last": ("End", "To the first, to the last"),
    "pageUp": ("PageUp", "A page up, a page down"),
    "pageDown": ("PageDown", "A page up, a page down"),
    "extendLeft": ("Shift+ArrowLeft", "Select a range"),
    "extendRight": ("Shift+ArrowRight", "Select a range"),
    "extendUp": ("Shift+ArrowUp", "Select a range"),
    "extendDown": ("Shift+ArrowDown", "Select a range"),
    "select": ("Space", "Select or unselect"),
    "selectAll": ("Ctrl+a", "Select all"),
    "label1": ("1", "Label as class 1 … 10, and advance"),
    "label2": ("2", ""),
    "label3": ("3", ""),
    "label4": ("4", ""),
    "label5": ("5", ""),
    "label6": ("6", ""),
    "label7": ("7", ""),
    "label8": ("8", ""),
    "label9": ("9", ""),
    "label10": ("0", "Label as class 1 … 10, and advance"),
    "label11": ("Shift+1", "Label as class 11 … 20, and advance"),
    "label12": ("Shift+2", ""),
    "label13": ("Shift+3", ""),
    "label14": ("Shift+4", ""),
    "label15": ("Shift+5", ""),
    "label16": ("Shift+6", ""),
    "label17": ("Shift+7", ""),
    "label18": ("Shift+8", ""),
    "label19": ("Shift+9", ""),
    "label20": ("Shift+0", "Label as class 11 … 20, and advance"),
    "pick": ("/", "Pick a class by its name"),
    "zoom": ("Enter", "Look closely"),
    "larger": ("+", "Larger, smaller"),
    "smaller": ("-", "Larger, smaller"),
    "rotate": ("r", "Turn the picture"),
    "accept": ("a", "Accept the suggestion"),
    "keep": ("k", "Keep the label"),
    "skip": ("s", "Skip"),
    "exclude": ("x", "Exclude, or take in again"),
    "flag": ("f", "Flag, or take the flag off"),
    "next": ("n", "Next, previous"),
    "previous": ("p", "Next, previous"),
    "blind": ("b", "Hide label and prediction until you have answered"),
    "undo": ("Ctrl+z", "Undo"),
    "redo": ("Ctrl+Shift+z", "Redo"),
    "redoAlso": ("Ctrl+y", "Redo"),
    "undoBack": ("Backspace", "Undo, and go back"),
    "close": ("Escape", "Close, or unselect"),
    "help": ("?", "This list"),
    "goGrid": ("g g", "Go to the grid"),
    "goReview": ("g r", "Go to the review"),
    "goDuplicates": ("g d", "Go to the duplicates"),
    "goAugment": ("g a", "Go to the augmentation"),
    "goTraining": ("g t", "Go to the training"),
    "goResults": ("g e", "Go to the results"),
    "goThreshold": ("g h", "Go to the threshold"),
    "goTry": ("g y", "Go to try an image"),
    "goHistory": ("g i", "Go to the history"),
}
"""Action -> its key, and what it does, in the order of the page's help: same words share a line there, and
what has none has no line."""


def actions(chosen: Mapping[str, str]) -> dict[str, tuple[str, str, str]]:
    """Return `ACTIONS` with the keys that somebody chose (action -> key), and each key as it is shown."""
    keys = {action: chosen.get(action, key) for action, (key, _) in ACTIONS.items()}
    return {action: (key, ACTIONS[action][1], printed(key)) for action, key in keys.items()}


def printed(key: str) -> str:
    """Return a key as buttons show it, such as ``"Shift+←"`` or ``"G then A"``."""
    for name, sign in _SIGNS.items():
        key = key.replace(name, sign)
    return re.sub(r"(?<![^ +])[a-z](?![^ ])", lambda found: found[0].upper(), key).replace(" ", " then ")


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
        if action not in ACTIONS:
            raise ConfigError(f"{path}: no action {action!r}; there are: {', '.join(ACTIONS)}")
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise ConfigError(
                f"{path}: {action} = {key!r} is no key; write one such as y, Shift+F, Ctrl+Enter or ArrowUp"
            )
    written = {action: _as_pressed(key) for action, key in chosen.items()}
    doing: dict[str, list[str]] = defaultdict(list)
    for action, (key, _, _) in actions(written).items():
        doing[key].append(action)
    for key, both in doing.items():
        if len(both) > 1:
            raise ConfigError(f"{path}: {key} would do {' and '.join(both)}; give one of them another key")
    return written


def _as_pressed(key: str) -> str:
    """Return a key with letters as the page compares them: small, Shift told apart by its name."""
    return re.sub(r"(^|[ +])([A-Z])(?= |$)", lambda found: found[1] + found[2].lower(), key)
