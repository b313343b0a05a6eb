"""Drawings of an evaluation with Matplotlib, which is imported only when something is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.evaluation.calibration import Reliability
from tellapart.evaluation.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_IN_LEGEND = 12


def draw_roc(curves: Mapping[str, Curve], ax: Axes | None = None) -> Axes:
    """Draw ROC curves by their names, with the area of each in the legend."""
    ax = _axes(ax)
    for name, curve in curves.items():
        ax.plot(curve.x, curve.y, label=f"{name} (AUC {curve.area:.3f})")
    _diagonal(ax)
    return _unit_square(ax, "False positive rate (1 - specificity)", "Sensitivity", len(curves))


def draw_precision_recall(curves: Mapping[str, Curve], ax: Axes | None = None) -> Axes:
    """Draw precision-recall curves by their names, with the average precision of each in the legend."""
    ax = _axes(ax)
    for name, curve in curves.items():
        ax.step(curve.x, curve.y, where="pre", label=f"{name} (AP {curve.area:.3f})")
    return _unit_square(ax, "Recall (sensitivity)", "Precision (PPV)", len(curves))


def draw_confusion_matrix(
    matrix: NDArray[np.int64], class_names: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draw a table of counts, rows the true class, coloured by the share of the row."""
    ax = _axes(ax)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(matrix):
        colour = "white" if share[row, column] > 0.5 else "black"
        text = f"{count:,}\n{share[row, column]:.0%}"
        ax.text(column, row, text, ha="center", va="center", color=colour, fontsize="small")
    ticks = range(len(class_names))
    ax.set_xticks(ticks, class_names, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(ticks, class_names)
    ax.set(xlabel="Predicted class", ylabel="True class")
    return ax


def draw_reliability(reliability: Reliability, ax: Axes | None = None) -> Axes:
    """Draw observed against stated frequency, with each bin's 95 % interval."""
    ax = _axes(ax)
    used = reliability.count > 0
    x, y = reliability.mean_confidence[used], reliability.fraction_correct[used]
    reach = np.maximum([y - reliability.low[used], reliability.high[used] - y], 0)
    _diagonal(ax)
    ax.errorbar(x, y, yerr=reach, marker="o", capsize=3, label="observed, 95 % interval")
    return _unit_square(ax, "Mean predicted probability", "Observed frequency", 1)


def draw_probabilities(
    histogram: Mapping[str, NDArray[np.int64]], class_name: str, ax: Axes | None = None
) -> Axes:
    """Draw the probability of one class as a histogram for each true class."""
    ax = _axes(ax)
    for name, counts in histogram.items():
        edges = np.linspace(0, 1, counts.size + 1)
        ax.stairs(counts, edges, fill=True, alpha=0.45, label=f"truly {name}")
    ax.set(xlabel=f"Predicted probability of {class_name}", ylabel="Images", xlim=(0, 1))
    if len(histogram) <= _MOST_IN_LEGEND:
        ax.legend()
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    _, ax = pyplot.subplots(layout="constrained")
    return ax


def _diagonal(ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linestyle=":", linewidth=1, zorder=1)


def _unit_square(ax: Axes, xlabel: str, ylabel: str, n_named: int) -> Axes:
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    if n_named <= _MOST_IN_LEGEND:
        ax.legend(fontsize="small")
    return ax
