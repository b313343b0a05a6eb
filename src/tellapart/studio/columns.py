"""Columns of names, as numbers: what a hundred thousand images are chosen and counted by."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]


class Names:
    """Names with a number each, given in the order in which they are first seen."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._code: dict[str, int] = {}
        self._names: list[str] = []
        for name in names:
            self.code(name)

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, code: int) -> str:
        return self._names[code]

    def code(self, name: str) -> int:
        """Return the number of a name, a new one if it was never seen."""
        code = self._code.setdefault(name, len(self._names))
        if code == len(self._names):
            self._names.append(name)
        return code

    def codes(self, names: Iterable[str]) -> Codes:
        """Return the numbers of names, int32."""
        return np.fromiter(map(self.code, names), np.int32)

    def column(self, codes: Codes) -> "Column":
        """Return a column of these names."""
        return Column(self._names, codes)


class Column(NamedTuple):
    """One value per image.

    Attributes
    ----------
    names
        The values that there may be.
    codes
        int32 of shape (n_images,): index into `names`, -1 where nothing is known.
    """

    names: Sequence[str]
    codes: Codes

    def holds(self, wanted: Sequence[str]) -> Mask:
        """Return where the value is one of `wanted`."""
        chosen = np.zeros(len(self.names) + 1, dtype=np.bool_)  # the last place is that of -1
        chosen[[k for k, name in enumerate(self.names) if name in wanted]] = True
        return chosen[self.codes]

    def counts(self, among: Mask) -> dict[str, int]:
        """Return how many images among some have each value, by name; values that none has are left out."""
        numbers = np.bincount(self.codes[among] + 1, minlength=len(self.names) + 1)[1:]
        return {name: int(n) for name, n in sorted(zip(self.names, numbers, strict=True)) if n}


class Marks(NamedTuple):
    """Several values per image, or none: where each holds, bool of shape (n_images,)."""

    where: Mapping[str, Mask]
    n: int

    def holds(self, wanted: Sequence[str]) -> Mask:
        """Return where one of `wanted` holds."""
        found = np.zeros(self.n, dtype=np.bool_)
        for name in wanted:
            if name in self.where:
                found |= self.where[name]
        return found

    def counts(self, among: Mask) -> dict[str, int]:
        """Return of how many images among some each value holds, by name, leaving out those of none."""
        numbers = {name: int(np.count_nonzero(mask & among)) for name, mask in sorted(self.where.items())}
        return {name: n for name, n in numbers.items() if n}


def two_values(names: tuple[str, str], where: Mask, known: Mask | None = None) -> Column:
    """Return a column with the second name where `where`, else the first; nothing where not `known`."""
    codes = where.astype(np.int32)
    if known is not None:
        codes[~known] = -1
    return Column(names, codes)
