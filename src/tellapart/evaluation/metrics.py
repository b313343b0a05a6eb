"""The metrics, for any weighting of the samples: all weights 1 for a figure, a draw's for the bootstrap.

Definitions, with w the samples' weights (scikit-learn's functions of the same names agree):

accuracy
    Share of samples whose predicted class is the true one.
balanced_accuracy
    Mean recall of the classes that occur.
roc_auc, roc_auc_macro
    Probability that a random sample of the class has a higher probability of it than a random sample of
    the others, ties counting a half (Hanley and McNeil, Radiology 1982); macro: the unweighted mean over
    the classes that occur, each against the rest.
average_precision
    Sum over the thresholds of precision times the recall gained, without interpolation.
mcc
    Matthews' correlation coefficient for any number of classes (Gorodkin, Comput. Biol. Chem. 2004);
    0 where one class is predicted for all samples.
log_loss
    Mean of -log(probability of the true class), in nats, probabilities no smaller than 2.2e-16.
brier
    Mean squared difference between probabilities and outcome, summed over the classes (Brier, 1950; from
    0 to 2); for two classes half of that (0 to 1), which is the usual score of the positive class alone.
ece, classwise_ece
    Expected calibration error: the share-weighted mean over 15 bins of equal width of
    the gap between mean probability and frequency; of the most probable class (Guo et al., ICML 2017; it
    does not depend on a threshold), or of every class in turn, averaged (Kull et al., NeurIPS 2019).
precision, recall, specificity, f1
    Of one class against the rest.
sensitivity, specificity, ppv, npv, lr_positive, lr_negative
    For two classes: recall of the positive and of the negative class, their precisions, and the likelihood
    ratios sensitivity / (1 - specificity) and (1 - sensitivity) / specificity.

A figure that its samples do not define (no sample of a class, nothing predicted as it) is NaN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ECE_BINS = 15
_SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Metrics:
    """Every metric under each of n_draws weightings.

    Attributes
    ----------
    overall
        Name to float64 of shape (n_draws,).
    per_class
        Name to float64 of shape (n_classes, n_draws).
    """

    overall: dict[str, Floats]
    per_class: dict[str, Floats]

    @classmethod
    def concatenate(cls, parts: "list[Metrics]") -> "Metrics":
        """Join weightings that were computed in parts."""
        return cls(
            {name: np.concatenate([part.overall[name] for part in parts]) for name in parts[0].overall},
            {
                name: np.concatenate([part.per_class[name] for part in parts], axis=1)
                for name in parts[0].per_class
            },
        )


class WeightedMetrics:
    """The metrics of one set of predictions as a function of the samples' weights.

    All but the rank metrics follow from weighted sums over samples, which one sparse matrix holds; the
    rank metrics need the samples in order of their score, which is sorted once.

    Parameters
    ----------
    y_true, y_pred
        int64 of shape (n_samples,): true and predicted class indices.
    y_prob
        float64 of shape (n_samples, n_classes).
    positive
        Index of the positive class where there are two classes, else None.
    """

    def __init__(
        self, y_true: NDArray[np.int64], y_pred: NDArray[np.int64], y_prob: Floats, positive: int | None
    ) -> None:
        self.n_classes = y_prob.shape[1]
        self.positive = positive
        self.present = np.bincount(y_true, minlength=self.n_classes) > 0
        self._linear = _LinearSums(y_true, y_pred, y_prob)
        self._rankings = [Ranking(y_true == c, y_prob[:, c]) for c in range(self.n_classes)]

    def __call__(self, weights: Floats) -> Metrics:
        """Return the metrics for `weights`, float64 of shape (n_samples, n_draws), not negative."""
        areas = np.stack([ranking.areas(weights) for ranking in self._rankings])
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._from_sums(self._linear(weights), areas[:, 0], areas[:, 1])

    def _from_sums(self, sums: dict[str, Floats], roc_auc: Floats, average_precision: Floats) -> Metrics:
        support, predicted, hits = sums["support"], sums["predicted"], sums["hits"]
        total = support.sum(axis=0)
        per_class = {
            "precision": hits / predicted,
            "recall": hits / support,
            "specificity": (total - support - predicted + hits) / (total - support),
            "f1": 2 * hits / (support + predicted),
            "roc_auc": roc_auc,
            "average_precision": average_precision,
        }
        overall = {
            "accuracy": hits.sum(axis=0) / total,
            "balanced_accuracy": self._macro(per_class["recall"]),
            "roc_auc_macro": self._macro(roc_auc),
            "average_precision_macro": self._macro(average_precision),
            "mcc": matthews(hits.sum(axis=0), support, predicted),
            "log_loss": sums["log_loss"][0] / total,
            "brier": sums["brier"][0] / total,
            "ece": np.abs(sums["top_gaps"]).sum(axis=0) / total,
            "classwise_ece": np.abs(sums["class_gaps"]).sum(axis=0) / total / self.n_classes,
        }
        if self.positive is not None:
            overall |= _two_class(per_class, self.positive)
        return Metrics(overall, per_class)

    def _macro(self, by_class: Floats) -> Floats:
        """Mean over the classes that occur in the sample; NaN where a draw lacks one of them."""
        return np.asarray(by_class[self.present].mean(axis=0))


def _two_class(per_class: dict[str, Floats], positive: int) -> dict[str, Floats]:
    negative = 1 - positive
    sensitivity, specificity = per_class["recall"][positive], per_class["recall"][negative]
    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": per_class["precision"][positive],
        "npv": per_class["precision"][negative],
        "lr_positive": sensitivity / (1 - specificity),
        "lr_negative": (1 - sensitivity) / specificity,
    }


def matthews(correct: Floats, support: Floats, predicted: Floats) -> Floats:
    """Return Matthews' coefficient from the table's margins.

    Parameters
    ----------
    correct
        Of shape (n_draws,): the weight of correct samples.
    support, predicted
        Of shape (n_classes, n_draws): the weight of each class among true and predicted labels.
    """
    total = support.sum(axis=0)
    covariance = correct * total - (support * predicted).sum(axis=0)
    true_variance = total**2 - (support**2).sum(axis=0)
    predicted_variance = total**2 - (predicted**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mcc = covariance / np.sqrt(true_variance * predicted_variance)
    mcc = np.where(predicted_variance == 0, 0.0, mcc)
    return np.where(true_variance == 0, np.nan, mcc)


def bin_index(values: Floats, n_bins: int) -> NDArray[np.int64]:
    """Return which of `n_bins` bins of equal width on [0, 1] holds each value; upper edges belong to it."""
    return np.searchsorted(np.linspace(0, 1, n_bins + 1)[1:-1], values, side="left").astype(np.int64)


class _LinearSums:
    """Weighted sums over samples, by class and by bin, as one product with a sparse matrix."""

    def __init__(self, y_true: NDArray[np.int64], y_pred: NDArray[np.int64], y_prob: Floats) -> None:
        from scipy.sparse import coo_array, vstack

        n_samples, n_classes = y_prob.shape
        sample, outcome = np.arange(n_samples), np.eye(n_classes)[y_true]
        confidence, top = y_prob.max(axis=1), y_prob.argmax(axis=1)
        every_class = bin_index(y_prob, ECE_BINS) + ECE_BINS * np.arange(n_classes)
        halves = 2 if n_classes == 2 else 1
        likelihood = np.clip(y_prob[sample, y_true], _SMALLEST_PROBABILITY, 1)

        def rows(values: Floats, row: NDArray[np.int64], n_rows: int) -> coo_array:
            column = np.repeat(sample, values.size // n_samples)
            return coo_array((values.ravel(), (row.ravel(), column)), shape=(n_rows, n_samples))

        one, zero = np.ones(n_samples), np.zeros(n_samples, dtype=np.int64)
        blocks = {
            "support": rows(one, y_true, n_classes),
            "predicted": rows(one, y_pred, n_classes),
            "hits": rows((y_true == y_pred) * one, y_true, n_classes),
            "log_loss": rows(-np.log(likelihood), zero, 1),
            "brier": rows(((y_prob - outcome) ** 2).sum(axis=1) / halves, zero, 1),
            "top_gaps": rows(confidence - (top == y_true), bin_index(confidence, ECE_BINS), ECE_BINS),
            "class_gaps": rows(y_prob - outcome, every_class, ECE_BINS * n_classes),
        }
        self._names = list(blocks)
        self._ends = np.cumsum([block.shape[0] for block in blocks.values()])[:-1]
        self._matrix = vstack(list(blocks.values()), format="csr")

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return the sums, each of shape (classes, bins or 1, n_draws)."""
        return dict(zip(self._names, np.split(self._matrix @ weights, self._ends), strict=True))


class Ranking:
    """One class's samples against the rest, in falling order of score.

    Parameters
    ----------
    positive
        bool of shape (n_samples,).
    score
        float64 of shape (n_samples,), higher for the class.
    """

    def __init__(self, positive: NDArray[np.bool_], score: Floats) -> None:
        self._order = np.argsort(-score, kind="stable")
        self._positive = positive[self._order].astype(np.float64)[:, np.newaxis]
        ranked = score[self._order]
        self._starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self._tied = self._starts.size < score.size

    def areas(self, weights: Floats) -> Floats:
        """Return area under the ROC curve and average precision, float64 of shape (2, n_draws).

        `weights` is float64 of shape (n_samples, n_draws). NaN where a draw lacks positive or, for the
        area, negative samples.
        """
        drawn = weights[self._order]
        gained = drawn * self._positive
        if self._tied:
            drawn = np.add.reduceat(drawn, self._starts, axis=0)
            gained = np.add.reduceat(gained, self._starts, axis=0)
        true_positive, called = gained.cumsum(axis=0), drawn.cumsum(axis=0)
        n_positive = true_positive[-1]
        n_negative = called[-1] - n_positive
        precision = true_positive / np.maximum(called, 1e-300)
        # Negatives that follow a positive, and half of those tied with it.
        beaten = np.einsum("nd,nd->d", drawn - gained, true_positive - gained / 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            roc_auc = beaten / (n_positive * n_negative)
            return np.stack([roc_auc, np.einsum("nd,nd->d", gained, precision) / n_positive])
