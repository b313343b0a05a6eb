"""Trials: a classifier learned on one partition and tested on images it never saw."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.evaluation import Evaluation, summarise_folds
from tellapart.progress import SILENT, Progress
from tellapart.records import Predictions, Threshold
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import Fitted, Learner, predictions
from tellapart.training.frozen import FrozenLearner
from tellapart.training.partition import Partition


@dataclass(frozen=True, eq=False)
class Trial:
    """One partition's classifier and what it says about the partition's test images."""

    partition: Partition
    fitted: Fitted
    predictions: Predictions
    uncalibrated: Predictions

    @property
    def evaluation(self) -> Evaluation:
        """The test of this partition alone."""
        return Evaluation(self.predictions, threshold=self.fitted.choices.threshold)


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

    @property
    def threshold(self) -> Threshold | None:
        """The deciding threshold; the folds' mean after a k-fold."""
        thresholds = [t.fitted.choices.threshold for t in self.trials]
        if len(thresholds) < 2 or thresholds[0] is None:
            return self.fitted.choices.threshold
        mean = float(np.mean([threshold.value for threshold in thresholds if threshold]))
        return replace(thresholds[0], value=mean, rule=f"{thresholds[0].rule}, mean of the folds")

    def evaluation(self, *, calibrated: bool = True) -> Evaluation | None:
        """Return the test over all trials pooled."""
        if not self.trials:
            return None
        parts = [t.predictions if calibrated else t.uncalibrated for t in self.trials]
        return Evaluation(pooled(parts), threshold=self.threshold)

    def fold_summary(self) -> dict[str, dict[str, float | list[float]]]:
        """Return mean, spread and values over the folds; empty without folds."""
        if len(self.trials) < 2:
            return {}
        return summarise_folds([trial.evaluation for trial in self.trials])


def learn_and_test(
    learner: Learner, partitions: Sequence[Partition], used: Dataset, config: TrainConfig
) -> Outcome:
    """Run every partition's trial, and the final training after a k-fold."""
    k_fold = len(partitions) > 1
    trials = []
    for number, one in enumerate(partitions, start=1):
        fitted = learner.learn(one.train, one.val, f"fold-{number}" if k_fold else "")
        if one.test is not None:
            plain = predictions(fitted, one.test, calibrated=False)
            trials.append(Trial(one, fitted, predictions(fitted, one.test), plain))
    if k_fold:
        train, val = used.split(config.val_size, seed=config.seed) if learner.needs_val else (used, None)
        fitted = learner.learn(train, val, "")
    return Outcome(fitted, trials)


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
    rivals = {"majority class": pooled([_class_shares(trial) for trial in trials])}
    if mode == "finetune":
        frozen = FrozenLearner(replace(config, mode="features"), resize, progress)
        whole = _joined(trials)
        frozen.prepare(whole)
        tests = []
        for number, trial in enumerate(trials):
            one = trial.partition
            train = one.train if one.val is None else _union(one.train, one.val)
            assert one.test is not None
            tests.append(predictions(frozen.learn(train, None, f"{number}"), one.test))
        rivals["frozen features + logistic head"] = pooled(tests)
    return {name: Evaluation(rival).headline for name, rival in rivals.items()}


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several disjoint sets as one."""
    groups = [part.groups for part in parts]
    return Predictions(
        sample_ids=tuple(i for part in parts for i in part.sample_ids),
        y_true=np.concatenate([part.y_true for part in parts]),
        y_prob=np.concatenate([part.y_prob for part in parts]),
        class_names=parts[0].class_names,
        groups=None if None in groups else tuple(g for group in groups for g in group or ()),
    )


def _class_shares(trial: Trial) -> Predictions:
    counts = np.bincount(trial.partition.train.targets, minlength=len(trial.predictions.class_names))
    shares = np.tile(counts / counts.sum(), (len(trial.predictions), 1))
    return replace(trial.predictions, y_prob=shares)


def _union(*parts: Dataset) -> Dataset:
    samples = sorted((sample for part in parts for sample in part.samples), key=lambda sample: sample.id)
    return replace(parts[0], samples=tuple(samples))


def _joined(trials: Sequence[Trial]) -> Dataset:
    """Return every image of the first trial: a k-fold's trials all hold the same ones."""
    return _union(*trials[0].partition.parts.values())
