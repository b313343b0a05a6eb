"""Curves against scikit-learn, and what thinning keeps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tellapart.evaluation.curves import macro_roc_curve, precision_recall_curve, roc_curve


@st.composite
def scored(draw):
    n = draw(st.integers(2, 40))
    score = np.array(draw(st.lists(st.integers(0, 12), min_size=n, max_size=n))) / 12
    positive = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    positive[:2] = True, False
    return positive, score


def many(n=20_000):
    rng = np.random.default_rng(0)
    positive = rng.random(n) < 0.2
    return positive, 1 / (1 + np.exp(-(rng.normal(size=n) + positive)))


@settings(max_examples=60, deadline=None)
@given(scored())
def test_roc_agrees_with_scikit_learn(sample):
    positive, score = sample
    curve = roc_curve(positive, score)
    x, y, thresholds = sk.roc_curve(positive, score, drop_intermediate=False)
    assert curve.x == pytest.approx(x)
    assert curve.y == pytest.approx(y)
    assert curve.thresholds[1:] == pytest.approx(thresholds[1:])
    assert np.isinf(curve.thresholds[0])
    assert curve.area == pytest.approx(sk.roc_auc_score(positive, score))


@settings(max_examples=60, deadline=None)
@given(scored())
def test_precision_recall_agrees_with_scikit_learn(sample):
    positive, score = sample
    curve = precision_recall_curve(positive, score)
    precision, recall, _ = sk.precision_recall_curve(positive, score)
    assert curve.x[1:] == pytest.approx(recall[-2::-1])
    assert curve.y[1:] == pytest.approx(precision[-2::-1])
    assert curve.area == pytest.approx(sk.average_precision_score(positive, score))


@settings(max_examples=40, deadline=None)
@given(scored())
def test_counts_are_those_from_the_threshold_up(sample):
    positive, score = sample
    curve = roc_curve(positive, score)
    for i, threshold in enumerate(curve.thresholds):
        called = score >= threshold
        expected = [(called & positive).sum(), (called & ~positive).sum()]
        expected += [(~called & ~positive).sum(), (~called & positive).sum()]
        assert [curve.tp[i], curve.fp[i], curve.tn[i], curve.fn[i]] == expected


@pytest.mark.parametrize("make", [roc_curve, precision_recall_curve])
def test_thinning_keeps_ends_and_shape(make):
    positive, score = many()
    full, thin = make(positive, score, max_points=10**9), make(positive, score)
    assert len(full.x) > 10_000
    assert 200 <= len(thin.x) <= 402
    assert (thin.x[0], thin.y[0], thin.x[-1], thin.y[-1]) == (full.x[0], full.y[0], full.x[-1], full.y[-1])
    assert thin.area == full.area
    assert np.trapezoid(thin.y, thin.x) == pytest.approx(np.trapezoid(full.y, full.x), abs=2e-3)


def test_thinning_keeps_the_chosen_threshold():
    positive, score = many()
    threshold = 0.6180339
    curve = roc_curve(positive, score, keep=threshold)
    called = score >= threshold
    points = set(zip(curve.tp.tolist(), curve.fp.tolist(), strict=True))
    assert (int((called & positive).sum()), int((called & ~positive).sum())) in points


def test_macro_average_has_the_mean_area():
    rng = np.random.default_rng(1)
    y_prob = rng.dirichlet([1, 1, 1], 90).round(2)
    y_true = (y_prob + rng.gumbel(size=(90, 3)) * 0.3).argmax(axis=1)
    curve = macro_roc_curve(y_true, y_prob)
    assert curve.area == pytest.approx(
        np.mean([sk.roc_auc_score(y_true == c, y_prob[:, c]) for c in range(3)])
    )
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.area, abs=5e-4)
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert (np.diff(curve.y) >= -1e-12).all()
    assert curve.tp.size == curve.thresholds.size == 0


def test_macro_average_leaves_out_classes_without_images():
    y_true = np.array([0, 0, 1, 1])
    y_prob = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.3, 0.6, 0.1], [0.55, 0.35, 0.1]])
    mean = np.mean([sk.roc_auc_score(y_true == c, y_prob[:, c]) for c in (0, 1)])
    assert macro_roc_curve(y_true, y_prob).area == pytest.approx(mean)


def test_a_class_without_images_has_no_curve():
    curve = roc_curve(np.zeros(3, dtype=bool), np.array([0.1, 0.2, 0.3]))
    assert np.isnan(curve.area)
    assert np.isnan(curve.y).all()
    assert np.isnan(macro_roc_curve(np.zeros(3, dtype=int), np.full((3, 2), 0.5)).area)
