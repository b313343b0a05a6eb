"""What thresholds would do: exact counts at each, and shares with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.curves import MAX_POINTS, spread_along
from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.intervals import Resampling, bootstrap_estimate, proportion

SHARES = ("sensitivity", "specificity", "ppv", "npv")
"""What `OperatingPoints.estimates` gives at every threshold."""


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """Thresholds on one class's probability, and what they call right and wrong.

    Intervals are those of an `Evaluation` of the same samples: exact where images are independent, else
    the bootstrap over groups.

    Attributes
    ----------
    positive
        bool of shape (n_samples,): which samples are of the class.
    score
        float64 of shape (n_samples,): their probability of it.
    thresholds
        float64 of shape (n_points,), rising; a sample is called positive from the threshold up.
    resampling
        Which samples belong together.
    n_draws, seed
        Of the bootstrap.
    """

    positive: NDArray[np.bool_]
    score: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    resampling: Resampling
    n_draws: int = 1000
    seed: int = 0

    @classmethod
    def across(
        cls,
        positive: NDArray[np.bool_],
        score: NDArray[np.float64],
        resampling: Resampling,
        *,
        keep: Sequence[float] = (),
        max_points: int = MAX_POINTS,
    ) -> "OperatingPoints":
        """Return all thresholds that tell these samples apart, thinned to about `max_points`.

        Parameters
        ----------
        keep
            Thresholds that are among the points whatever the thinning, as they are.
        """
        distinct = np.unique(score)
        every = cls(positive, score, below_each(distinct), resampling)
        thinned = spread_along(every.fp / max(1, every.fp[0]), every.tp / max(1, every.tp[0]), max_points)
        kept = np.unique(np.asarray(keep, dtype=np.float64))
        # Of two thresholds between the same two scores one is enough: each step is to change something.
        same = np.isin(np.searchsorted(distinct, every.thresholds), np.searchsorted(distinct, kept))
        rest = every.thresholds[np.setdiff1d(thinned, np.flatnonzero(same))]
        return cls(positive, score, np.union1d(rest, kept), resampling)

    @cached_property
    def tp(self) -> NDArray[np.int64]:
        """int64 of shape (n_points,): positive samples that are called so."""
        return self._called(self.score[self.positive])

    @cached_property
    def fp(self) -> NDArray[np.int64]:
        """int64 of shape (n_points,): other samples that are called positive."""
        return self._called(self.score[~self.positive])

    def estimates(self, low: int, high: int | None = None) -> dict[str, Estimate]:
        """Return `SHARES` at a threshold, or with a band in which a person decides.

        Parameters
        ----------
        low, high
            Indices of the thresholds below which samples are called negative, and from which up they are
            called positive. What lies between is referred to a person; by default nothing does.

        Returns
        -------
        dict
            `SHARES` of the samples that are not referred, and ``referred``, the share that is.
        """
        high = low if high is None else high
        called, cleared = self.score >= self.thresholds[high], self.score < self.thresholds[low]
        # Of every count: on the sample itself first, then on each draw.
        hits, alarms = self._tallies[0][high], self._tallies[1][high]
        missed, right = self._totals[0] - self._tallies[0][low], self._totals[1] - self._tallies[1][low]
        total, decided = self._totals[0] + self._totals[1], hits + alarms + missed + right
        among = {
            "sensitivity": (hits, hits + missed, self.positive & (called | cleared)),
            "specificity": (right, right + alarms, ~self.positive & (called | cleared)),
            "ppv": (hits, hits + alarms, called),
            "npv": (right, right + missed, cleared),
            "referred": (total - decided, total, np.ones_like(called)),
        }
        return {name: self._share(*parts) for name, parts in among.items()}

    def _share(
        self, part: NDArray[np.float64], whole: NDArray[np.float64], among: NDArray[np.bool_]
    ) -> Estimate:
        if self.resampling.independent:
            return proportion(int(part[0]), int(whole[0]))
        with np.errstate(invalid="ignore"):
            share = part / whole
        n_units = self.resampling.count(among)
        return bootstrap_estimate(
            float(share[0]), share[1:], self.resampling, bounds=(0.0, 1.0), n_exact=n_units
        )

    def _called(self, score: NDArray[np.float64]) -> NDArray[np.int64]:
        return score.size - np.searchsorted(np.sort(score), self.thresholds).astype(np.int64)

    @cached_property
    def _totals(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Positive and other samples: float64 of shape (1 + n_draws,) each."""
        return self._weighed[2], self._weighed[3]

    @cached_property
    def _tallies(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """True and false positives: float64 of shape (n_points, 1 + n_draws) each."""
        return self._weighed[0], self._weighed[1]

    @cached_property
    def _weighed(self) -> tuple[NDArray[np.float64], ...]:
        order = np.argsort(self.score, kind="stable")
        edges = np.searchsorted(self.score[order], self.thresholds)
        itself = np.ones((self.score.size, 1))
        drawn = () if self.resampling.independent else self.resampling.weights(self.n_draws, self.seed)
        parts = []
        for weights in chain([itself], drawn):
            sums = []
            for mask in (self.positive, ~self.positive):
                below = np.cumsum((weights * mask[:, None])[order], axis=0)
                below = np.concatenate([np.zeros((1, below.shape[1])), below])
                sums.append((below[-1] - below[edges], below[-1]))
            (tp, positives), (fp, others) = sums
            parts.append((tp, fp, positives, others))
        return tuple(np.concatenate(columns, axis=-1) for columns in zip(*parts, strict=True))


def below_each(distinct: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return thresholds between rising scores: the first below all of them, each other below its score.

    Halfway between two neighbours, so that no sample stands on the edge.

    Parameters
    ----------
    distinct
        float64 of shape (m,), m > 0.

    Returns
    -------
    float64 of shape (m,).
    """
    low, high = distinct[:-1], distinct[1:]
    middle = low + (high - low) / 2
    middle = np.where(middle > low, middle, high)  # neighbouring floats have nothing between them
    return np.concatenate([[min(distinct[0], distinct[0] / 2)], middle])
