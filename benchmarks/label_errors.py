"""How many planted label errors `tellapart check` names, and how many of those it names are planted.

    python benchmarks/label_errors.py DATA [--share 0.05] [--seeds 5]

A share of the labels is exchanged for another class at random; features are those of the default network, and
probabilities out of fold, as in a check. "First" are as many images as were changed, the most suspicious ones
first; precision of these, and recall among twice as many. The data's own errors count against us. Where
`cleanlab` is installed, its ranking of the very same probabilities stands beside ours.
"""

import argparse
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from measure import machine_line, table
from numpy.typing import NDArray

from tellapart.audit.inspection import inspect
from tellapart.audit.labels import self_confidence, suspects
from tellapart.data.dataset import Dataset
from tellapart.training.evidence import FrozenEvidence


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    print(machine_line("scikit-learn", "numpy"), end="\n\n")
    evidence = FrozenEvidence()
    inspection = inspect(Dataset.load(options.data), evidence.network)
    assert inspection.features is not None
    data, features = inspection.dataset, inspection.features
    found = [plant(data, features, evidence, options.share, seed) for seed in range(options.seeds)]
    rows = []
    for name in found[0]:
        values = np.array([one[name] for one in found])
        shown = [
            f"{mean:.3f} ± {spread:.3f}" for mean, spread in zip(values.mean(0), values.std(0), strict=True)
        ]
        rows.append([name, *shown])
    n_changed = round(options.share * len(data))
    print(f"{len(data)} images, {n_changed} labels changed, {options.seeds} seeds: mean ± spread.\n")
    print(table(("ranking", "precision among the first", "recall among twice as many"), rows))


def plant(
    dataset: Dataset, features: NDArray[np.float32], evidence: FrozenEvidence, share: float, seed: int
) -> dict[str, tuple[float, float]]:
    """Change labels, rank all, and return precision and recall by ranking."""
    rng = np.random.default_rng(seed)
    n_classes = len(dataset.class_names)
    changed = rng.choice(len(dataset), round(share * len(dataset)), replace=False)
    y = dataset.targets.copy()
    y[changed] = (y[changed] + rng.integers(1, n_classes, len(changed))) % n_classes
    wrong = replace(
        dataset,
        samples=tuple(
            replace(sample, label=dataset.class_names[label])
            for sample, label in zip(dataset.samples, y, strict=True)
        ),
    )
    y_prob = evidence.out_of_fold(features, y, wrong.tied(), n_classes)
    first, _ = suspects(y, y_prob)
    rest = np.setdiff1d(np.arange(len(y)), first)
    ours = np.concatenate([first, rest[np.argsort(self_confidence(y, y_prob)[rest], kind="stable")]])
    rankings = {"tellapart": ours}
    if find_spec("cleanlab"):
        from cleanlab.rank import order_label_issues

        rankings["cleanlab, self-confidence"] = order_label_issues(
            np.ones(len(y), bool), y, y_prob, rank_by="self_confidence"
        )
        rankings["cleanlab, normalised margin"] = order_label_issues(
            np.ones(len(y), bool), y, y_prob, rank_by="normalized_margin"
        )
    return {name: judge(order, changed) for name, order in rankings.items()}


def judge(order: NDArray[np.int64], changed: NDArray[np.int64]) -> tuple[float, float]:
    """Return precision among the first as many as were changed, and recall among twice as many."""
    n = len(changed)
    return float(np.isin(order[:n], changed).mean()), float(np.isin(changed, order[: 2 * n]).mean())


if __name__ == "__main__":
    main()
