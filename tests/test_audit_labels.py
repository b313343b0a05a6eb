"""What out-of-fold probabilities say of labels: suspects with their neighbours, classes that look alike."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from made_up import made_up
from tellapart.audit.labels import contrasts, findings, suspects
from tellapart.audit.neighbours import Neighbours


def sure(y, n_classes, p=0.9):
    """Probabilities of a model that is right and as sure as `p`."""
    y_prob = np.full((len(y), n_classes), (1 - p) / (n_classes - 1))
    y_prob[np.arange(len(y)), y] = p
    return y_prob


def test_a_model_that_is_right_suspects_nobody():
    y = np.arange(30) % 3
    found, likely = suspects(y, sure(y, 3))
    assert (len(found), len(likely)) == (0, 0)


@given(st.sets(st.integers(0, 59), min_size=1, max_size=6))
@example({0, 3, 24, 27, 45})
def test_exchanged_labels_are_the_suspects(changed):
    truth = np.arange(60) % 3
    y = truth.copy()
    y[list(changed)] = (y[list(changed)] + 1) % 3
    found, likely = suspects(y, sure(truth, 3))
    assert set(found.tolist()) == changed
    np.testing.assert_array_equal(likely, truth[found])


def test_a_class_without_labels_is_never_the_reason():
    y = np.array([0, 0, 1, 1])
    y_prob = sure(np.array([2, 0, 1, 1]), 3)
    found, _ = suspects(y, y_prob)
    assert len(found) == 0


def test_a_suspect_is_told_with_its_nearest_images():
    dataset = made_up("aaaabbbb")
    y_prob = sure(dataset.targets, 2)
    y_prob[3] = [0.05, 0.95]
    features = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1, 1, 1, 1]] + 0.01
    (told,) = findings(dataset, y_prob, Neighbours(features))
    assert (told.kind, told.severity, told.sample_ids) == ("suspected label", "warning", ("a/003",))
    assert "is labelled a and looks like b (95% against 5%; 4 of its 5 nearest" in told.message
    assert told.details["suggested"] == "b"
    assert told.details["probability"] == {"a": 0.05, "b": 0.95}
    assert [near["label"] for near in told.details["neighbours"]] == ["b"] * 4 + ["a"]
    assert told.details["neighbours"][0]["similarity"] == pytest.approx(1)


@given(st.integers(0, 99), st.floats(0, 2))
def test_the_contrast_of_two_classes_is_the_area_under_their_curve(seed, apart):
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], [12, 20])
    p = norm.cdf(rng.normal(apart * (y - 0.5), 1))
    (one,) = contrasts(y, np.c_[1 - p, p])
    assert one.auc == pytest.approx(roc_auc_score(y, p))
    assert 0 <= one.ci95[0] <= one.auc <= one.ci95[1] <= 1


def test_an_interval_by_hand():
    """Hanley and McNeil's variance for an area of 0.75 and ten images each: 0.0128."""
    y = np.repeat([0, 1], [10, 10])
    # Half of the ones lie above all zeros, the others in the middle of them.
    p = np.concatenate([np.r_[[0.1] * 5, [0.6] * 5], np.r_[[0.5] * 5, [0.9] * 5]])
    (one,) = contrasts(y, np.c_[1 - p, p])
    assert one.auc == 0.75
    variance = (0.75 * 0.25 + 9 * (0.6 - 0.5625) + 9 * (1.125 / 1.75 - 0.5625)) / 100
    half = norm.ppf(0.975) * variance**0.5
    assert one.ci95 == pytest.approx((0.75 - half, min(0.75 + half, 1)))


def test_one_class_dealt_into_two_names_looks_alike_and_others_do_not():
    dataset = made_up("a" * 40 + "b" * 40 + "c" * 40)
    rng = np.random.default_rng(0)
    y_prob = sure(dataset.targets, 3, 0.98)
    y_prob[:80] = np.c_[rng.dirichlet([5, 5], 80) * 0.98, np.full(80, 0.02)]
    neighbours = Neighbours(np.eye(120, dtype=np.float32))
    (told,) = [one for one in findings(dataset, y_prob, neighbours) if one.kind == "classes alike"]
    assert told.details["classes"] == ["a", "b"]
    assert "a and b cannot be told apart" in told.message
    assert told.details["ci95"][0] < 0.5


def test_of_few_images_nothing_is_said():
    y = np.repeat([0, 1], [7, 30])
    assert contrasts(y, np.full((37, 2), 0.5)) == []
