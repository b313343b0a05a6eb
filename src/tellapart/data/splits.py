"""Deal samples into parts so that no group is on two sides and every class is in each part.

One greedy rule serves a held-out test set, a validation set and k folds: the groups with the most
uneven classes come first, each goes to the part that lacks its classes most. With groups of one image
this is exact stratification (each class to within one image); with larger groups, as near as they allow.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import SplitError, TooFewImages


class RareClass(TooFewImages):
    """A class has fewer groups than there are parts; the caller knows the class's name."""

    def __init__(self, class_index: int, n_groups: int) -> None:
        super().__init__(f"class number {class_index} has {n_groups} independent images or groups")
        self.class_index = class_index
        self.n_groups = n_groups


def deal(
    y: NDArray[np.int64],
    groups: Sequence[Hashable],
    proportions: Sequence[float],
    *,
    seed: int,
    stratify: bool = True,
    every_class: bool = True,
) -> NDArray[np.int64]:
    """Deal samples into parts, group by group.

    Parameters
    ----------
    y
        int64 of shape (n_samples,): class indices from 0.
    groups
        One per sample; samples of one group always end in the same part.
    proportions
        Wanted share of each part; they sum to 1.
    seed
        Decides among equals.
    stratify
        False balances only the sizes of the parts.
    every_class
        Whether every part must get every class; False lets a rare class be missing from some.

    Returns
    -------
    int64 of shape (n_samples,): the part of each sample.

    Raises
    ------
    RareClass
        If a class has fewer groups than there are parts.
    SplitError
        If the groups do not let every class into every part.
    """
    shares = np.asarray(proportions, dtype=np.float64)
    classes = y if stratify else np.zeros_like(y)
    group_of = _group_indices(groups)
    counts = _class_counts(classes, group_of)
    if stratify and every_class:
        _check_enough(counts, len(shares))
    wanted = _wanted(counts, shares)
    totals = np.maximum(counts.sum(axis=0), 1)
    lacking = wanted / totals
    weights = counts / totals
    part_of_group = np.empty(len(counts), dtype=np.int64)
    for group in _uneven_first(counts, np.random.default_rng(seed)):
        part = int(np.argmax(lacking @ weights[group]))
        part_of_group[group] = part
        lacking[part] -= weights[group]
    if every_class:
        _check_no_class_lost(counts, part_of_group, len(shares))
    return part_of_group[group_of]


def join_groups(*keys: Sequence[Hashable | None]) -> list[int]:
    """Give samples that share any key (group, content hash, …) the same number.

    A key of None connects nothing.

    Examples
    --------
    >>> join_groups(["a", "a", "b", None], ["x", "y", "y", "z"])
    [0, 0, 0, 3]
    """
    pairs: list[tuple[int, int]] = []
    for column in keys:
        first: dict[Hashable, int] = {}
        pairs += [(first.setdefault(key, i), i) for i, key in enumerate(column) if key is not None]
    leaders: list[int] = connected(np.array(pairs, np.int64).reshape(-1, 2), len(keys[0])).tolist()
    return leaders


def connected(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return the first of all that pairs, of shape (n_pairs, 2), connect each of n numbers with."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, component = connected_components(edges, directed=False)
    _, leader = np.unique(component, return_index=True)
    leaders: NDArray[np.int64] = leader[component].astype(np.int64)
    return leaders


def _group_indices(groups: Sequence[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def _class_counts(y: NDArray[np.int64], group_of: NDArray[np.int64]) -> NDArray[np.float64]:
    counts = np.zeros((group_of.max() + 1, y.max() + 1))
    np.add.at(counts, (group_of, y), 1)
    return counts


def _wanted(counts: NDArray[np.float64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Images wanted of each class in each part: its share, but at least one."""
    return np.maximum(np.outer(shares, counts.sum(axis=0)), 1.0)


def _uneven_first(counts: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Order groups so that those hardest to place come first; equals in random order."""
    shuffled = rng.permutation(len(counts))
    rarity = (counts / np.maximum(counts.sum(axis=0), 1)).max(axis=1)
    hardness = np.where(counts.sum(axis=1) > 1, counts.sum(axis=1), 0) + rarity
    return shuffled[np.argsort(-hardness[shuffled], kind="stable")]


def _check_enough(counts: NDArray[np.float64], n_parts: int) -> None:
    n_groups = (counts > 0).sum(axis=0)
    poor = np.flatnonzero((n_groups < n_parts) & (counts.sum(axis=0) > 0))
    if len(poor):
        raise RareClass(int(poor[0]), int(n_groups[poor[0]]))


def _check_no_class_lost(counts: NDArray[np.float64], part_of_group: NDArray[np.int64], n_parts: int) -> None:
    present = counts.sum(axis=0) > 0
    for part in range(n_parts):
        if (counts[part_of_group == part].sum(axis=0)[present] == 0).any():
            raise SplitError(
                "the groups are too few or too uneven to put every class into every part; "
                "try another --seed, a larger --test-size, or fewer --folds"
            )
