"""Every figure of one set of predictions, with its interval."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.intervals import Resampling, bootstrap_estimate, proportion
from tellapart.evaluation.metrics import Metrics, WeightedMetrics

_GAPS = frozenset({"ece", "classwise_ece"})

Mask = NDArray[np.bool_]


class Bootstrap:
    """Figures with 95 % intervals.

    Proportions of independent images get Clopper-Pearson's exact interval, everything else the bootstrap
    over images, or over groups where some group has several images.

    Parameters
    ----------
    y_true, y_pred
        int64 of shape (n_samples,): true and predicted class indices.
    y_prob
        float64 of shape (n_samples, n_classes).
    positive
        Index of the positive class where there are two classes, else None.
    resampling
        What is drawn.
    n_draws, seed
        How often, and from which seed; 0 draws gives figures without bootstrap intervals.
    """

    def __init__(
        self,
        y_true: NDArray[np.int64],
        y_pred: NDArray[np.int64],
        y_prob: NDArray[np.float64],
        *,
        positive: int | None,
        resampling: Resampling,
        n_draws: int,
        seed: int,
    ) -> None:
        self._y_true, self._y_pred, self._positive = y_true, y_pred, positive
        self._n_classes = y_prob.shape[1]
        self._resampling, self._n_draws, self._seed = resampling, n_draws, seed
        self._metrics = WeightedMetrics(y_true, y_pred, y_prob, positive)

    @cached_property
    def point(self) -> Metrics:
        """The figures on the sample itself, as one draw in which every image came once."""
        return self._metrics(np.ones((self._y_true.size, 1)))

    @cached_property
    def _draws(self) -> Metrics:
        parts = [self._metrics(w) for w in self._resampling.weights(self._n_draws, self._seed)]
        if parts:
            return Metrics.concatenate(parts)
        none = np.empty(0)
        return Metrics(
            dict.fromkeys(self.point.overall, none),
            dict.fromkeys(self.point.per_class, np.empty((self._n_classes, 0))),
        )

    @cached_property
    def overall(self) -> dict[str, Estimate]:
        """Name to estimate, as in `Metrics.overall`."""
        shares = self._overall_shares()
        smallest = min(self._resampling.count(self._y_true == c) for c in np.unique(self._y_true))
        estimates = {}
        for name, value in self.point.overall.items():
            draws = self._draws.overall[name]
            if name in shares:
                estimates[name] = self._share(float(value[0]), draws, *shares[name])
            else:
                estimates[name] = self._bootstrapped(name, float(value[0]), draws, smallest)
        return estimates

    @cached_property
    def per_class(self) -> list[dict[str, Estimate]]:
        """Of each class, name to estimate, as in `Metrics.per_class`."""
        return [self._of_class(c) for c in range(self._n_classes)]

    def _of_class(self, c: int) -> dict[str, Estimate]:
        is_true, is_called = self._y_true == c, self._y_pred == c
        shares = {
            "precision": (is_called, is_true),
            "recall": (is_true, is_called),
            "specificity": (~is_true, ~is_called),
        }
        smaller = min(self._resampling.count(is_true), self._resampling.count(~is_true))
        estimates = {}
        for name, values in self.point.per_class.items():
            value, draws = float(values[c, 0]), self._draws.per_class[name][c]
            if name in shares:
                estimates[name] = self._share(value, draws, *shares[name])
            else:
                estimates[name] = self._bootstrapped(name, value, draws, smaller)
        return estimates

    def _overall_shares(self) -> Mapping[str, tuple[Mask, Mask]]:
        """Of each figure that is a share: among which images, and which of them count."""
        y_true, y_pred, correct = self._y_true, self._y_pred, self._y_true == self._y_pred
        shares = {"accuracy": (np.ones_like(correct), correct)}
        if self._positive is None:
            return shares
        return shares | {
            "sensitivity": (y_true == self._positive, correct),
            "specificity": (y_true != self._positive, correct),
            "ppv": (y_pred == self._positive, correct),
            "npv": (y_pred != self._positive, correct),
        }

    def _share(self, value: float, draws: NDArray[np.float64], among: Mask, counts: Mask) -> Estimate:
        if self._resampling.independent:
            return proportion(int((among & counts).sum()), int(among.sum()))
        n_units = self._resampling.count(among)
        return bootstrap_estimate(value, draws, self._resampling, bounds=(0.0, 1.0), n_exact=n_units)

    def _bootstrapped(self, name: str, value: float, draws: NDArray[np.float64], n_exact: int) -> Estimate:
        options: dict[str, Any] = {"n_exact": n_exact, "grows_with_noise": name in _GAPS}
        return bootstrap_estimate(value, draws, self._resampling, bounds=self._bounds(name), **options)

    def _bounds(self, name: str) -> tuple[float, float]:
        """Return the least and the greatest value of a figure."""
        if name == "mcc":
            return -1.0, 1.0
        if name == "brier":
            return 0.0, 1.0 if self._n_classes == 2 else 2.0
        if name in ("log_loss", "lr_positive", "lr_negative"):
            return 0.0, float("inf")
        return 0.0, 1.0
