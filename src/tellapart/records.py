"""The frozen records that the layers pass to one another. No files, no models, no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import DataError

UNKNOWN = -1
"""The value of `Predictions.y_true` for an image whose true class is not known."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image file.

    Attributes
    ----------
    id
        POSIX path relative to the dataset's root, NFC-normalised: unique, and the same on every machine.
    path
        Where the file lies.
    label
        Class name.
    split
        ``"train"``, ``"val"``, ``"test"`` where the data say so, else None.
    group
        What must stay on one side of a split (patient, lesion), else None.
    metadata
        Every other manifest column, as text.
    sha256
        Hex digest of the file's bytes; None until it was read.
    """

    id: str
    path: Path
    label: str
    split: str | None = None
    group: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """One file that was found and not used.

    Attributes
    ----------
    path
        As `Sample.id` where it lies under the dataset's root.
    reason
        Why, in words a user can act on.
    unreadable
        Whether it should be an image, or a folder of some, and cannot be read; False for what was left out
        on purpose.
    """

    path: str
    reason: str
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """The probability from which a two-class model says "positive".

    Attributes
    ----------
    value
        In [0, 1]; at or above it the label is `positive`.
    positive
        Name of the class whose finding is positive.
    chosen_on
        The data it was chosen on: ``"out-of-fold"``, ``"validation"`` or ``"default"``; never the test set.
    rule
        How it was chosen, in words.
    band
        From the first probability up to below the second, a person is to decide; `value` lies between
        the two, or is one of them. None where nothing is referred to a person.
    chosen_by, why, at
        Who chose it, with which reason, and when (ISO 8601, UTC); empty where training chose it.
    """

    value: float
    positive: str
    chosen_on: str
    rule: str
    band: tuple[float, float] | None = None
    chosen_by: str = ""
    why: str = ""
    at: str = ""


def decide(
    y_prob: NDArray[np.float64], class_names: tuple[str, ...], threshold: Threshold | None
) -> NDArray[np.int64]:
    """Return class indices, int64 of shape (n_samples,).

    The most probable class; for two classes with a threshold, the positive class where its probability
    reaches the threshold.
    """
    if threshold is None:
        y_pred: NDArray[np.int64] = y_prob.argmax(axis=1).astype(np.int64)
        return y_pred
    positive = class_names.index(threshold.positive)
    is_positive = y_prob[:, positive] >= threshold.value
    return np.where(is_positive, np.int64(positive), np.int64(1 - positive))


def refers(y_prob: NDArray[np.float64], class_names: tuple[str, ...], threshold: Threshold | None) -> bool:
    """Return whether a person is to decide on an image with these probabilities, of shape (n_classes,)."""
    if threshold is None or threshold.band is None:
        return False
    low, high = threshold.band
    return bool(low <= y_prob[class_names.index(threshold.positive)] < high)


def merge_map(classes: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> dict[str, str]:
    """Return old class name -> new, for new names that each join old ones.

    Raises
    ------
    DataError
        If an old name is not a class, or is given twice.
    """
    new_of: dict[str, str] = {}
    for new, olds in classes.items():
        for old in olds:
            if old not in class_names or old in new_of:
                problem = "is given twice" if old in new_of else "is not a class"
                raise DataError(f"{old!r} {problem}; classes are {', '.join(class_names)}")
            new_of[old] = new
    return {name: new_of.get(name, name) for name in class_names}


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier said about images; evaluation needs nothing else.

    Attributes
    ----------
    sample_ids
        One per image, length n_samples.
    y_true
        int64 of shape (n_samples,), indices into `class_names`; `UNKNOWN` (-1) where not known.
    y_prob
        float64 of shape (n_samples, n_classes); rows sum to 1.
    class_names
        Length n_classes, in the order of the columns.
    groups
        One per image (patient, lesion) where images are not independent, else None.
    skipped
        Files that were asked for and could not be read, with the reason.
    """

    sample_ids: tuple[str, ...]
    y_true: NDArray[np.int64]
    y_prob: NDArray[np.float64]
    class_names: tuple[str, ...]
    groups: tuple[str, ...] | None = None
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        n_samples, n_classes = len(self.sample_ids), len(self.class_names)
        if self.y_prob.shape != (n_samples, n_classes):
            raise DataError(f"y_prob has shape {self.y_prob.shape}, expected {(n_samples, n_classes)}")
        if self.y_true.shape != (n_samples,):
            raise DataError(f"y_true has shape {self.y_true.shape}, expected {(n_samples,)}")
        if self.groups is not None and len(self.groups) != n_samples:
            raise DataError(f"{len(self.groups)} groups for {n_samples} samples")
        if n_samples and not np.allclose(self.y_prob.sum(axis=1), 1.0, atol=1e-4):
            raise DataError("rows of y_prob must sum to 1")

    def __len__(self) -> int:
        return len(self.sample_ids)

    def merged(self, classes: Mapping[str, Sequence[str]]) -> "Predictions":
        """Join classes, new name -> old names: their probabilities add up; others stay as they are.

        Raises
        ------
        DataError
            If an old name is not a class, or is given twice.
        """
        new_of = merge_map(classes, self.class_names)
        names = tuple(sorted(set(new_of.values())))
        column_of = np.array([names.index(new_of[name]) for name in self.class_names])
        y_prob = np.zeros((len(self), len(names)))
        for old, new in enumerate(column_of):
            y_prob[:, new] += self.y_prob[:, old]
        y_true = np.where(self.y_true == UNKNOWN, UNKNOWN, column_of[self.y_true])
        return replace(self, y_true=y_true, y_prob=y_prob, class_names=names)

    @property
    def y_pred(self) -> NDArray[np.int64]:
        """int64 of shape (n_samples,): the most probable class."""
        return decide(self.y_prob, self.class_names, None)
