"""The bootstrap of every figure: against a naive loop, for groups, and by simulation."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from tellapart.evaluation.bootstrap import Bootstrap
from tellapart.evaluation.intervals import Resampling


def two_classes(n, rng, separation=1.0):
    y_true = rng.permutation(np.arange(n) % 2)
    score = 1 / (1 + np.exp(-(rng.normal(size=n) + separation * (2 * y_true - 1))))
    return y_true, np.column_stack([1 - score, score])


def bootstrap(y_true, y_prob, groups=None, n_draws=400, seed=0):
    positive = 1 if y_prob.shape[1] == 2 else None
    resampling = Resampling.of(len(y_true), groups)
    y_pred = y_prob.argmax(axis=1)
    return Bootstrap(
        y_true, y_pred, y_prob, positive=positive, resampling=resampling, n_draws=n_draws, seed=seed
    )


def width(estimate):
    return estimate.ci95[1] - estimate.ci95[0]


@pytest.mark.parametrize("groups", [None, [f"g{i // 3}" for i in range(60)]])
def test_equals_a_loop_over_copied_images(groups):
    y_true, y_prob = two_classes(60, np.random.default_rng(0))
    found = bootstrap(y_true, y_prob, groups, n_draws=50)
    aucs, balanced = [], []
    for weights in np.concatenate(list(Resampling.of(60, groups).weights(50, 0)), axis=1).T:
        chosen = np.repeat(np.arange(60), weights.astype(int))
        aucs.append(roc_auc_score(y_true[chosen], y_prob[chosen, 1]))
        balanced.append(balanced_accuracy_score(y_true[chosen], y_prob[chosen].argmax(axis=1)))
    for name, draws in (("roc_auc_macro", aucs), ("balanced_accuracy", balanced)):
        expected = np.quantile(draws, (0.025, 0.975), method="inverted_cdf")
        assert found.overall[name].ci95 == pytest.approx(tuple(expected))


def test_same_seed_same_intervals_other_seed_others():
    y_true, y_prob = two_classes(80, np.random.default_rng(1))
    first, again, other = (
        bootstrap(y_true, y_prob, seed=seed).overall["roc_auc_macro"] for seed in (0, 0, 1)
    )
    assert first.ci95 == again.ci95 != other.ci95


def test_proportions_of_images_are_exact_and_of_groups_are_not():
    y_true, y_prob = two_classes(60, np.random.default_rng(2))
    alone, grouped = bootstrap(y_true, y_prob), bootstrap(y_true, y_prob, [f"g{i // 2}" for i in range(60)])
    for name in ("accuracy", "sensitivity", "specificity", "ppv", "npv"):
        assert alone.overall[name].method == "Clopper-Pearson"
        assert grouped.overall[name].method == "bootstrap over 30 groups (400 draws)"
    for name in ("precision", "recall", "specificity"):
        assert alone.per_class[0][name].method == "Clopper-Pearson"
        assert grouped.per_class[0][name].method == "bootstrap over 30 groups (400 draws)"


def test_copies_of_an_image_in_a_group_add_no_certainty():
    """Ten copies of each image are ten times the images and not a bit more information."""
    y_true, y_prob = two_classes(40, np.random.default_rng(3))
    groups = [f"g{i}" for i in range(40) for _ in range(10)]
    many, many_prob = np.repeat(y_true, 10), np.repeat(y_prob, 10, axis=0)
    once = bootstrap(y_true, y_prob).overall
    grouped = bootstrap(many, many_prob, groups).overall
    naive = bootstrap(many, many_prob).overall
    for name in ("roc_auc_macro", "balanced_accuracy", "log_loss", "mcc"):
        assert width(grouped[name]) == pytest.approx(width(once[name]), rel=0.35)
        assert width(grouped[name]) > 2 * width(naive[name])


def test_perfect_scores_are_not_certain():
    y_true = np.array([0] * 30 + [1] * 12 + [2] * 20)
    y_prob = np.eye(3)[y_true] * 0.7 + 0.1
    found = bootstrap(y_true, y_prob, n_draws=100)
    bound = 0.025 ** (1 / 12)
    for name in ("balanced_accuracy", "roc_auc_macro", "average_precision_macro"):
        assert found.overall[name].ci95 == pytest.approx((bound, 1.0))
        assert "12 images" in found.overall[name].method
    assert found.overall["mcc"].ci95 == pytest.approx((2 * bound - 1, 1.0))
    assert found.per_class[0]["roc_auc"].ci95 == pytest.approx((0.025 ** (1 / 30), 1.0))
    for estimates in [found.overall, *found.per_class]:
        for name, estimate in estimates.items():
            assert estimate.ci95 != (1.0, 1.0), name


def test_one_class_against_the_rest_is_as_certain_as_the_smaller_side():
    y_true = np.array([0] * 50 + [1] * 10)
    found = bootstrap(y_true, np.eye(2)[y_true] * 0.8 + 0.1, n_draws=20)
    for estimates in found.per_class:
        assert estimates["roc_auc"].ci95 == pytest.approx((0.025 ** (1 / 10), 1.0))


def test_perfect_scores_of_groups_count_groups():
    y_true = np.repeat([0, 1], 30)
    y_prob = np.eye(2)[y_true] * 0.8 + 0.1
    groups = [f"g{i // 6}" for i in range(60)]
    found = bootstrap(y_true, y_prob, groups, n_draws=50)
    for name in ("accuracy", "sensitivity", "balanced_accuracy", "roc_auc_macro"):
        n_units = 10 if name == "accuracy" else 5
        assert found.overall[name].ci95 == pytest.approx((0.025 ** (1 / n_units), 1.0)), name


def test_one_group_says_nothing():
    y_true, y_prob = two_classes(30, np.random.default_rng(4))
    found = bootstrap(y_true, y_prob, ["only"] * 30, n_draws=50).overall["balanced_accuracy"]
    assert found.ci95 == pytest.approx((0, 1), abs=0.3)


def test_a_class_of_one_image_leaves_draws_out_and_says_so():
    rng = np.random.default_rng(5)
    y_true = np.array([0] * 20 + [1] * 20 + [2])
    y_prob = rng.dirichlet([1, 1, 1], 41)
    found = bootstrap(y_true, y_prob).overall["balanced_accuracy"]
    assert "draws left out" in found.method
    left_out = int(found.method.split("; ")[1].split()[0])
    assert left_out / 400 == pytest.approx(np.exp(-1), abs=0.08)


def test_no_draws_give_figures_without_intervals():
    y_true, y_prob = two_classes(20, np.random.default_rng(6))
    found = bootstrap(y_true, y_prob, n_draws=0)
    assert found.overall["roc_auc_macro"].ci95 is None
    assert found.per_class[1]["roc_auc"].ci95 is None
    assert found.overall["accuracy"].ci95 is not None


def test_intervals_cover_the_truth():
    """Area of two unit normals 2 apart is Phi(sqrt(2)) = 0.9214; 95 % intervals should mostly hold it."""
    covered = []
    for seed in range(60):
        y_true, y_prob = two_classes(150, np.random.default_rng(seed))
        low, high = bootstrap(y_true, y_prob, n_draws=200).overall["roc_auc_macro"].ci95
        covered.append(low <= 0.92135 <= high)
    assert np.mean(covered) >= 0.85
