"""Two models on the same images: counts, McNemar's test and Newcombe's interval agree with published ones."""

import numpy as np
import pytest
from scipy.stats import binomtest

from tellapart.evaluation.paired import OUTCOMES, Paired


def table(both_right, fixed, broken, both_wrong, groups=None):
    counts = (both_right, fixed, broken, both_wrong)
    first, second = (
        np.repeat([True, False, True, False], counts),
        np.repeat([True, True, False, False], counts),
    )
    return Paired(first, second, groups)


def test_each_image_has_one_outcome():
    paired = Paired(np.array([True, False, True, False, True]), np.array([True, True, False, False, True]))
    assert [paired.where(outcome).tolist() for outcome in OUTCOMES] == [[0, 4], [1], [2], [3]]
    assert paired.counts == {"both right": 2, "fixed": 1, "broken": 1, "both wrong": 1}
    assert float(paired.difference) == 0


@pytest.mark.parametrize(
    ("counts", "value", "low", "high"),
    [
        # Bentur et al. 2009, as worked out by Fagerland, Lydersen and Laake, Statistics in Medicine 2014.
        ((1, 1, 7, 12), -0.286, -0.507, -0.026),
        ((20, 12, 2, 16), 0.2, 0.0562, 0.3292),
    ],
)
def test_newcombes_interval_is_the_published_one(counts, value, low, high):
    difference = table(*counts).difference
    assert float(difference) == pytest.approx(value, abs=5e-4)
    assert difference.ci95 == pytest.approx((low, high), abs=5e-4)
    assert difference.method == "Newcombe's interval for paired proportions"


@pytest.mark.parametrize(("fixed", "broken"), [(1, 7), (12, 2), (5, 5), (0, 6), (1, 0), (0, 0), (40, 61)])
def test_mcnemars_test_is_the_exact_binomial_one(fixed, broken):
    expected = binomtest(fixed, fixed + broken).pvalue if fixed + broken else 1.0
    assert table(30, fixed, broken, 10).p_value == pytest.approx(expected)


def test_the_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    shares, covered = np.array([0.7, 0.12, 0.06, 0.12]), 0
    for _ in range(400):
        low, high = table(*rng.multinomial(80, shares)).difference.ci95
        covered += low <= shares[1] - shares[2] <= high
    assert 0.92 <= covered / 400 <= 0.99


def test_equal_models_still_have_an_interval():
    low, high = table(20, 0, 0, 0).difference.ci95
    assert -0.2 < low < 0 < high < 0.2


def test_images_of_one_group_do_not_count_as_many():
    counts = (30, 12, 4, 14)
    alone, grouped = table(*counts), table(*counts, groups=[str(i // 4) for i in range(60)])
    assert alone.independent
    assert not grouped.independent
    assert float(grouped.difference) == float(alone.difference)
    assert "bootstrap over 15 groups" in grouped.difference.method
    assert np.ptp(grouped.difference.ci95) > np.ptp(alone.difference.ci95)
