"""What a set of predictions is worth: figures with intervals, curves, calibration, and the files of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.data.files import write_atomically
from tellapart.errors import ConfigError, DataError
from tellapart.evaluation import curves, figures
from tellapart.evaluation.bootstrap import Bootstrap
from tellapart.evaluation.calibration import Reliability, recalibrate, reliability
from tellapart.evaluation.curves import Curve
from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.intervals import Resampling
from tellapart.evaluation.metrics import bin_index
from tellapart.evaluation.operating_points import OperatingPoints
from tellapart.evaluation.tables import write_predictions
from tellapart.records import UNKNOWN, Predictions, Threshold, decide

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tellapart.evaluation.facts import RunFacts


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The evaluation of predictions whose true classes are known. Everything is computed when first asked.

    With two classes the predicted class is the positive one from the threshold up, everywhere: in
    `y_pred`, the confusion matrix, accuracy, and in all that counts decisions. With more it is the most
    probable one. Definitions of all figures are in `tellapart.evaluation.metrics`.

    Attributes
    ----------
    predictions
        With every `y_true` known.
    threshold
        For two classes only; None becomes a probability of 0.5 of the class that is last in
        `class_names`, marked as not chosen. Stays None for more classes.
    n_bootstrap
        Draws behind each bootstrap interval; 0 for none.
    seed
        Of those draws: the same predictions give the same intervals.

    Raises
    ------
    DataError
        If there is no image, fewer than two classes or a true class is not known.
    ConfigError
        If the threshold's positive class is not one of two classes, or `n_bootstrap` is negative.
    """

    predictions: Predictions
    threshold: Threshold | None = None
    n_bootstrap: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        _check_labels(self.predictions)
        names = self.predictions.class_names
        if self.threshold is not None and (len(names) != 2 or self.threshold.positive not in names):
            raise ConfigError(
                f"a threshold for {self.threshold.positive!r} was given, but the classes are "
                f"{', '.join(names)}; a threshold needs two classes, one of them the positive one"
            )
        if self.n_bootstrap < 0:
            raise ConfigError(f"n_bootstrap is {self.n_bootstrap}; it must be a whole number from 0")
        if self.threshold is None and len(names) == 2:
            object.__setattr__(self, "threshold", Threshold(0.5, names[-1], "default", "0.5 (not chosen)"))

    # ---- decisions and figures ---------------------------------------------------------------------------

    @cached_property
    def y_pred(self) -> NDArray[np.int64]:
        """int64 of shape (n_samples,): the predicted classes, by the threshold where there is one."""
        return decide(self.predictions.y_prob, self.predictions.class_names, self.threshold)

    @cached_property
    def confusion_matrix(self) -> NDArray[np.int64]:
        """int64 of shape (n_classes, n_classes): counts, rows the true class, columns the predicted one."""
        n_classes = len(self.predictions.class_names)
        cells = np.bincount(self.predictions.y_true * n_classes + self.y_pred, minlength=n_classes**2)
        return cells.reshape(n_classes, n_classes).astype(np.int64)

    @cached_property
    def headline(self) -> dict[str, Estimate]:
        """The figures of the whole.

        accuracy, balanced_accuracy, roc_auc_macro, average_precision_macro, mcc, log_loss, brier, ece; for
        two classes also sensitivity, specificity, ppv, npv, lr_positive, lr_negative at the threshold.
        """
        return {name: value for name, value in self._figures.overall.items() if name != "classwise_ece"}

    @cached_property
    def per_class(self) -> dict[str, dict[str, Estimate | int]]:
        """By class name: precision, recall, specificity, f1, roc_auc, average_precision and support."""
        support = self.confusion_matrix.sum(axis=1).tolist()
        names = self.predictions.class_names
        return {
            name: {**estimates, "support": count}
            for name, estimates, count in zip(names, self._figures.per_class, support, strict=True)
        }

    @cached_property
    def calibration(self) -> dict[str, Estimate]:
        """``slope`` and ``intercept`` of the logistic recalibration, and ``classwise_ece``.

        Of the positive class's probability for two classes, of the most probable class's for more.
        """
        lines = recalibrate(*self._stated(self._positive), self._resampling)
        return {**lines, "classwise_ece": self._figures.overall["classwise_ece"]}

    @cached_property
    def referral(self) -> dict[str, Estimate]:
        """With a band in which a person decides: the share ``referred``, and the figures of the rest.

        See `OperatingPoints.estimates`; empty without a band.
        """
        if self.threshold is None or self.threshold.band is None:
            return {}
        score, positive = self._stated(self._positive)
        points = OperatingPoints(
            positive, score, np.array(self.threshold.band), self._resampling, self.n_bootstrap, self.seed
        )
        return points.estimates(0, 1)

    @property
    def accuracy(self) -> Estimate:
        """Share of images whose predicted class is right."""
        return self.headline["accuracy"]

    @property
    def balanced_accuracy(self) -> Estimate:
        """Mean recall of the classes."""
        return self.headline["balanced_accuracy"]

    @property
    def roc_auc(self) -> Estimate:
        """Area under the ROC curve, each class against the rest, averaged."""
        return self.headline["roc_auc_macro"]

    @property
    def average_precision(self) -> Estimate:
        """Average precision, each class against the rest, averaged."""
        return self.headline["average_precision_macro"]

    @property
    def mcc(self) -> Estimate:
        """Matthews' correlation coefficient."""
        return self.headline["mcc"]

    @property
    def log_loss(self) -> Estimate:
        """Mean negative log-likelihood, in nats."""
        return self.headline["log_loss"]

    @property
    def brier(self) -> Estimate:
        """Brier score: 0 to 1 for two classes, 0 to 2 for more."""
        return self.headline["brier"]

    @property
    def ece(self) -> Estimate:
        """Expected calibration error of the most probable class, 15 bins."""
        return self.headline["ece"]

    def point_values(self) -> dict[str, float]:
        """Return the figures of `headline` without their intervals: fast, no bootstrap."""
        overall = self._figures.point.overall
        return {name: float(value[0]) for name, value in overall.items() if name != "classwise_ece"}

    @cached_property
    def _figures(self) -> Bootstrap:
        return Bootstrap(
            self.predictions.y_true,
            self.y_pred,
            self.predictions.y_prob,
            positive=self._positive,
            resampling=self._resampling,
            n_draws=self.n_bootstrap,
            seed=self.seed,
        )

    @cached_property
    def _resampling(self) -> Resampling:
        return Resampling.of(len(self.predictions), self.predictions.groups)

    @property
    def _positive(self) -> int | None:
        return None if self.threshold is None else self.predictions.class_names.index(self.threshold.positive)

    # ---- curves and images -------------------------------------------------------------------------------

    def roc_curve(self, class_name: str) -> Curve:
        """Return the ROC curve of a class against the rest; the chosen threshold is one of its points."""
        index = self._index(class_name)
        probability = self.predictions.y_prob[:, index]
        return curves.roc_curve(
            self.predictions.y_true == index, probability, keep=self._threshold_of(class_name)
        )

    def precision_recall_curve(self, class_name: str) -> Curve:
        """Return the precision-recall curve of a class; the chosen threshold is one of its points."""
        index = self._index(class_name)
        probability = self.predictions.y_prob[:, index]
        return curves.precision_recall_curve(
            self.predictions.y_true == index, probability, keep=self._threshold_of(class_name)
        )

    def macro_roc_curve(self) -> Curve:
        """Return the mean of the classes' ROC curves."""
        return curves.macro_roc_curve(self.predictions.y_true, self.predictions.y_prob)

    def reliability(self, n_bins: int = 10, class_name: str | None = None) -> Reliability:
        """Return stated against observed frequency, in bins of the stated one.

        Of the most probable class, or of `class_name` against the rest.
        """
        index = None if class_name is None else self._index(class_name)
        return reliability(*self._stated(index), n_bins)

    def histogram(self, class_name: str, n_bins: int = 20) -> dict[str, NDArray[np.int64]]:
        """Return, by true class, how many images have a probability of `class_name` in each bin of [0, 1]."""
        names, y_true = self.predictions.class_names, self.predictions.y_true
        bins = bin_index(self.predictions.y_prob[:, self._index(class_name)], n_bins)
        counts = np.bincount(y_true * n_bins + bins, minlength=len(names) * n_bins).reshape(-1, n_bins)
        return dict(zip(names, counts.astype(np.int64), strict=True))

    def most_confident_errors(self, n: int) -> NDArray[np.int64]:
        """Return indices of at most n wrong images, the highest probability of the wrong class first."""
        confidence = self.predictions.y_prob[np.arange(len(self.predictions)), self.y_pred]
        order = np.argsort(-confidence, kind="stable")
        is_wrong = self.y_pred[order] != self.predictions.y_true[order]
        wrong: NDArray[np.int64] = order[is_wrong]
        return wrong[:n]

    def least_certain(self, n: int) -> NDArray[np.int64]:
        """Return indices of at most n images, the hardest to decide first.

        Those whose probability is nearest to the threshold, or, with more than two classes, whose two
        highest probabilities are nearest to each other.
        """
        y_prob = self.predictions.y_prob
        if self.threshold is not None:
            margin = np.abs(y_prob[:, self._positive] - self.threshold.value)
        else:
            highest = np.sort(y_prob, axis=1)
            margin = highest[:, -1] - highest[:, -2]
        return np.argsort(margin, kind="stable")[:n]

    def _stated(self, index: int | None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return a class's probabilities, the most probable one's for None, and whether it was true."""
        y_true, y_prob = self.predictions.y_true, self.predictions.y_prob
        if index is None:
            return y_prob.max(axis=1), self.predictions.y_pred == y_true
        return y_prob[:, index], y_true == index

    def _threshold_of(self, class_name: str) -> float | None:
        if self.threshold is None:
            return None
        return self.threshold.value if class_name == self.threshold.positive else 1 - self.threshold.value

    def _index(self, class_name: str) -> int:
        names = self.predictions.class_names
        if class_name not in names:
            raise DataError(f"no class is called {class_name!r}; the classes are {', '.join(names)}")
        return names.index(class_name)

    # ---- drawings ----------------------------------------------------------------------------------------

    def plot_roc(self, ax: Axes | None = None) -> Axes:
        """Draw the ROC curve: of the positive class, or of every class and their mean."""
        drawn = {name: self.roc_curve(name) for name in self._plotted()}
        return figures.draw_roc(drawn if self.threshold else {"mean": self.macro_roc_curve()} | drawn, ax)

    def plot_precision_recall(self, ax: Axes | None = None) -> Axes:
        """Draw the precision-recall curve: of the positive class, or of every class."""
        drawn = {name: self.precision_recall_curve(name) for name in self._plotted()}
        return figures.draw_precision_recall(drawn, ax)

    def plot_confusion_matrix(self, ax: Axes | None = None) -> Axes:
        """Draw the confusion matrix with counts and shares of each row."""
        return figures.draw_confusion_matrix(self.confusion_matrix, self.predictions.class_names, ax)

    def plot_reliability(self, ax: Axes | None = None) -> Axes:
        """Draw the reliability diagram of the most probable class."""
        return figures.draw_reliability(self.reliability(), ax)

    def plot_probabilities(self, ax: Axes | None = None, class_name: str | None = None) -> Axes:
        """Draw the probability of one class, by default the positive or the last one, by true class."""
        name = self._plotted()[-1] if class_name is None else class_name
        return figures.draw_probabilities(self.histogram(name), name, ax)

    def _plotted(self) -> Sequence[str]:
        return self.predictions.class_names if self.threshold is None else (self.threshold.positive,)

    # ---- files -------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``metrics.json``: plain values, None where a figure is not defined."""
        rows = {
            name: {key: v.to_dict() if isinstance(v, Estimate) else v for key, v in row.items()}
            for name, row in self.per_class.items()
        }
        described: dict[str, Any] = {
            "n_samples": len(self.predictions),
            "class_names": list(self.predictions.class_names),
            **{name: estimate.to_dict() for name, estimate in self.headline.items()},
            "confusion_matrix": self.confusion_matrix.tolist(),
            "per_class": rows,
            "calibration": {name: estimate.to_dict() for name, estimate in self.calibration.items()},
            "resampled": {"unit": self._resampling.name, "n_units": self._resampling.n_units},
            "n_bootstrap": self.n_bootstrap,
            "seed": self.seed,
        }
        if self.threshold is not None:
            described |= {
                "positive": self.threshold.positive,
                "threshold": self.threshold.value,
                "threshold_chosen_on": self.threshold.chosen_on,
                "threshold_rule": self.threshold.rule,
            }
        if self.referral:
            described["referral"] = {name: estimate.to_dict() for name, estimate in self.referral.items()}
        return described

    def save(
        self,
        folder: str | Path,
        facts: RunFacts | None = None,
        images: Callable[[str], bytes | None] | None = None,
    ) -> Path:
        """Write ``metrics.json``, ``predictions.csv`` and ``report.html``, each in one step.

        Parameters
        ----------
        folder
            Made if it is missing.
        facts
            What the report tells of the data and of training; the folds' figures join the metrics too.
        images
            From a sample's id to the bytes of a small JPEG for the report, or None for no picture.

        Returns
        -------
        Path
            The folder.
        """
        from tellapart.evaluation.report import render

        folder = Path(folder)
        content = self.to_dict()
        if facts is not None and facts.folds:
            content["folds"] = facts.folds
        metrics = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        report = render(self, facts, images)
        write_atomically(folder / "metrics.json", metrics.encode("utf-8", errors="surrogateescape"))
        write_atomically(folder / "report.html", report.encode("utf-8", errors="surrogateescape"))
        write_predictions(folder / "predictions.csv", self.predictions, self.y_pred)
        return folder


def _check_labels(predictions: Predictions) -> None:
    n_classes, y_true = len(predictions.class_names), predictions.y_true
    if not len(predictions):
        raise DataError("there is no image to evaluate; give predictions of at least one labelled image")
    if n_classes < 2:
        raise DataError(f"an evaluation needs two classes or more; got {n_classes}")
    n_unknown = int((y_true == UNKNOWN).sum())
    if n_unknown:
        raise DataError(
            f"the true class of {n_unknown} of {len(predictions)} images is not known; "
            "evaluate labelled images only, or use predict for the others"
        )
    if y_true.min() < 0 or y_true.max() >= n_classes:
        raise DataError(f"y_true must hold class indices from 0 to {n_classes - 1}")
