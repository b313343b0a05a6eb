"""Figures by subgroup, which show whether a model is as good for women as for men, here as elsewhere."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.intervals import Resampling, bootstrap_estimate, proportion

Mask = NDArray[np.bool_]

MOST_VALUES = 12
"""A metadata column with more distinct values than this describes images, not groups of people."""

FEW = 30
"""Independent images, or groups of them, under which a subgroup says little about the model."""

AGE_BAND_YEARS = 20
_IS_AGE = re.compile(r"(?<![a-z])age(?![a-z])", re.IGNORECASE)
"""Finds columns such as age, Age (years) and patient_age, but not image, stage or dosage."""


@dataclass(frozen=True)
class Subgroup:
    """The images that have one value in one metadata column.

    Attributes
    ----------
    column, value
        Of the metadata; ages are banded.
    n_samples, n_units
        How many images, and how many independent units (groups or images) they are.
    figures
        ``accuracy``, and for two classes ``sensitivity`` and ``specificity``.
    counts
        Of each figure: how many images it is the share of.
    """

    column: str
    value: str
    n_samples: int
    n_units: int
    figures: Mapping[str, Estimate]
    counts: Mapping[str, int]

    @property
    def is_small(self) -> bool:
        """Whether it says little: fewer than `FEW` independent units."""
        return self.n_units < FEW


def subgroups(
    metadata: Sequence[Mapping[str, str]],
    y_true: NDArray[np.int64],
    y_pred: NDArray[np.int64],
    *,
    positive: int | None = None,
    groups: Sequence[str] | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> list[Subgroup]:
    """Return the figures of every subgroup, by column and value.

    Shares of independent images get Clopper-Pearson's interval, others the bootstrap over groups.

    Parameters
    ----------
    metadata
        One per image. Only columns with 2 to `MOST_VALUES` values count, ages by bands of twenty years.
    y_true, y_pred
        int64 of shape (n_samples,): true and predicted class indices.
    positive
        Index of the positive class where there are two classes, else None.
    groups
        One per image (patient, lesion) where images are not independent, else None.
    n_bootstrap, seed
        Draws behind an interval over groups.
    """
    resampling = Resampling.of(len(metadata), groups)
    members = _members(metadata)
    correct = y_true == y_pred
    whole = {"accuracy": np.ones_like(correct)}
    if positive is not None:
        whole |= {"sensitivity": y_true == positive, "specificity": y_true != positive}
    among = [mask & images for mask in members.values() for images in whole.values()]
    shares = _shares(among, correct, resampling, n_bootstrap, seed)
    found = []
    for i, ((column, value), mask) in enumerate(members.items()):
        part = slice(i * len(whole), (i + 1) * len(whole))
        figures = dict(zip(whole, shares[part], strict=True))
        counts = {name: int(m.sum()) for name, m in zip(whole, among[part], strict=True)}
        found.append(
            Subgroup(column, value, int(mask.sum()), resampling.count(mask), figures, counts),
        )
    return found


def banded(column: str, value: str) -> str:
    """Return ages in bands of twenty years, other values as they are."""
    if not value:
        return "not given"
    if not _IS_AGE.search(column):
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    if not math.isfinite(number):
        return "not given"
    low = int(number // AGE_BAND_YEARS) * AGE_BAND_YEARS
    return f"{low:02d}–{low + AGE_BAND_YEARS - 1}"


def _members(metadata: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], Mask]:
    """Return by column and value which images have it."""
    members: dict[tuple[str, str], Mask] = {}
    for column in sorted({key for row in metadata for key in row}):
        values = np.array([banded(column, row.get(column, "")) for row in metadata], dtype=str)
        distinct = np.unique(values)
        if 1 < distinct.size <= MOST_VALUES:
            members |= {(column, str(value)): values == value for value in distinct}
    return members


def _shares(
    among: Sequence[Mask], correct: Mask, resampling: Resampling, n_draws: int, seed: int
) -> list[Estimate]:
    """Return of each mask the share of correct images."""
    hits = [mask & correct for mask in among]
    counted = [(int(hit.sum()), int(mask.sum())) for hit, mask in zip(hits, among, strict=True)]
    if resampling.independent or not among:
        return [proportion(successes, n) for successes, n in counted]
    columns = np.stack([*hits, *among], axis=1).astype(np.float64)
    totals = [columns.T @ weights for weights in resampling.weights(n_draws, seed)]
    drawn = np.concatenate(totals, axis=1) if totals else np.empty((columns.shape[1], 0))
    with np.errstate(invalid="ignore"):
        draws = drawn[: len(among)] / drawn[len(among) :]
    return [
        bootstrap_estimate(
            successes / n if n else float("nan"),
            row,
            resampling,
            bounds=(0.0, 1.0),
            n_exact=resampling.count(mask),
        )
        for (successes, n), row, mask in zip(counted, draws, among, strict=True)
    ]
