"""Metrics against numbers worked out by hand, and against scikit-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tellapart.evaluation.metrics import Metrics, Ranking, WeightedMetrics, bin_index


def on_sample(y_true, y_prob, y_pred=None, positive=None, weights=None):
    """The figures as plain numbers."""
    y_true, y_prob = np.asarray(y_true), np.asarray(y_prob, dtype=float)
    y_pred = y_prob.argmax(axis=1) if y_pred is None else np.asarray(y_pred)
    weights = np.ones(len(y_true)) if weights is None else np.asarray(weights, dtype=float)
    found = WeightedMetrics(y_true, y_pred, y_prob, positive)(weights[:, np.newaxis])
    overall = {name: float(values[0]) for name, values in found.overall.items()}
    return overall, {name: values[:, 0] for name, values in found.per_class.items()}


def from_table(table):
    """Labels and certain probabilities that give this table of counts."""
    table = np.asarray(table)
    rows, columns = np.indices(table.shape)
    y_true, y_pred = np.repeat(rows.ravel(), table.ravel()), np.repeat(columns.ravel(), table.ravel())
    return y_true, np.eye(len(table))[y_pred]


TWO_TO_FIVE = st.integers(2, 5)


@st.composite
def samples(draw, n_classes=TWO_TO_FIVE):
    """Labels of every class and probabilities with many ties."""
    k = draw(n_classes)
    n = draw(st.integers(k, 40))
    rest = draw(st.lists(st.integers(0, k - 1), min_size=n - k, max_size=n - k))
    parts = draw(st.lists(st.lists(st.integers(1, 6), min_size=k, max_size=k), min_size=n, max_size=n))
    y_prob = np.array(parts, dtype=float)
    return np.array([*range(k), *rest]), y_prob / y_prob.sum(axis=1, keepdims=True)


def test_two_by_two_table():
    #                  called:  no  yes
    y_true, y_prob = from_table([[50, 10], [5, 35]])
    overall, per_class = on_sample(y_true, y_prob, positive=1)
    assert overall["accuracy"] == pytest.approx(85 / 100)
    assert overall["sensitivity"] == pytest.approx(35 / 40)
    assert overall["specificity"] == pytest.approx(50 / 60)
    assert overall["ppv"] == pytest.approx(35 / 45)
    assert overall["npv"] == pytest.approx(50 / 55)
    assert overall["lr_positive"] == pytest.approx((35 / 40) / (10 / 60))
    assert overall["lr_negative"] == pytest.approx((5 / 40) / (50 / 60))
    assert overall["balanced_accuracy"] == pytest.approx((35 / 40 + 50 / 60) / 2)
    assert overall["mcc"] == pytest.approx((35 * 50 - 10 * 5) / np.sqrt(45 * 55 * 40 * 60))
    assert per_class["f1"] == pytest.approx([2 * 50 / (60 + 55), 2 * 35 / (40 + 45)])


def test_positive_class_may_be_the_first():
    y_true, y_prob = from_table([[50, 10], [5, 35]])
    overall, _ = on_sample(y_true, y_prob, positive=0)
    assert (overall["sensitivity"], overall["specificity"]) == pytest.approx((50 / 60, 35 / 40))


def test_three_by_three_table():
    y_true, y_prob = from_table([[6, 2, 2], [1, 3, 0], [0, 1, 5]])
    overall, per_class = on_sample(y_true, y_prob)
    assert overall["accuracy"] == pytest.approx(14 / 20)
    assert per_class["recall"] == pytest.approx([6 / 10, 3 / 4, 5 / 6])
    assert per_class["precision"] == pytest.approx([6 / 7, 3 / 6, 5 / 7])
    assert per_class["specificity"] == pytest.approx([9 / 10, 13 / 16, 12 / 14])
    assert overall["balanced_accuracy"] == pytest.approx((6 / 10 + 3 / 4 + 5 / 6) / 3)
    assert overall["mcc"] == pytest.approx(
        (14 * 20 - (10 * 7 + 4 * 6 + 6 * 7)) / np.sqrt((400 - 152) * (400 - 134))
    )


def test_area_counts_ties_as_a_half():
    # One positive above both negatives, one tied with the higher of them: (1 + 1 + 1 + 1/2) / 4.
    ranking = Ranking(np.array([True, True, False, False]), np.array([0.9, 0.4, 0.4, 0.1]))
    assert ranking.areas(np.ones((4, 1)))[0, 0] == 3.5 / 4


def test_probability_scores_by_hand():
    overall, _ = on_sample([0, 1], [[0.8, 0.2], [0.4, 0.6]], positive=1)
    assert overall["log_loss"] == pytest.approx(-(np.log(0.8) + np.log(0.6)) / 2)
    assert overall["brier"] == pytest.approx((0.2**2 + 0.4**2) / 2)
    assert overall["ece"] == pytest.approx((0.2 + 0.4) / 2)


def test_calibration_error_follows_its_definition():
    rng = np.random.default_rng(0)
    y_prob = rng.dirichlet([1, 1, 1], 200)
    y_true = rng.integers(0, 3, 200)

    def gap(stated, came_true):
        bins = [(stated > low) & (stated <= low + 1 / 15) for low in np.arange(15) / 15]
        return sum(b.sum() * abs(stated[b].mean() - came_true[b].mean()) for b in bins if b.any()) / 200

    overall, _ = on_sample(y_true, y_prob)
    assert overall["ece"] == pytest.approx(gap(y_prob.max(axis=1), y_prob.argmax(axis=1) == y_true))
    each = [gap(y_prob[:, c], y_true == c) for c in range(3)]
    assert overall["classwise_ece"] == pytest.approx(np.mean(each))


@settings(max_examples=60, deadline=None)
@given(samples())
def test_agrees_with_scikit_learn(sample):
    y_true, y_prob = sample
    y_pred, k = y_prob.argmax(axis=1), y_prob.shape[1]
    overall, per_class = on_sample(y_true, y_prob)
    truth = np.eye(k)[y_true]
    expected = {
        "accuracy": sk.accuracy_score(y_true, y_pred),
        "balanced_accuracy": sk.balanced_accuracy_score(y_true, y_pred),
        "mcc": sk.matthews_corrcoef(y_true, y_pred),
        "log_loss": sk.log_loss(y_true, y_prob, labels=range(k)),
        "roc_auc_macro": sk.roc_auc_score(truth, y_prob, average="macro"),
        "average_precision_macro": sk.average_precision_score(truth, y_prob, average="macro"),
    }
    assert {name: overall[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        y_true, y_pred, labels=range(k), zero_division=np.nan
    )
    assert per_class["precision"] == pytest.approx(precision, nan_ok=True)
    assert per_class["recall"] == pytest.approx(recall)
    assert per_class["f1"] == pytest.approx(f1)
    assert per_class["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, y_prob, average=None))
    assert per_class["average_precision"] == pytest.approx(
        sk.average_precision_score(truth, y_prob, average=None)
    )


@settings(max_examples=40, deadline=None)
@given(samples(n_classes=st.just(2)))
def test_brier_score_of_two_classes_is_that_of_the_positive_one(sample):
    y_true, y_prob = sample
    overall, _ = on_sample(y_true, y_prob, positive=1)
    assert overall["brier"] == pytest.approx(sk.brier_score_loss(y_true, y_prob[:, 1]))


@settings(max_examples=40, deadline=None)
@given(samples(), st.data())
def test_a_weight_is_that_many_copies(sample, data):
    y_true, y_prob = sample
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(y_true), max_size=len(y_true))))
    weights[: y_prob.shape[1]] += 1  # no class may vanish
    copied, copied_classes = on_sample(np.repeat(y_true, weights), np.repeat(y_prob, weights, axis=0))
    weighted, weighted_classes = on_sample(y_true, y_prob, weights=weights)
    assert weighted == pytest.approx(copied, abs=1e-9)
    for name, values in copied_classes.items():
        assert weighted_classes[name] == pytest.approx(values, abs=1e-9, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(samples(), st.randoms(use_true_random=False))
def test_neither_order_of_images_nor_names_of_classes_matter(sample, random):
    y_true, y_prob = sample
    images, classes = list(range(len(y_true))), list(range(y_prob.shape[1]))
    random.shuffle(images)
    random.shuffle(classes)
    # Ties between the most probable classes would be broken by their place.
    y_pred = y_prob.argmax(axis=1)
    new_name = np.argsort(classes)
    overall, per_class = on_sample(y_true, y_prob, y_pred)
    top_is_unique = (y_prob == y_prob.max(axis=1, keepdims=True)).sum(axis=1) == 1
    renamed, renamed_classes = on_sample(
        new_name[y_true][images], y_prob[:, classes][images], new_name[y_pred][images]
    )
    if not top_is_unique.all():
        overall.pop("ece"), renamed.pop("ece")
    assert renamed == pytest.approx(overall, abs=1e-9)
    for name, values in per_class.items():
        assert renamed_classes[name] == pytest.approx(values[classes], abs=1e-9, nan_ok=True)


def test_class_without_images_is_not_defined_and_left_out_of_means():
    y_prob = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    overall, per_class = on_sample([0, 1, 1, 0], y_prob)
    for name in ("recall", "precision", "roc_auc", "average_precision", "f1"):
        assert np.isnan(per_class[name][2])
    assert overall["balanced_accuracy"] == pytest.approx(0.5)
    assert overall["roc_auc_macro"] == pytest.approx(per_class["roc_auc"][:2].mean())


def test_a_draw_without_a_class_does_not_define_figures_that_need_it():
    y_prob = np.array([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    overall, _ = on_sample([0, 0, 1], y_prob, positive=1, weights=[2, 1, 0])
    for name in ("balanced_accuracy", "roc_auc_macro", "sensitivity", "mcc"):
        assert np.isnan(overall[name]), name
    assert overall["accuracy"] == 1


def test_predicting_one_class_always_has_no_correlation():
    overall, _ = on_sample([0, 0, 1], [[0.9, 0.1]] * 3, positive=1)
    assert overall["mcc"] == 0
    assert np.isnan(overall["ppv"])


def test_certain_and_wrong_has_a_finite_log_loss():
    overall, _ = on_sample([0], [[0.0, 1.0]])
    assert overall["log_loss"] == pytest.approx(-np.log(np.finfo(float).eps))


def test_a_bin_holds_its_upper_edge():
    assert bin_index(np.array([0.0, 0.1, 0.25, 0.26, 1.0]), 4).tolist() == [0, 0, 0, 1, 3]


def test_parts_join_in_order():
    one = Metrics({"accuracy": np.array([0.1])}, {"recall": np.array([[0.2], [0.3]])})
    two = Metrics({"accuracy": np.array([0.4])}, {"recall": np.array([[0.5], [0.6]])})
    joined = Metrics.concatenate([one, two])
    assert joined.overall["accuracy"].tolist() == [0.1, 0.4]
    assert joined.per_class["recall"].tolist() == [[0.2, 0.5], [0.3, 0.6]]
