"""Accuracy on small photographs of tableware: 41 to learn from, 22 to test on, five splits.

    python benchmarks/accuracy_recycling.py DATA [--all] [--finetune]

Every row is the mean over seeds 0 to 4, which deal the images anew; all rows see the same five splits.
`--all` tries both heads, both ways of making an image square and three networks; `--finetune` trains the
whole network with default settings on the same splits.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from measure import machine_line, table

import tellapart as ta
from tellapart.training.config import DEFAULT_BACKBONE

SEEDS = range(5)
TEST_SIZE = 0.349

BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
FITS = ("squash", "crop")
HEADS = ("logistic", "svm")

HEADER = ("backbone", "fit", "trained", "mean accuracy", "lowest", "by seed", "train/test", "seconds each")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder per class, or a manifest")
    parser.add_argument("--all", action="store_true", help="three networks, both fits, both heads")
    parser.add_argument("--finetune", action="store_true", help="also fine-tune, on the same splits")
    options = parser.parse_args()
    print(machine_line("torch", "onnxruntime", "scikit-learn"), end="\n\n")

    settings: list[dict[str, Any]] = [{"mode": "features", "backbone": DEFAULT_BACKBONE}]
    if options.all:
        settings = [
            {"mode": "features", "backbone": backbone, "fit": fit, "head": head}
            for backbone, fit, head in itertools.product(BACKBONES, FITS, HEADS)
        ]
    if options.finetune:
        settings.append({"mode": "finetune", "backbone": DEFAULT_BACKBONE})
    dataset = ta.Dataset.load(options.data)
    print(table(HEADER, (row(dataset, given) for given in settings)))


def row(dataset: ta.Dataset, given: dict[str, Any]) -> list[str]:
    """Train and test once per seed."""
    accuracies, sizes = [], set()
    config = ta.TrainConfig(test_size=TEST_SIZE, **given)
    started = time.perf_counter()
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(prefix="tellapart-") as folder:
            run = ta.train(dataset, ta.TrainConfig(test_size=TEST_SIZE, seed=seed, **given), folder)
        assert run.evaluation is not None
        n_test = len(run.evaluation.predictions)
        accuracies.append(run.evaluation.point_values()["accuracy"])
        sizes.add(f"{len(run.dataset) - n_test}/{n_test}")
    return [
        config.backbone,
        config.fit,
        f"features, {config.head}" if config.mode == "features" else "finetune",
        f"{statistics.mean(accuracies):.4f}",
        f"{min(accuracies):.4f}",
        " ".join(f"{accuracy:.3f}" for accuracy in accuracies),
        ", ".join(sorted(sizes)),
        f"{(time.perf_counter() - started) / len(SEEDS):.1f}",
    ]


if __name__ == "__main__":
    main()
