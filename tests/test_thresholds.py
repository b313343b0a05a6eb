"""How the operating point is chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from tellapart.errors import ConfigError, DataError
from tellapart.evaluation.intervals import Resampling, clopper_pearson
from tellapart.evaluation.thresholds import choose_band, choose_by_cost, choose_threshold

SCORE = np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])
POSITIVE = np.array([0, 0, 0, 1, 0, 1, 1, 1], dtype=bool)


def rates(positive, score, threshold):
    called = score >= threshold
    return called[positive].mean(), 1 - called[~positive].mean()


@st.composite
def scored(draw):
    n = draw(st.integers(2, 30))
    score = np.array(draw(st.lists(st.integers(0, 20), min_size=n, max_size=n))) / 20
    positive = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    positive[:2] = True, False
    return positive, score


def test_youden_halfway_between_scores():
    # From 0.7: sensitivity 3/4, specificity 1; from 0.4: 1 and 3/4. Equal: the more sensitive one.
    assert choose_threshold(POSITIVE, SCORE, target_sensitivity=None) == pytest.approx(0.35)


def test_target_is_reached_by_the_highest_threshold():
    assert choose_threshold(POSITIVE, SCORE, target_sensitivity=0.75) == pytest.approx(0.65)
    assert choose_threshold(POSITIVE, SCORE, target_sensitivity=0.76) == pytest.approx(0.35)


def test_perfect_separation_lies_in_the_middle_of_the_gap():
    for target in (None, 1.0):
        threshold = choose_threshold(np.array([False, True]), np.array([0.2, 0.9]), target_sensitivity=target)
        assert threshold == pytest.approx(0.55)


def test_everything_positive_lies_below_every_score():
    positive = np.array([True, False, True])
    assert choose_threshold(positive, np.array([0.2, 0.5, 0.7]), target_sensitivity=1.0) == pytest.approx(0.1)
    assert choose_threshold(positive, np.zeros(3), target_sensitivity=1.0) == 0


def test_scores_next_to_each_other_are_still_told_apart():
    low, high = 0.5, np.nextafter(0.5, 1)
    threshold = choose_threshold(np.array([False, True]), np.array([low, high]), target_sensitivity=None)
    assert low < threshold <= high


@settings(max_examples=80, deadline=None)
@given(scored())
def test_no_threshold_has_a_better_youden_index(sample):
    positive, score = sample
    threshold = choose_threshold(positive, score, target_sensitivity=None)
    false_rate, true_rate, _ = roc_curve(positive, score)
    assert sum(rates(positive, score, threshold)) - 1 == pytest.approx((true_rate - false_rate).max())


@settings(max_examples=80, deadline=None)
@given(scored(), st.floats(0.01, 1))
def test_target_is_always_reached_with_the_best_specificity(sample, target):
    positive, score = sample
    threshold = choose_threshold(positive, score, target_sensitivity=target)
    sensitivity, specificity = rates(positive, score, threshold)
    assert sensitivity >= target - 1e-9
    others = [rates(positive, score, value) for value in score]
    assert specificity >= max(spec for sens, spec in others if sens >= target) - 1e-9


@settings(max_examples=50, deadline=None)
@given(scored())
def test_no_score_stands_on_the_edge(sample):
    positive, score = sample
    threshold = choose_threshold(positive, score, target_sensitivity=None)
    assert threshold not in score or threshold == 0


def test_one_class_only_is_refused():
    with pytest.raises(DataError, match="3 positive and 0 negative"):
        choose_threshold(np.ones(3, dtype=bool), np.array([0.1, 0.2, 0.3]), target_sensitivity=None)


def test_what_is_not_a_number_is_refused():
    with pytest.raises(DataError, match="finite"):
        choose_threshold(np.array([True, False]), np.array([np.nan, 0.3]), target_sensitivity=None)


@pytest.mark.parametrize("target", [0, -0.1, 1.1])
def test_impossible_targets_are_refused(target):
    with pytest.raises(ConfigError, match="target_sensitivity"):
        choose_threshold(POSITIVE, SCORE, target_sensitivity=target)


# ---- the lower end of the interval, cost, a band -----------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(scored(), st.floats(0.05, 0.6))
def test_the_lower_end_of_the_interval_reaches_the_target(sample, target):
    positive, score = sample
    resampling = Resampling.of(score.size, None)

    def lower_end(threshold):
        n = int(positive.sum())
        return clopper_pearson(int((score[positive] >= threshold).sum()), n)[0]

    if lower_end(-1) < target:
        with pytest.raises(DataError, match=r"no threshold surely reaches .* validate on more images"):
            choose_threshold(positive, score, target_sensitivity=target, surely=resampling)
        return
    threshold = choose_threshold(positive, score, target_sensitivity=target, surely=resampling)
    assert lower_end(threshold) >= target
    higher = [value for value in score if value > threshold and lower_end(value) >= target]
    # Nothing higher does, but for the scores that the threshold stands right below.
    assert {(score >= value).sum() for value in higher} <= {(score >= threshold).sum()}


def test_patients_with_many_images_make_the_lower_end_lower():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(40), 5)
    positive = patient % 2 == 0
    score = np.clip(rng.normal(0.3 + 0.4 * positive, 0.1) + np.repeat(rng.normal(0, 0.2, 40), 5), 0, 1)
    alone, together = Resampling.of(200, None), Resampling.of(200, [str(p) for p in patient])
    chosen = [
        choose_threshold(positive, score, target_sensitivity=0.7, surely=resampling)
        for resampling in (alone, together)
    ]
    assert chosen[1] < chosen[0] < choose_threshold(positive, score, target_sensitivity=0.7)


@settings(max_examples=60, deadline=None)
@given(scored(), st.sampled_from([0.1, 1, 3, 50]), st.sampled_from([None, 0.02, 0.5, 0.9]))
def test_no_threshold_costs_less(sample, miss_cost, prevalence):
    positive, score = sample
    share = positive.mean() if prevalence is None else prevalence

    def cost(threshold):
        sensitivity, specificity = rates(positive, score, threshold)
        return miss_cost * share * (1 - sensitivity) + (1 - share) * (1 - specificity)

    threshold = choose_by_cost(positive, score, miss_cost=miss_cost, prevalence=prevalence)
    assert cost(threshold) <= min(cost(value) for value in score) + 1e-9


def test_dearer_misses_lower_the_threshold():
    assert choose_by_cost(POSITIVE, SCORE, miss_cost=10) == pytest.approx(0.35)
    assert choose_by_cost(POSITIVE, SCORE, miss_cost=0.5) == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"miss_cost": 0}, "costs 0 false alarms; give a number above 0"),
        ({"miss_cost": float("nan")}, "give a number above 0"),
        ({"miss_cost": 2, "prevalence": 0}, "prevalence is 0; it must be between 0 and 1"),
        ({"miss_cost": 2, "prevalence": 1}, "prevalence is 1"),
    ],
)
def test_costs_that_cannot_be(options, message):
    with pytest.raises(ConfigError, match=message):
        choose_by_cost(POSITIVE, SCORE, **options)


@settings(max_examples=60, deadline=None)
@given(scored(), st.floats(0.3, 1), st.floats(0.3, 1))
def test_below_and_above_the_band_the_targets_are_reached(sample, sensitivity, specificity):
    positive, score = sample
    top = score == score.max()
    if (~positive & ~top).sum() < specificity * (~positive).sum() - 1e-9:
        with pytest.raises(DataError, match="no threshold reaches a specificity"):
            choose_band(positive, score, sensitivity=sensitivity, specificity=specificity)
        return
    low, high = choose_band(positive, score, sensitivity=sensitivity, specificity=specificity)
    assert low <= high
    assert rates(positive, score, low)[0] >= sensitivity - 1e-9
    assert rates(positive, score, high)[1] >= specificity - 1e-9


def test_the_narrowest_band():
    assert choose_band(POSITIVE, SCORE, sensitivity=1, specificity=1) == pytest.approx((0.35, 0.65))
    assert choose_band(POSITIVE, SCORE, sensitivity=0.75, specificity=0.75) == pytest.approx((0.65, 0.65))
    with pytest.raises(ConfigError, match="specificity is 0"):
        choose_band(POSITIVE, SCORE, sensitivity=1, specificity=0)
