"""Temperature, recalibration and reliability, on data whose truth is known."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from tellapart.errors import DataError
from tellapart.evaluation.calibration import fit_temperature, recalibrate, reliability, softmax
from tellapart.evaluation.intervals import Resampling


def draw(n, n_classes, seed=0):
    """Logits and labels drawn from exactly these logits' probabilities."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, n_classes))
    y_true = (logits + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    return logits, y_true


def test_softmax_by_hand():
    assert softmax(np.log([[1.0, 3.0]])) == pytest.approx(np.array([[0.25, 0.75]]))
    assert softmax(np.log([[1.0, 9.0]]), temperature=2) == pytest.approx(np.array([[0.25, 0.75]]))


def test_softmax_of_huge_logits():
    assert softmax(np.array([[1e4, -1e4]])).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_temperature_is_recovered(temperature):
    logits, y_true = draw(6000, 4)
    assert fit_temperature(logits * temperature, y_true) == pytest.approx(temperature, rel=0.06)


def test_no_temperature_fits_better():
    logits, y_true = draw(200, 3)
    best = fit_temperature(3 * logits, y_true)
    losses = [log_loss(y_true, softmax(3 * logits, t)) for t in (best, best * 0.97, best * 1.03)]
    assert losses[0] == min(losses)


def test_all_right_says_nothing_about_certainty():
    assert fit_temperature(np.eye(3) * 5, np.arange(3)) == 1.0


def test_worse_than_chance_stops_at_the_end_of_the_range():
    assert fit_temperature(np.eye(3) * 5, np.array([1, 2, 0])) == pytest.approx(20, rel=0.01)


@pytest.mark.parametrize(
    ("logits", "y_true"),
    [(np.empty((0, 2)), []), (np.zeros((2, 2)), [0, -1]), (np.full((1, 2), np.nan), [0]), (np.zeros(3), [0])],
)
def test_temperature_needs_known_classes_and_numbers(logits, y_true):
    with pytest.raises(DataError):
        fit_temperature(logits, np.array(y_true, dtype=np.int64))


def test_reliability_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    stated, came_true = rng.random(300), rng.random(300) < 0.4
    found = reliability(stated, came_true, 10)
    observed, mean = calibration_curve(came_true, stated, n_bins=10)
    assert found.fraction_correct == pytest.approx(observed)
    assert found.mean_confidence == pytest.approx(mean)
    assert found.count.sum() == 300
    assert ((found.low <= observed) & (observed <= found.high)).all()


def test_empty_bins_are_not_defined():
    found = reliability(np.array([0.95, 0.9]), np.array([True, False]), 10)
    assert found.count.tolist() == [0] * 8 + [1, 1]
    assert np.isnan(found.mean_confidence[:8]).all()
    assert np.isnan(found.low[:8]).all()


@pytest.mark.parametrize(("stretch", "shift"), [(1.0, 0.0), (2.0, 0.0), (1.0, 0.7)])
def test_recalibration_finds_how_probabilities_were_bent(stretch, shift):
    rng = np.random.default_rng(1)
    logit = 1.5 * rng.normal(size=8000)
    came_true = rng.random(8000) < 1 / (1 + np.exp(-logit))
    stated = 1 / (1 + np.exp(-(stretch * logit + shift)))
    found = recalibrate(stated, came_true, Resampling.of(8000, None))
    assert found["slope"].ci95[0] <= 1 / stretch <= found["slope"].ci95[1]
    if stretch == 1:
        assert found["intercept"].ci95[0] <= -shift <= found["intercept"].ci95[1]
    assert found["slope"].ci95[1] - found["slope"].ci95[0] < 0.1


def test_intercept_by_hand():
    """Of a stated half, four of ten came true: logit(0.4), variance 10/9 of 1 / (10 x 0.4 x 0.6)."""
    found = recalibrate(np.full(10, 0.5), np.arange(10) < 4, Resampling.of(10, None))["intercept"]
    assert found == pytest.approx(np.log(0.4 / 0.6))
    assert found.ci95[1] - found == pytest.approx(1.96 * np.sqrt(10 / 9 / 2.4), rel=1e-4)


def test_recalibration_intervals_count_groups_not_copies():
    rng = np.random.default_rng(2)
    stated = rng.random(100)
    came_true = rng.random(100) < stated
    once = recalibrate(stated, came_true, Resampling.of(100, None))
    groups = [f"g{i}" for i in range(100) for _ in range(5)]
    copied = recalibrate(np.repeat(stated, 5), np.repeat(came_true, 5), Resampling.of(500, groups))
    for name in ("slope", "intercept"):
        assert copied[name] == pytest.approx(once[name], rel=1e-4)
        assert copied[name].ci95 == pytest.approx(once[name].ci95, rel=1e-3)
        assert "100 groups" in copied[name].method


def test_recalibration_is_not_defined_without_both_outcomes_or_overlap():
    images = Resampling.of(4, None)
    stated = np.array([0.1, 0.2, 0.8, 0.9])
    same = recalibrate(stated, np.ones(4, dtype=bool), images)
    assert np.isnan(same["slope"])
    assert np.isnan(same["intercept"])
    apart = recalibrate(stated, stated > 0.5, images)
    assert np.isnan(apart["slope"])
    assert apart["intercept"] == pytest.approx(0, abs=1e-9)


def test_certain_probabilities_have_a_finite_recalibration():
    found = recalibrate(np.array([0.0, 1.0, 1.0, 0.0]), np.array([0, 1, 0, 1], bool), Resampling.of(4, None))
    assert np.isfinite([found["slope"], found["intercept"]]).all()
