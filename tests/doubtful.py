"""A finished run whose model is often in doubt, so that where the threshold lies makes a difference."""

import shutil
from pathlib import Path

import numpy as np

from tellapart.bundle import Bundle
from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.facts import RunFacts
from tellapart.evaluation.tables import read_predictions, write_predictions
from tellapart.records import Predictions, decide


def doubtful_run(trained: Path, folder: Path, *, seed: int = 0) -> Path:
    """Copy a run to `folder`, and let its validation and test predictions overlap."""
    shutil.copytree(trained, folder)
    rng = np.random.default_rng(seed)
    threshold = Bundle.load(folder).card.threshold
    validation = blurred(read_predictions(folder / "validation.csv"), rng)
    y_pred = decide(validation.y_prob, validation.class_names, threshold)
    write_predictions(folder / "validation.csv", validation, y_pred)
    test = blurred(read_predictions(folder / "evaluation" / "predictions.csv"), rng)
    facts = RunFacts.from_json((folder / "facts.json").read_text(encoding="utf-8"))
    Evaluation(test, threshold, n_bootstrap=50).save(folder / "evaluation", facts)
    return folder


def blurred(said: Predictions, rng: np.random.Generator) -> Predictions:
    """The same images with other probabilities: right more often than not."""
    score = np.clip(rng.normal(0.35 + 0.3 * said.y_true, 0.2), 0.001, 0.999)
    return Predictions(
        said.sample_ids, said.y_true, np.stack([1 - score, score], axis=1), said.class_names, said.groups
    )
