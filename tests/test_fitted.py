"""What is chosen on held-out images: temperature, threshold, and which class is positive."""

import numpy as np
import pytest
from scipy.special import softmax

from made_up import ids, made_up
from tellapart.errors import ConfigError
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import check_decision, choose, evenly, positive_class, predictions

TWO, THREE = ("benign", "malignant"), ("a", "b", "c")


def logits_of(malignant):
    """Two columns of logits whose difference is the second's."""
    return np.stack([np.zeros(len(malignant)), np.asarray(malignant, float)], axis=1)


def overlapping():
    """40 images of two classes whose scores overlap."""
    rng = np.random.default_rng(0)
    dataset = made_up("b" * 20 + "m" * 20)
    return dataset, logits_of(np.concatenate([rng.normal(-1, 1.5, 20), rng.normal(1, 1.5, 20)]))


@pytest.mark.parametrize("positive", ["b", "m"])
def test_the_threshold_reaches_the_sensitivity_that_was_asked_for(positive):
    dataset, logits = overlapping()
    config = TrainConfig(positive=positive, target_sensitivity=0.9)
    choices = choose(logits, dataset, config, "out-of-fold")
    column = dataset.class_names.index(positive)
    called = softmax(logits / choices.temperature, axis=1)[:, column] >= choices.threshold.value
    assert called[dataset.targets == column].mean() >= 0.9
    assert called[dataset.targets != column].mean() < 0.9
    assert (choices.threshold.positive, choices.threshold.chosen_on) == (positive, "out-of-fold")
    assert choices.threshold.rule == "sensitivity of at least 0.9"


def test_the_temperature_undoes_overconfidence():
    dataset, logits = overlapping()
    once = choose(logits, dataset, TrainConfig(), "validation")
    tenfold = choose(10 * logits, dataset, TrainConfig(), "validation")
    assert tenfold.temperature == pytest.approx(10 * once.temperature, rel=0.02)
    assert tenfold.threshold.value == pytest.approx(once.threshold.value, abs=0.01)
    assert once.threshold.rule == "Youden's index"


def test_more_than_two_classes_have_no_threshold():
    dataset = made_up("aabbcc")
    choices = choose(np.eye(3)[dataset.targets], dataset, TrainConfig(), "validation")
    assert choices.threshold is None
    assert choices.temperature > 0


def test_probabilities_are_the_softmax_of_tempered_logits():
    dataset = made_up("ab", groups=["p", None])
    said = predictions(logits_of([2 * np.log(3), 0]), dataset, 2.0)
    np.testing.assert_allclose(said.y_prob, [[1 / 4, 3 / 4], [1 / 2, 1 / 2]])
    assert said.sample_ids == ("a/000", "b/001")
    assert said.y_true.tolist() == [0, 1]
    assert said.groups == ("p", "=b/001")
    assert predictions(logits_of([0, 0]), made_up("ab"), 1.0).groups is None


@pytest.mark.parametrize(
    ("n", "expected"), [(1, [0]), (2, [0, 9]), (4, [0, 3, 6, 9]), (10, range(10)), (99, range(10))]
)
def test_evenly_spread_images_reach_from_first_to_last(n, expected):
    dataset = made_up("aaaaabbbbb")
    assert ids(evenly(dataset, n)) == [dataset.samples[i].id for i in expected]


def test_the_last_class_is_positive_unless_another_is_named():
    assert positive_class(TWO, TrainConfig()) == "malignant"
    assert positive_class(TWO, TrainConfig(positive="benign")) == "benign"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (TWO, {"positive": "sick"}, "positive is 'sick'; the classes are benign, malignant"),
        (TWO, {"target_sensitivity": 95}, "target_sensitivity is 95; it must be above 0, at most 1"),
        (THREE, {"positive": "a"}, "for two classes, and there are 3: a, b, c; join classes with --merge"),
        (THREE, {"target_sensitivity": 0.9}, "for two classes, and there are 3"),
    ],
)
def test_a_decision_that_cannot_be_made_is_told_before_training(names, options, message):
    with pytest.raises(ConfigError, match=message):
        check_decision(names, TrainConfig(**options))


@pytest.mark.parametrize("names", [TWO, THREE])
def test_the_defaults_suit_any_number_of_classes(names):
    check_decision(names, TrainConfig())
