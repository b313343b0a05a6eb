"""Something that a page or a notebook can ask for, and its arguments, read with their types checked."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from tellapart.errors import ConfigError

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

Json = dict[str, Any]
"""Plain values, as JSON can hold them."""

ONLY_READS = "this studio only reads; without --read-only, and with a journal that can be written, it writes"

MOST_ITEMS = 1_000_000
"""Images that one operation may name."""


class Arguments:
    """The JSON object of one operation.

    Every method raises `ConfigError` where a value is missing or of the wrong type, so that an operation
    reads its arguments and goes on with what it can rely on. An argument that is absent or null takes the
    default, if there is one.

    Parameters
    ----------
    values
        As they came; nothing about them is known yet.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Return whether the argument was given, and is not null."""
        return self._values.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string."""
        value = self._value(name, default)
        if not isinstance(value, str):
            self._refuse(name, "a text")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Return true or false."""
        value = self._value(name, default)
        if not isinstance(value, bool):
            self._refuse(name, "true or false")
        return value

    def integer(self, name: str, default: int | None = None, *, low: int = 0, high: int = 2**53) -> int:
        """Return a whole number in [low, high]."""
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self._refuse(name, f"a whole number from {low} to {high}")
        return value

    def number(
        self, name: str, default: float | None = None, *, low: float = -math.inf, high: float = math.inf
    ) -> float:
        """Return a finite number in [low, high]."""
        value = self._value(name, default)
        good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not good or not low <= value <= high:
            self._refuse(name, f"a number from {low:g} to {high:g}")
        return float(value)

    def one_of(self, name: str, choices: Iterable[str], default: str | None = None) -> str:
        """Return one of `choices`."""
        known = tuple(choices)
        value = self.text(name, default)
        if value not in known:
            self._refuse(name, f"one of {', '.join(known)}")
        return value

    def texts(self, name: str, default: Sequence[str] | None = None) -> list[str]:
        """Return a list of strings."""
        return self._list(name, default, str, "a list of texts")

    def names(self, name: str) -> list[str]:
        r"""Return a list of strings, or what a text holds between commas, as addresses do; none if absent.

        A comma or a backslash in a name of such a text has a backslash before it.
        """
        value = self._values.get(name)
        return _parted(value) if isinstance(value, str) else self.texts(name, ())

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int]:
        """Return a list of whole numbers from 0."""
        found = self._list(name, default, int, "a list of whole numbers from 0")
        if any(isinstance(number, bool) or number < 0 for number in found):
            self._refuse(name, "a list of whole numbers from 0")
        return found

    def objects(self, name: str, default: Sequence[Json] | None = None) -> list[Json]:
        """Return a list of objects, about whose values nothing is known yet."""
        return self._list(name, default, dict, "a list of objects")

    def _list(self, name: str, default: Sequence[Any] | None, kind: type, wanted: str) -> list[Any]:
        value = self._value(name, list(default) if default is not None else None)
        if not isinstance(value, list) or not all(isinstance(entry, kind) for entry in value):
            self._refuse(name, wanted)
        if len(value) > MOST_ITEMS:
            self._refuse(name, f"at most {MOST_ITEMS:,} entries")
        return value

    def _value(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        if value is None:
            value = default
        if value is None:
            raise ConfigError(f"the argument {name!r} is missing")
        return value

    def _refuse(self, name: str, wanted: str) -> NoReturn:
        found = repr(self._values.get(name))
        shown = found if len(found) <= 80 else f"{found[:80]}…"
        raise ConfigError(f"the argument {name!r} is {shown}; accepted: {wanted}")


def _parted(text: str) -> list[str]:
    names = [""]
    characters = iter(text)
    for character in characters:
        if character == ",":
            names.append("")
        else:
            names[-1] += next(characters, "") if character == "\\" else character
    return [name for name in names if name]


class Operation(NamedTuple):
    """Something that a page can ask for.

    Attributes
    ----------
    function
        Gets the desk and the arguments, returns plain values. May be called from several threads at once.
    writes
        Whether it changes anything: refused on a desk that is only read.
    """

    function: Callable[["Desk", Arguments], Json]
    writes: bool = False
