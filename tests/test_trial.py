"""Trials on made-up images: what is pooled over folds, and what the simple rivals are measured with."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from made_up import ids, made_up
from tellapart.data.images import Resize
from tellapart.records import Predictions, Threshold
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import Choices
from tellapart.training.partition import Partition, folds, partition
from tellapart.training.trial import Trial, baselines, learn_and_test, pooled, pooled_test


@dataclass
class Oracle:
    """Is right about every image, and notes which it was asked about."""

    choices: Choices
    asked: list[list[str]] = field(default_factory=list)
    history: tuple = ()
    details: dict = field(default_factory=dict)

    def logits(self, dataset):
        self.asked.append(ids(dataset))
        return 4.0 * np.eye(len(dataset.class_names))[dataset.targets]


@dataclass
class Teacher:
    """A learner that notes what it was given; the first call chooses the threshold 0.3, the next 0.4 …"""

    needs_val: bool = False
    calls: list[tuple[list[str], list[str], str]] = field(default_factory=list)
    fitted: list[Oracle] = field(default_factory=list)

    def learn(self, train, val, name):
        self.calls.append((ids(train), ids(val), name))
        two = len(train.class_names) == 2
        value = (2 + len(self.calls)) / 10
        threshold = Threshold(value, train.class_names[-1], "validation", "Youden's index") if two else None
        self.fitted.append(Oracle(Choices(2.0, threshold, "validation")))
        return self.fitted[-1]


def test_one_partition_is_one_trial_and_its_test_images_are_asked_once():
    dataset, config = made_up("a" * 10 + "b" * 10), TrainConfig()
    one, learner = partition(dataset, config, needs_val=False), Teacher()
    outcome = learn_and_test(learner, [one], dataset, config)
    assert learner.calls == [(ids(one.train), [], "")]
    assert learner.fitted[0].asked == [ids(one.test)]
    assert outcome.fitted is learner.fitted[0]
    assert outcome.evaluation().threshold.value == 0.3
    assert outcome.fold_summary() == {}


def test_probabilities_with_and_without_the_temperature():
    dataset = made_up("ab")
    trial = Trial.of(Partition(dataset, None, dataset), Oracle(Choices(2.0, None, "validation")))
    np.testing.assert_allclose(trial.predictions.y_prob[0, 0], 1 / (1 + np.exp(-4 / 2)))
    np.testing.assert_allclose(trial.uncalibrated.y_prob[0, 0], 1 / (1 + np.exp(-4)))
    before, after = (pooled_test([trial], calibrated=calibrated) for calibrated in (False, True))
    assert before.log_loss < after.log_loss


def test_without_test_images_there_is_a_classifier_and_no_evaluation():
    dataset = made_up("aabb", splits=["train"] * 4)
    outcome = learn_and_test(Teacher(), [Partition(dataset, None, None)], dataset, TrainConfig())
    assert outcome.trials == []
    assert outcome.evaluation() is None
    assert outcome.fitted.choices.temperature == 2.0


@pytest.mark.parametrize("needs_val", [False, True])
def test_a_k_fold_ends_with_a_training_on_everything(needs_val):
    dataset, config = made_up("a" * 12 + "b" * 9), TrainConfig(folds=3, val_size=0.2)
    learner = Teacher(needs_val)
    outcome = learn_and_test(learner, folds(dataset, config, needs_val=needs_val), dataset, config)
    assert [name for _, _, name in learner.calls] == ["fold-1", "fold-2", "fold-3", ""]
    train, val, _ = learner.calls[-1]
    assert sorted(train + val) == ids(dataset)
    assert bool(val) == needs_val
    assert learner.fitted[-1].asked == []  # no image is left that it could be tested on
    evaluation = outcome.evaluation()
    assert sorted(evaluation.predictions.sample_ids) == ids(dataset)
    assert evaluation.threshold.value == pytest.approx(0.4)
    assert evaluation.threshold.rule == "Youden's index, mean of the folds"
    assert outcome.fold_summary()["accuracy"]["values"] == [1.0, 1.0, 1.0]


def test_groups_are_pooled_even_where_a_fold_has_none():
    y_prob = np.array([[0.5, 0.5]])
    with_groups = Predictions(("x",), np.array([0]), y_prob, ("a", "b"), groups=("patient 1",))
    without = Predictions(("y",), np.array([1]), y_prob, ("a", "b"))
    assert pooled([with_groups, without]).groups == ("patient 1", "=y")
    assert pooled([without, without]).groups is None


@pytest.mark.parametrize("positive", ["a", "b"])
def test_the_majority_is_measured_against_the_same_positive_class(positive):
    train, test = made_up("aaab"), made_up("aabbb")
    choices = Choices(1.0, Threshold(0.9, positive, "validation", "Youden's index"), "validation")
    trial = Trial.of(Partition(train, None, test), Oracle(choices))
    rivals = baselines("features", [trial], TrainConfig(), Resize(32))
    assert set(rivals) == {"majority class"}
    figures = rivals["majority class"]
    assert figures["accuracy"] == pytest.approx(2 / 5)  # everything is called a
    assert figures["sensitivity"] == (1.0 if positive == "a" else 0.0)
    assert figures["roc_auc_macro"] == pytest.approx(0.5)
    assert figures["log_loss"] == pytest.approx(-(2 * np.log(3 / 4) + 3 * np.log(1 / 4)) / 5)


def test_three_classes_need_no_threshold():
    dataset, config = made_up("aaaabbbbcccc"), TrainConfig(folds=2)
    outcome = learn_and_test(Teacher(), folds(dataset, config, needs_val=False), dataset, config)
    assert outcome.evaluation().threshold is None
    rivals = baselines("features", outcome.trials, config, Resize(32))
    assert rivals["majority class"]["balanced_accuracy"] == pytest.approx(1 / 3)
