"""Counts and figures at many thresholds at once are those of an evaluation at each."""

import numpy as np
import pytest

from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.intervals import Resampling
from tellapart.evaluation.operating_points import SHARES, OperatingPoints, below_each
from tellapart.records import Predictions, Threshold

NAMES = ("benign", "malignant")


def predictions(n=120, *, patients=None, seed=0):
    """Two classes whose probabilities overlap; `patients` have several images each."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 2, n)
    score = np.round(np.clip(rng.normal(0.35 + 0.3 * y_true, 0.2), 0, 1), 2)
    groups = None if patients is None else tuple(f"p{i % patients}" for i in range(n))
    y_prob = np.stack([1 - score, score], axis=1)
    return Predictions(tuple(f"{i}.png" for i in range(n)), y_true, y_prob, NAMES, groups)


def across(said, **options):
    resampling = Resampling.of(len(said), said.groups)
    return OperatingPoints.across(said.y_true == 1, said.y_prob[:, 1], resampling, **options)


@pytest.mark.parametrize("patients", [None, 30])
def test_figures_and_intervals_are_those_of_an_evaluation(patients):
    said = predictions(patients=patients)
    points = across(said, keep=[0.5])
    for index in [0, len(points.thresholds) // 3, len(points.thresholds) // 2, len(points.thresholds) - 1]:
        value = float(points.thresholds[index])
        evaluation = Evaluation(said, Threshold(value, "malignant", "validation", "a test"))
        matrix = evaluation.confusion_matrix
        assert (points.tp[index], points.fp[index]) == (matrix[1, 1], matrix[0, 1])
        for name in SHARES:
            ours, theirs = points.estimates(index)[name], evaluation.headline[name]
            assert float(ours) == pytest.approx(float(theirs), rel=0, abs=0, nan_ok=True)
            assert ours.ci95 == theirs.ci95
            assert ours.method == theirs.method


def test_every_step_changes_something_and_what_is_to_be_kept_is_kept():
    said = predictions()
    points = across(said, keep=[0.5, np.inf])
    assert (np.diff(points.thresholds) > 0).all()
    assert 0.5 in points.thresholds
    assert (points.tp[-1], points.fp[-1]) == (0, 0)
    assert (np.diff(points.tp + points.fp) < 0).all()
    assert len(points.thresholds) == len(np.unique(said.y_prob[:, 1])) + 1


def test_many_points_are_thinned_and_the_kept_one_stays():
    rng = np.random.default_rng(1)
    positive = rng.random(5000) < 0.3
    score = np.clip(rng.normal(0.4 + 0.2 * positive, 0.15), 0, 1)
    points = OperatingPoints.across(positive, score, Resampling.of(5000, None), keep=[0.123456789])
    assert 300 < len(points.thresholds) < 420
    index = int(np.flatnonzero(points.thresholds == 0.123456789)[0])
    assert points.tp[index] == (score[positive] >= 0.123456789).sum()
    assert points.tp[0] == positive.sum()


def test_with_a_band_only_what_is_not_referred_is_counted():
    positive = np.array([0, 0, 0, 1, 1, 0, 1, 1], dtype=bool)
    score = np.array([0.1, 0.2, 0.3, 0.3, 0.5, 0.6, 0.8, 0.9])
    points = OperatingPoints(positive, score, np.array([0.25, 0.55]), Resampling.of(8, None))
    figures = points.estimates(0, 1)
    assert figures["referred"] == pytest.approx(3 / 8)  # 0.3, 0.3 and 0.5
    assert figures["sensitivity"] == 1.0
    assert figures["specificity"] == pytest.approx(2 / 3)
    assert figures["ppv"] == pytest.approx(2 / 3)
    assert figures["npv"] == 1.0
    assert figures["sensitivity"].ci95 == pytest.approx((0.158, 1), abs=0.001)  # Clopper-Pearson, 2 of 2


def test_thresholds_lie_between_scores():
    np.testing.assert_allclose(below_each(np.array([0.2, 0.4, 0.8])), [0.1, 0.3, 0.6])
    assert below_each(np.array([0.0])).tolist() == [0.0]
    close = np.array([0.5, np.nextafter(0.5, 1)])
    assert below_each(close)[1] == close[1]
