"""Trials: a classifier learned on one partition and tested on images it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.folds import summarise_folds
from tellapart.progress import SILENT, Progress
from tellapart.records import Predictions
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import Choices, Fitted, Learner, predictions
from tellapart.training.frozen import FrozenLearner
from tellapart.training.partition import Partition, union


@dataclass(frozen=True, eq=False)
class Trial:
    """One partition, what was chosen in it, and what its classifier says about the test images.

    The classifier itself is let go: the networks of a k-fold together may not fit into a GPU's memory.

    Attributes
    ----------
    predictions, uncalibrated
        With the temperature, and without it.
    """

    partition: Partition
    choices: Choices
    predictions: Predictions
    uncalibrated: Predictions

    @classmethod
    def of(cls, one: Partition, fitted: Fitted) -> "Trial | None":
        """Test a classifier; None where the partition has no test images."""
        if one.test is None:
            return None
        logits, choices = fitted.logits(one.test), fitted.choices
        said = (predictions(logits, one.test, temperature) for temperature in (choices.temperature, 1.0))
        return cls(one, choices, *said)


@dataclass(frozen=True, eq=False)
class Outcome:
    """All trials of a run, and the classifier that the run delivers.

    Attributes
    ----------
    fitted
        Trained on the training part; after a k-fold, on all images.
    trials
        One per fold; one for a held-out test set; none where the data named no test set.
    """

    fitted: Fitted
    trials: Sequence[Trial]

    def evaluation(self, *, calibrated: bool = True) -> Evaluation | None:
        """Return the test over all trials pooled."""
        return pooled_test(self.trials, calibrated=calibrated) if self.trials else None

    def fold_summary(self) -> dict[str, dict[str, float | list[float]]]:
        """Return mean, spread and values over the folds; empty without folds."""
        if len(self.trials) < 2:
            return {}
        return summarise_folds([pooled_test([trial]) for trial in self.trials])


def pooled_test(trials: Sequence[Trial], *, calibrated: bool = True) -> Evaluation:
    """Return the test over trials pooled; the threshold is the mean of theirs."""
    parts = [trial.predictions if calibrated else trial.uncalibrated for trial in trials]
    thresholds = [trial.choices.threshold for trial in trials if trial.choices.threshold]
    if len(thresholds) < 2:
        return Evaluation(pooled(parts), threshold=next(iter(thresholds), None))
    mean = float(np.mean([threshold.value for threshold in thresholds]))
    rule = f"{thresholds[0].rule}, mean of the folds"
    return Evaluation(pooled(parts), threshold=replace(thresholds[0], value=mean, rule=rule))


def learn_and_test(
    learner: Learner, partitions: Sequence[Partition], used: Dataset, config: TrainConfig
) -> Outcome:
    """Run every partition's trial, and the final training after a k-fold."""
    k_fold = len(partitions) > 1
    trials = []
    for number, one in enumerate(partitions, start=1):
        fitted = learner.learn(one.train, one.val, f"fold-{number}" if k_fold else "")
        trials.append(Trial.of(one, fitted))
    if k_fold:
        train, val = used.split(config.val_size, seed=config.seed) if learner.needs_val else (used, None)
        fitted = learner.learn(train, val, "")
    return Outcome(fitted, [trial for trial in trials if trial])


def baselines(
    mode: str,
    trials: Sequence[Trial],
    config: TrainConfig,
    resize: Resize,
    progress: Progress = SILENT,
) -> dict[str, dict[str, Estimate]]:
    """Return the headline figures of simple rivals on the same test images.

    Always the training set's class shares; after fine-tuning also a linear head on frozen features.
    """
    rivals = {"majority class": [_class_shares(trial) for trial in trials]}
    if mode == "finetune":
        rivals["frozen features + logistic head"] = _frozen_trials(trials, config, resize, progress)
    return {name: pooled_test(rival).headline for name, rival in rivals.items()}


def _class_shares(trial: Trial) -> Trial:
    """Return the trial of a classifier that always answers with the training set's class shares."""
    counts = np.bincount(trial.partition.train.targets, minlength=len(trial.predictions.class_names))
    shares = np.tile(counts / counts.sum(), (len(trial.predictions), 1))
    threshold = trial.choices.threshold and replace(trial.choices.threshold, value=0.5)
    choices = replace(trial.choices, threshold=threshold)
    return replace(trial, choices=choices, predictions=replace(trial.predictions, y_prob=shares))


def _frozen_trials(
    trials: Sequence[Trial], config: TrainConfig, resize: Resize, progress: Progress
) -> list[Trial]:
    """Return the trials of a head on frozen features, learned from training and validation images."""
    config = replace(config, mode="features", head="logistic")
    learner = FrozenLearner(config, resize, progress, will_export=False)
    # The images of one trial are all that there are: those of a k-fold hold the same ones.
    learner.prepare(union(*trials[0].partition.parts.values()))
    rivals = []
    for number, trial in enumerate(trials, start=1):
        one = trial.partition
        train = one.train if one.val is None else union(one.train, one.val)
        rivals.append(Trial.of(one, learner.learn(train, None, f"fold-{number}")))
    return [rival for rival in rivals if rival]


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several disjoint sets as one."""
    # A part in which no image has a group may stand beside parts that have groups.
    groups = [part.groups or tuple(f"={sample_id}" for sample_id in part.sample_ids) for part in parts]
    return Predictions(
        sample_ids=tuple(i for part in parts for i in part.sample_ids),
        y_true=np.concatenate([part.y_true for part in parts]),
        y_prob=np.concatenate([part.y_prob for part in parts]),
        class_names=parts[0].class_names,
        groups=tuple(g for group in groups for g in group) if any(part.groups for part in parts) else None,
    )
