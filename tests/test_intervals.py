"""Intervals against published values, brute force and simulation."""

import numpy as np
import pytest
from scipy.stats import binomtest

import tellapart.evaluation.intervals as intervals
from tellapart.evaluation.intervals import (
    Resampling,
    bootstrap_estimate,
    clopper_pearson,
    proportion,
    wilson,
)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (81, 263)])
def test_proportions_agree_with_scipy(successes, n):
    exact = binomtest(successes, n).proportion_ci(method="exact")
    assert clopper_pearson(successes, n) == pytest.approx((exact.low, exact.high))
    score = binomtest(successes, n).proportion_ci(method="wilson")
    low, high = wilson(np.array([successes], dtype=float), np.array([n], dtype=float))
    assert (low[0], high[0]) == pytest.approx((score.low, score.high), abs=1e-12)


def test_rule_of_three():
    """No event among n: the upper end is about 3.7/n for a two-sided interval."""
    assert clopper_pearson(0, 100)[1] == pytest.approx(1 - 0.025 ** (1 / 100))


def test_nothing_counted_is_not_defined():
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    assert np.isnan(proportion(0, 0))
    assert proportion(0, 0).ci95 is None
    low, high = wilson(np.zeros(1), np.zeros(1))
    assert np.isnan([low[0], high[0]]).all()


def test_draws_have_the_size_of_the_sample():
    weights = np.concatenate(list(Resampling.of(50, None).weights(20, seed=0)), axis=1)
    assert weights.shape == (50, 20)
    assert (weights.sum(axis=0) == 50).all()


def test_each_unit_is_drawn_once_on_average_with_multinomial_spread():
    weights = np.concatenate(list(Resampling.of(40, None).weights(5000, seed=0)), axis=1)
    assert weights.mean(axis=1) == pytest.approx(np.ones(40), abs=0.1)
    assert weights.var() == pytest.approx(1 - 1 / 40, abs=0.02)


def test_draws_do_not_depend_on_how_many_are_held_at_a_time(monkeypatch):
    resampling = Resampling.of(30, ["a", "b", "c"] * 10)
    whole = np.concatenate(list(resampling.weights(25, seed=3)), axis=1)
    monkeypatch.setattr(intervals, "_CHUNK", 120)
    parts = list(resampling.weights(25, seed=3))
    assert len(parts) == 7
    assert (np.concatenate(parts, axis=1) == whole).all()


def test_groups_are_drawn_whole():
    resampling = Resampling.of(6, ["a", "a", "b", "b", "b", "c"])
    assert (resampling.name, resampling.n_units, resampling.independent) == ("groups", 3, False)
    weights = np.concatenate(list(resampling.weights(50, seed=0)), axis=1)
    assert (weights[0] == weights[1]).all()
    assert (weights[2] == weights[3]).all()
    assert (weights[[0, 2, 5]].sum(axis=0) == 3).all()


def test_groups_of_one_image_each_are_images():
    assert Resampling.of(3, ["a", "b", "c"]).independent
    assert Resampling.of(3, None).independent


def test_units_behind_a_mask():
    resampling = Resampling.of(5, ["a", "a", "b", "b", "c"])
    assert resampling.count(np.array([True, True, False, True, False])) == 2


def estimate(value, draws, n_exact=20, bounds=(0.0, 1.0), **options):
    resampling = Resampling.of(100, None)
    draws = np.asarray(draws, dtype=float)
    return bootstrap_estimate(value, draws, resampling, bounds=bounds, n_exact=n_exact, **options)


def test_percentiles_of_the_draws():
    found = estimate(0.5, np.arange(1, 1001) / 1000)
    assert found.ci95 == (0.025, 0.975)
    assert found.method == "bootstrap over 100 images (1000 draws)"


def test_draws_that_do_not_define_the_figure_are_left_out_and_counted():
    found = estimate(0.5, np.r_[np.arange(1, 901) / 1000, [np.nan] * 100])
    assert found.ci95 == pytest.approx((0.023, 0.878))
    assert "100 draws left out" in found.method


def test_no_interval_from_a_minority_of_the_draws():
    found = estimate(0.5, [0.4, 0.6, np.nan, np.nan, np.nan])
    assert found.ci95 is None
    assert "3 of 5 draws" in found.method


def test_a_perfect_score_is_not_certain():
    found = estimate(1.0, np.ones(1000))
    assert found.ci95 == pytest.approx((0.025 ** (1 / 20), 1.0))
    assert found.method.startswith("Clopper-Pearson bound for 20 images")


def test_the_bound_is_stretched_to_the_figures_range():
    found = estimate(1.0, np.ones(10), bounds=(-1.0, 1.0))
    assert found.ci95 == pytest.approx((1 - 2 * (1 - 0.025 ** (1 / 20)), 1.0))


def test_a_constant_figure_without_bounds_has_no_interval():
    assert estimate(0.0, np.zeros(10), bounds=(0.0, np.inf)).ci95 is None


def test_infinite_draws():
    assert estimate(2.0, [1.0] * 5 + [np.inf] * 5).ci95 is None
    assert estimate(np.inf, [np.inf] * 10).ci95 is None


def test_undefined_figures_and_no_draws():
    assert estimate(np.nan, [0.5, 0.6]).ci95 is None
    assert estimate(0.5, []).ci95 is None


def test_intervals_of_gaps_reach_zero_where_chance_explains_them():
    """Draws of a mean of absolute gaps lie above the sample: their percentiles would exclude it."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=400)
    value = np.abs(noise).mean()
    draws = np.abs(noise + rng.normal(size=(1000, 400))).mean(axis=1)
    assert np.quantile(draws, 0.025) > value
    low, high = estimate(value, draws, bounds=(0.0, 9.0), grows_with_noise=True).ci95
    assert low == 0
    assert high >= value


def test_exact_intervals_cover():
    rng = np.random.default_rng(0)
    drawn = rng.binomial(30, 0.9, size=2000)
    cover = [low <= 0.9 <= high for low, high in (clopper_pearson(int(k), 30) for k in drawn)]
    assert np.mean(cover) >= 0.95
