"""Two models on the same images: who is right where, and whether the difference is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.intervals import Resampling, bootstrap_estimate, wilson

Mask = NDArray[np.bool_]

OUTCOMES = ("both right", "fixed", "broken", "both wrong")
"""Of one image: right under both models; wrong under the first only; under the second only; under both."""


@dataclass(frozen=True, eq=False)
class Paired:
    """The answers of two models to the same images.

    Attributes
    ----------
    first, second
        bool of shape (n_samples,), n_samples at least 1: whether each model is right.
    groups
        One per image (patient, lesion) where images are not independent, else None.
    n_bootstrap, seed
        Draws behind an interval over groups.
    """

    first: Mask
    second: Mask
    groups: Sequence[str] | None = None
    n_bootstrap: int = 1000
    seed: int = 0

    def where(self, outcome: str) -> NDArray[np.int64]:
        """Return the indices of the images with one of `OUTCOMES`, in order."""
        first, second = outcome in ("both right", "broken"), outcome in ("both right", "fixed")
        return np.flatnonzero((self.first == first) & (self.second == second)).astype(np.int64)

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many images have each of `OUTCOMES`."""
        return {outcome: len(self.where(outcome)) for outcome in OUTCOMES}

    @property
    def independent(self) -> bool:
        """Whether every image stands for itself; where not, `p_value` is too small."""
        return self._resampling.independent

    @cached_property
    def p_value(self) -> float:
        """How likely chance alone fixes and breaks as unevenly: McNemar's exact test (Psychometrika 1947).

        Two-sided: twice the smaller tail of the binomial distribution of the images on which the models
        differ, with probability one half; 1 where they differ on none.
        """
        from scipy.special import betainc

        fixed, broken = self.counts["fixed"], self.counts["broken"]
        few, n = min(fixed, broken), fixed + broken
        if n == 0 or 2 * few == n:
            return 1.0
        return min(1.0, 2 * float(betainc(n - few, few + 1, 0.5)))

    @cached_property
    def difference(self) -> Estimate:
        """Accuracy of the second model less that of the first, with its 95 % interval.

        Of independent images Newcombe's, his method 10 (Statistics in Medicine 17, 2635, 1998); else the
        bootstrap over groups.
        """
        change = self.second.astype(np.float64) - self.first
        value = float(change.mean())
        if self.independent:
            return Estimate(value, self._newcombe(), "Newcombe's interval for paired proportions")
        drawn = self._resampling.weights(self.n_bootstrap, self.seed)
        draws = [(change @ weights) / weights.sum(axis=0) for weights in drawn]
        return bootstrap_estimate(
            value,
            np.concatenate(draws) if draws else np.empty(0),
            self._resampling,
            bounds=(-1.0, 1.0),
            n_exact=self._resampling.n_units,
        )

    def _newcombe(self) -> tuple[float, float]:
        a, b, c, d = (float(self.counts[name]) for name in OUTCOMES)
        n = a + b + c + d
        p = np.array([a + b, a + c]) / n  # accuracy of the second and of the first
        low, high = wilson(p * n, np.array([n, n]))
        below, above = p - low, high - p
        phi = _correlation(a, b, c, d)
        down = below[0] ** 2 - 2 * phi * below[0] * above[1] + above[1] ** 2
        up = above[0] ** 2 - 2 * phi * above[0] * below[1] + below[1] ** 2
        value = float(p[0] - p[1])
        return max(-1.0, value - float(np.sqrt(down))), min(1.0, value + float(np.sqrt(up)))

    @cached_property
    def _resampling(self) -> Resampling:
        return Resampling.of(len(self.first), self.groups)


def _correlation(a: float, b: float, c: float, d: float) -> float:
    """Return the correlation of two paired proportions, corrected for continuity as Newcombe does."""
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    covariance = a * d - b * c
    if covariance > 0:
        covariance = max(0.0, covariance - (a + b + c + d) / 2)
    return float(covariance / np.sqrt(margins))
