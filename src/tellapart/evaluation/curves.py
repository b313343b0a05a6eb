"""ROC and precision-recall curves, with the counts behind every point."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.metrics import Floats, Ranking

MAX_POINTS = 400
"""Points that a curve keeps."""

_MACRO_POINTS = 2_000


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve over falling thresholds, thinned to about 400 points that keep its ends and shape.

    Attributes
    ----------
    x, y
        float64 of shape (n_points,). ROC: false positive rate and sensitivity; precision-recall: recall
        and precision.
    thresholds
        float64 of shape (n_points,): a sample is called positive from this score up; the first is
        infinite, where none is.
    tp, fp, tn, fn
        int64 of shape (n_points,): counts at the threshold.
    area
        Under the whole curve: ROC by trapezoids; precision-recall as average precision. NaN where the
        class, or for ROC the rest, has no sample.

    A macro average has no thresholds or counts: those arrays are empty.
    """

    x: Floats
    y: Floats
    thresholds: Floats
    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    tn: NDArray[np.int64]
    fn: NDArray[np.int64]
    area: float


def roc_curve(
    positive: NDArray[np.bool_], score: Floats, *, keep: float | None = None, max_points: int = MAX_POINTS
) -> Curve:
    """Return the ROC curve of one class against the rest.

    Parameters
    ----------
    positive
        bool of shape (n_samples,).
    score
        float64 of shape (n_samples,).
    keep
        The point of this threshold survives the thinning.
    max_points
        Points that survive it, about.
    """
    thresholds, tp, fp = _counts(positive, score)
    with np.errstate(invalid="ignore"):
        x, y = fp / fp[-1], tp / tp[-1]
    area = float(Ranking(positive, score).areas(np.ones((score.size, 1)))[0, 0])
    return _thinned(x, y, thresholds, tp, fp, area, keep, max_points)


def precision_recall_curve(
    positive: NDArray[np.bool_], score: Floats, *, keep: float | None = None, max_points: int = MAX_POINTS
) -> Curve:
    """Return the precision-recall curve of one class, from recall 0 up; parameters as `roc_curve`.

    Precision where nothing is called positive, which is not defined, is drawn as that of the next point.
    """
    thresholds, tp, fp = _counts(positive, score)
    with np.errstate(invalid="ignore"):
        x, y = tp / tp[-1], tp / np.maximum(tp + fp, 1)
    y[0] = y[1]
    area = float(Ranking(positive, score).areas(np.ones((score.size, 1)))[1, 0])
    return _thinned(x, y, thresholds, tp, fp, area, keep, max_points)


def macro_roc_curve(y_true: NDArray[np.int64], y_prob: Floats) -> Curve:
    """Return the mean, at each false positive rate, of the one-vs-rest ROC curves of the classes that occur.

    Parameters
    ----------
    y_true
        int64 of shape (n_samples,).
    y_prob
        float64 of shape (n_samples, n_classes).
    """
    present = [c for c in range(y_prob.shape[1]) if 0 < int((y_true == c).sum()) < y_true.size]
    curves = [roc_curve(y_true == c, y_prob[:, c], max_points=_MACRO_POINTS) for c in present]
    none = np.empty(0, dtype=np.int64)
    if not curves:
        nothing = np.full(2, np.nan)
        return Curve(nothing, nothing, np.empty(0), none, none, none, none, float("nan"))
    x, y = _mean_of_steps(curves)
    kept = spread_along(x, y, MAX_POINTS)
    area = float(np.mean([curve.area for curve in curves]))
    return Curve(x[kept], y[kept], np.empty(0), none, none, none, none, area)


def _mean_of_steps(curves: Sequence[Curve]) -> tuple[Floats, Floats]:
    grid = np.unique(np.concatenate([curve.x for curve in curves]))
    # A ROC curve rises straight up at many of its x: take its height before and after each rise.
    before = np.mean([np.interp(-grid, -curve.x[::-1], curve.y[::-1]) for curve in curves], axis=0)
    after = np.mean([np.interp(grid, curve.x, curve.y) for curve in curves], axis=0)
    return np.repeat(grid, 2), np.column_stack([before, after]).ravel()


def _counts(
    positive: NDArray[np.bool_], score: Floats
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Return thresholds, true and false positives: above every score first, then at each distinct one."""
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], positive[order].astype(np.int64)
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    tp = hits.cumsum()[ends]
    return np.r_[np.inf, ranked[ends]], np.r_[0, tp], np.r_[0, ends + 1 - tp]


def _thinned(
    x: Floats,
    y: Floats,
    thresholds: Floats,
    tp: NDArray[np.int64],
    fp: NDArray[np.int64],
    area: float,
    keep: float | None,
    max_points: int,
) -> Curve:
    kept = spread_along(x, y, max_points)
    if keep is not None:
        kept = np.union1d(kept, [np.flatnonzero(thresholds >= keep)[-1]])
    tp, fp = tp.astype(np.int64), fp.astype(np.int64)
    tn, fn = fp[-1] - fp, tp[-1] - tp
    return Curve(x[kept], y[kept], thresholds[kept], tp[kept], fp[kept], tn[kept], fn[kept], area)


def spread_along(x: Floats, y: Floats, max_points: int) -> NDArray[np.intp]:
    """Return indices of at most about `max_points` points evenly spaced along a curve, with both ends."""
    if x.size <= max_points:
        return np.arange(x.size)
    steps = np.abs(np.diff(np.nan_to_num(x))) + np.abs(np.diff(np.nan_to_num(y)))
    along = np.r_[0.0, steps.cumsum()]
    return np.unique(np.r_[np.searchsorted(along, np.linspace(0, along[-1], max_points)), x.size - 1])
