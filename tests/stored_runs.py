"""Runs as they lie on disk, written without training: predictions of known images with known answers."""

import json
from pathlib import Path

import numpy as np

from tellapart.evaluation.evaluation import Evaluation
from tellapart.records import Predictions, Threshold


def predictions_of(answers, class_names=("benign", "malignant"), groups=None) -> Predictions:
    """From (id, true class, probability of the last class) per image; for two classes."""
    ids, labels, positive = zip(*answers, strict=True)
    y_true = np.array([class_names.index(label) for label in labels])
    y_prob = np.stack([1 - np.array(positive), np.array(positive)], axis=1)
    return Predictions(tuple(ids), y_true, y_prob, tuple(class_names), groups)


def write_run(
    folder: Path,
    predictions: Predictions,
    *,
    threshold: Threshold | None = None,
    root: Path = Path("photos"),
    **config,
) -> Path:
    """Write what `tellapart train` leaves of a run's evaluation, few bootstrap draws; return `folder`."""
    folder.mkdir(parents=True)
    Evaluation(predictions, threshold, n_bootstrap=50).save(folder / "evaluation")
    record = {
        "status": "done",
        "config": {"test_size": 0.2, "folds": None, "seed": 0, **config},
        "disjoint_by": "file content",
        "data": {"root": str(root), "n_samples": len(predictions)},
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder
