import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.svm import LinearSVC

from tellapart.data.splits import deal
from tellapart.errors import TooFewImages
from tellapart.training.heads import C_PATH, FittedHead, LinearHead, fit_head, vector_scaling


def blobs(counts, n_features=20, spread=1.0, seed=0):
    """Gaussian classes around random centres; features are positive-ish and of unequal scale."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), n_features))
    noise = rng.normal(scale=spread, size=(len(y), n_features)) * np.linspace(0.2, 2, n_features)
    return (centres[y] + noise + 3).astype(np.float32), y


def fit(features, y, **options) -> FittedHead:
    settings = {
        "kind": "logistic",
        "balance": False,
        "groups": None,
        "n_classes": int(y.max()) + 1,
        "seed": 0,
    }
    return fit_head(features, y, **(settings | options))


def scaled(features):
    centred = features - features.mean(axis=0)
    return centred / np.sqrt(np.square(centred).mean())


def probabilities(fitted, features):
    return softmax(fitted.head.logits(features), axis=1)


def test_logits_are_an_affine_map():
    head = LinearHead(np.array([[1, 2], [0, -1]], np.float32), np.array([0.5, 0], np.float32))
    assert head.logits(np.array([[3, 4]], np.float32)).tolist() == [[11.5, -4.0]]


@pytest.mark.parametrize("n_features", [8, 300], ids=["more samples", "more features"])
@pytest.mark.parametrize("balance", [False, True])
def test_logistic_head_is_scikit_learns_logistic_regression(n_features, balance):
    features, y = blobs([60, 30, 20], n_features, spread=2.0)
    ours = fit(features, y, balance=balance)
    theirs = LogisticRegression(
        C=ours.chosen["C"], class_weight="balanced" if balance else None, tol=1e-8, max_iter=10_000
    ).fit(scaled(features), y)
    expected = theirs.predict_proba(scaled(features))
    np.testing.assert_allclose(probabilities(ours, features), expected, atol=0.01)


def test_svm_head_orders_images_as_scikit_learns_linear_svm():
    features, y = blobs([80, 50], spread=3.0)
    ours = fit(features, y, kind="svm")
    svm = LinearSVC(C=ours.chosen["C"], dual=False, intercept_scaling=100, tol=1e-8, max_iter=100_000)
    theirs = svm.fit(scaled(features), y).decision_function(scaled(features))
    logits = ours.head.logits(features)
    assert np.corrcoef(logits[:, 1] - logits[:, 0], theirs)[0, 1] > 0.9995


def test_out_of_fold_logits_come_from_heads_that_never_saw_the_image():
    features, y = blobs([40, 30, 30], spread=4.0)
    ours = fit(features, y, seed=7)
    x = scaled(features)
    folds = deal(y, range(100), [0.2] * 5, seed=7)
    for train, held_out in ((folds != fold, folds == fold) for fold in range(5)):
        theirs = LogisticRegression(C=ours.chosen["C"], tol=1e-8, max_iter=10_000).fit(x[train], y[train])
        expected = theirs.predict_proba(x[held_out])
        np.testing.assert_allclose(softmax(ours.oof_logits[held_out], axis=1), expected, atol=0.01)


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_labels_that_features_say_nothing_about_are_not_predicted_out_of_fold(kind):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 400)).astype(np.float32)
    fitted = fit(features, np.arange(200) % 2, kind=kind)
    assert accuracy_score(np.arange(200) % 2, fitted.oof_logits.argmax(axis=1)) < 0.62
    assert fitted.chosen["cv_log_loss"] < np.log(2) + 0.05


def test_images_of_one_group_stay_in_one_fold():
    rng = np.random.default_rng(1)
    photos = rng.normal(size=(50, 100)).astype(np.float32)
    features, y, groups = (
        np.repeat(photos, 4, axis=0),
        np.repeat(np.arange(50) % 2, 4),
        np.repeat(range(50), 4),
    )
    leaky = fit(features, y)
    honest = fit(features, y, groups=[f"patient {g}" for g in groups])
    assert accuracy_score(y, leaky.oof_logits.argmax(axis=1)) > 0.9
    assert accuracy_score(y, honest.oof_logits.argmax(axis=1)) < 0.7


def test_one_group_per_image_is_no_grouping():
    features, y = blobs([12, 12])
    assert np.array_equal(
        fit(features, y).oof_logits, fit(features, y, groups=[str(i) for i in range(24)]).oof_logits
    )


@pytest.mark.parametrize("kind", ["logistic", "svm"])
@pytest.mark.parametrize(("counts", "folds"), [((2, 2), 2), ((9, 3, 4), 3), ((40, 2, 9), 2), ((30, 30), 5)])
def test_rarest_class_limits_the_folds(kind, counts, folds):
    features, y = blobs(counts, spread=0.1)
    fitted = fit(features, y, kind=kind)
    assert fitted.chosen["cv_folds"] == folds
    assert fitted.chosen["C"] in C_PATH
    assert fitted.head.weight.shape == (len(counts), 20)
    assert fitted.head.weight.dtype == fitted.head.bias.dtype == np.float32
    assert np.isfinite(fitted.oof_logits).all()
    assert (fitted.head.logits(features).argmax(axis=1) == y).all()


def test_a_class_whose_images_are_all_of_one_patient_can_still_be_fitted():
    features, y = blobs([10, 10, 3], spread=0.1)
    groups = [f"p{i // 2}" for i in range(20)] + ["only"] * 3
    assert (fit(features, y, groups=groups).head.logits(features).argmax(axis=1) == y).all()


def test_too_few_images_say_which_class_and_what_to_do():
    features, y = blobs([5, 1])
    with pytest.raises(TooFewImages, match=r"class number 1 has 1 .* needs 2"):
        fit(features, y)
    with pytest.raises(TooFewImages, match="class number 1 has 0"):
        fit(features[:5], y[:5], n_classes=2)


def test_one_group_only_cannot_be_divided():
    features, y = blobs([5, 5])
    with pytest.raises(TooFewImages, match="all 10 training images are of one group"):
        fit(features, y, groups=["p"] * 10)


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_balance_finds_the_rare_class(kind):
    features, y = blobs([400, 25], spread=2.5, n_features=10)
    plain, balanced = (fit(features, y, kind=kind, balance=balance) for balance in (False, True))
    scores = [balanced_accuracy_score(y, f.oof_logits.argmax(axis=1)) for f in (plain, balanced)]
    assert scores[1] > scores[0] + 0.05


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_probabilities_are_those_of_the_data(kind):
    """Two Gaussians one unit either side of zero: P(class 1 | x) is 1 / (1 + exp(-2 x))."""
    rng = np.random.default_rng(0)
    y = np.arange(3000) % 2
    x = rng.normal(loc=2.0 * y - 1).astype(np.float32)[:, None]
    fitted = fit(x, y, kind=kind)
    grid = np.linspace(-2, 2, 9, dtype=np.float32)[:, None]
    np.testing.assert_allclose(probabilities(fitted, grid)[:, 1], expit(2 * grid[:, 0]), atol=0.05)


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_features_without_information_give_the_class_frequencies(kind):
    y = np.repeat([0, 1], [30, 10])
    fitted = fit(np.ones((40, 6), np.float32), y, kind=kind)
    np.testing.assert_allclose(probabilities(fitted, np.ones((1, 6), np.float32))[0], [0.75, 0.25], atol=0.02)


@given(scale=st.floats(0.01, 100), shift=st.floats(-10, 10), kind=st.sampled_from(["logistic", "svm"]))
@settings(max_examples=15, deadline=None)
def test_units_of_the_features_do_not_matter(scale, shift, kind):
    features, y = blobs([20, 15], spread=2.0)
    changed = (features * np.float32(scale) + np.float32(shift * scale)).astype(np.float32)
    before, after = fit(features, y, kind=kind), fit(changed, y, kind=kind)
    assert after.chosen["C"] == before.chosen["C"]
    np.testing.assert_allclose(probabilities(after, changed), probabilities(before, features), atol=0.01)


@pytest.mark.parametrize("kind", ["logistic", "svm"])
def test_same_seed_same_head(kind):
    features, y = blobs([30, 30, 10], spread=2.0)
    first, second = fit(features, y, kind=kind, seed=3), fit(features, y, kind=kind, seed=3)
    assert np.array_equal(first.head.weight, second.head.weight)
    assert np.array_equal(first.oof_logits, second.oof_logits)
    assert first.chosen == second.chosen


def test_vector_scaling_finds_the_slopes_and_offsets_that_made_the_labels():
    rng = np.random.default_rng(0)
    scores, slope, offset = rng.normal(size=(20_000, 3)), np.array([2.0, 1.0, 0.5]), np.array([0.5, 0, -0.5])
    noise = rng.gumbel(size=scores.shape)
    y = (scores * slope + offset + noise).argmax(axis=1)
    found_slope, found_offset = vector_scaling(scores, y, np.ones(len(y)))
    np.testing.assert_allclose(found_slope, slope, atol=0.1)
    np.testing.assert_allclose(found_offset - found_offset.mean(), offset, atol=0.1)


def test_vector_scaling_never_turns_scores_round_nor_trusts_them_without_end():
    y = np.array([0, 0, 0, 1, 1, 1])
    separable = np.where(np.eye(2)[y] == 1, 1.0, -1.0)
    slope, _ = vector_scaling(separable, y, np.ones(6))
    assert 0 < slope.max() < 10
    slope, _ = vector_scaling(-separable, y, np.ones(6))
    assert slope.tolist() == [0, 0]
