"""Drawings show the numbers that they were given."""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pytest
from matplotlib import pyplot

from tellapart.evaluation.calibration import reliability
from tellapart.evaluation.curves import precision_recall_curve, roc_curve
from tellapart.evaluation.figures import (
    draw_confusion_matrix,
    draw_precision_recall,
    draw_probabilities,
    draw_reliability,
    draw_roc,
)

POSITIVE = np.array([False, False, True, False, True, True])
SCORE = np.array([0.1, 0.2, 0.35, 0.6, 0.7, 0.9])


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_roc_draws_the_points_and_names_the_area():
    curve = roc_curve(POSITIVE, SCORE)
    ax = draw_roc({"malignant": curve})
    assert (ax.lines[0].get_xdata() == curve.x).all()
    assert (ax.lines[0].get_ydata() == curve.y).all()
    assert labels(ax) == ["malignant (AUC 0.889)"]


def test_draws_on_the_axes_that_it_is_given():
    _, ax = pyplot.subplots()
    assert draw_roc({"a": roc_curve(POSITIVE, SCORE)}, ax) is ax


def test_precision_recall_names_the_average_precision():
    ax = draw_precision_recall({"malignant": precision_recall_curve(POSITIVE, SCORE)})
    assert labels(ax) == ["malignant (AP 0.917)"]


def test_confusion_matrix_shows_counts_and_shares_of_rows():
    ax = draw_confusion_matrix(np.array([[9, 1], [0, 0]]), ("benign", "malignant"))
    assert [text.get_text() for text in ax.texts] == ["9\n90%", "1\n10%", "0\n0%", "0\n0%"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["benign", "malignant"]


def test_reliability_leaves_empty_bins_out():
    ax = draw_reliability(reliability(SCORE, POSITIVE, 4))
    observed = ax.containers[0].lines[0]
    assert observed.get_xdata() == pytest.approx([0.15, 0.35, 0.65, 0.9])
    assert observed.get_ydata() == pytest.approx([0, 1, 0.5, 1])


def test_probabilities_have_one_histogram_for_each_true_class():
    ax = draw_probabilities({"a": np.array([3, 1]), "b": np.array([0, 4])}, "b")
    assert [patch.get_data().values.tolist() for patch in ax.patches] == [[3, 1], [0, 4]]
    assert labels(ax) == ["truly a", "truly b"]


def test_many_classes_have_no_legend():
    curve = roc_curve(POSITIVE, SCORE)
    assert draw_roc({f"class {i}": curve for i in range(20)}).get_legend() is None
