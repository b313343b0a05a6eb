"""Skin lesions: seven classes, and malignant against benign; no lesion on both sides of a split.

    python benchmarks/accuracy_ham10000.py MANIFEST [--finetune]

Each head, balanced or not, is trained on the seven classes and on two. The malignant AUC of seven classes
is that of their probabilities, summed. 80/20 rows: mean (standard deviation) over the seeds; fold rows: all
out-of-fold predictions pooled, one seed. With two classes, accuracies are those at the threshold that was
chosen out of fold. Splits and heads are those of `tellapart train --group-by lesion_id --seed S`.
"""

import argparse
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import machine_line, table
from sklearn.metrics import roc_auc_score

import tellapart as ta
from tellapart.data.images import Resize
from tellapart.training.backbones import find_backbone, resolve_image_size
from tellapart.training.config import DEFAULT_BACKBONE, TrainConfig
from tellapart.training.frozen import FrozenLearner
from tellapart.training.partition import folds, partition
from tellapart.training.trial import learn_and_test

CLASSES = {"malignant": ("mel", "bcc", "akiec"), "benign": ("nv", "bkl", "df", "vasc")}
MALIGNANT = {"malignant", *CLASSES["malignant"]}

MEASURED = ("accuracy", "balanced accuracy", "macro AUC", "malignant AUC")
HEADER = ("test", "classes", "trained", "balance", *MEASURED)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("manifest", type=Path, help="with the columns path, label, lesion_id")
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--finetune", action="store_true", help="fine-tune instead; hours without a GPU")
    options = parser.parse_args()
    print(machine_line("onnxruntime", "scikit-learn", "torch"), end="\n\n")
    dataset = ta.Dataset.from_manifest(options.manifest).grouped_by("lesion_id")
    config = TrainConfig(mode="features", backbone=options.backbone)
    rows = (
        finetuned(dataset, config, options.seeds) if options.finetune else features(dataset, config, options)
    )
    print(table(HEADER, rows))


def features(dataset: ta.Dataset, config: TrainConfig, options: argparse.Namespace) -> list[list[str]]:
    """Return the rows of heads on frozen features, which are computed once for all."""
    learner = FrozenLearner(
        config, Resize(resolve_image_size(find_backbone(config.backbone), None), config.fit)
    )
    seven = learner.prepare(dataset)
    rows = []
    for used, head, balance in itertools.product(
        (seven, seven.merged(CLASSES)), ("logistic", "svm"), (False, True)
    ):
        settings = replace(config, head=head, balance=balance)
        held_out = [replace(settings, seed=seed) for seed in range(options.seeds)]
        figures = [tested(learner, used, one) for one in held_out]
        crossed = tested(learner, used, replace(settings, folds=options.folds))
        rows.append([f"80/20, {options.seeds} seeds", *described(used, settings), *summary(figures)])
        rows.append([f"{options.folds} folds", *described(used, settings), *summary([crossed])])
    return rows


def tested(learner: FrozenLearner, used: ta.Dataset, config: TrainConfig) -> list[float]:
    """Train and test as `tellapart train` does, but write nothing."""
    learner.config = config
    partitions = (
        folds(used, config, needs_val=False) if config.folds else [partition(used, config, needs_val=False)]
    )
    evaluation = learn_and_test(learner, partitions, used, config).evaluation()
    assert evaluation is not None
    return figures_of(evaluation)


def finetuned(dataset: ta.Dataset, config: TrainConfig, n_seeds: int) -> list[list[str]]:
    """Return the rows of whole networks, fine-tuned with default settings on the same 80/20 splits."""
    rows = []
    for used, balance in itertools.product((dataset, dataset.merged(CLASSES)), (False, True)):
        figures = []
        for seed in range(n_seeds):
            settings = replace(config, mode="finetune", balance=balance, seed=seed)
            with tempfile.TemporaryDirectory(prefix="tellapart-") as folder:
                run = ta.train(used, settings, folder)
            assert run.evaluation is not None
            figures.append(figures_of(run.evaluation))
        rows.append([f"80/20, {n_seeds} seeds", *described(used, settings), *summary(figures)])
    return rows


def described(used: ta.Dataset, config: TrainConfig) -> list[str]:
    """Return the cells that say what was trained."""
    trained = f"features, {config.head}" if config.mode == "features" else "finetune"
    return [str(len(used.class_names)), trained, "yes" if config.balance else "no"]


def figures_of(evaluation: ta.Evaluation) -> list[float]:
    """Return the figures that `MEASURED` names."""
    points, predictions = evaluation.point_values(), evaluation.predictions
    columns = [i for i, name in enumerate(predictions.class_names) if name in MALIGNANT]
    score = predictions.y_prob[:, columns].sum(axis=1)
    auc = roc_auc_score(np.isin(predictions.y_true, columns), score)
    return [points["accuracy"], points["balanced_accuracy"], points["roc_auc_macro"], float(auc)]


def summary(figures: Sequence[Sequence[float]]) -> list[str]:
    """Return each figure's mean, with the standard deviation where there are several."""
    values = np.array(figures)
    if len(values) == 1:
        return [f"{value:.3f}" for value in values[0]]
    deviations = values.std(axis=0, ddof=1)
    return [f"{mean:.3f} ({sd:.3f})" for mean, sd in zip(values.mean(axis=0), deviations, strict=True)]


if __name__ == "__main__":
    main()
