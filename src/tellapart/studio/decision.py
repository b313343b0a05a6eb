"""The decision of a finished run: choosing its threshold anew, in every file that tells of it."""

import json
import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from tellapart.bundle import SPLIT_FILE, VALIDATION_FILE, Bundle
from tellapart.errors import ConfigError, DataError
from tellapart.records import Predictions, Threshold, decide
from tellapart.studio.operation import Json
from tellapart.studio.shelf import StoredRun, read_split

if TYPE_CHECKING:
    from tellapart.evaluation.evaluation import Evaluation
    from tellapart.evaluation.facts import RunFacts

LOG_FILE = "threshold.jsonl"
"""In a run folder: one line per choice, oldest first. With each, the test set was looked at once more."""

_writing = Lock()

Pictures = Callable[[str], bytes | None]
"""From a sample's id to the bytes of a small JPEG for the report."""


def choices(folder: Path) -> list[Json]:
    """Return what was chosen for a run since its training, oldest first.

    Raises
    ------
    DataError
        If the record was changed by hand.
    """
    path = folder / LOG_FILE
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except ValueError as exc:
        raise DataError(f"{path} is damaged: {exc}") from exc


def choose_anew(run: StoredRun, threshold: Threshold, pictures: Pictures, *, instead_of: float) -> Json:
    """Give a run's model a threshold, and look at what the test set says of it.

    The choice is on record before the test set is looked at. Then the figures, the predictions and the
    report are written anew, and last of all the bundle, so that no service decides by a threshold of which
    the run does not tell.

    Parameters
    ----------
    threshold
        With who chose it, why and when.
    pictures
        For the report.
    instead_of
        The value that the chooser saw in use.

    Returns
    -------
    dict
        What `tested` says of it; empty for a run without a test set.

    Raises
    ------
    ConfigError
        If somebody else has changed the threshold meanwhile.
    DataError
        If a file of the run is missing or damaged.
    """
    from tellapart.evaluation.tables import write_predictions

    with _writing:
        bundle = Bundle.load(run.folder)
        before = bundle.card.threshold
        if before is None or before.value != instead_of:
            raise ConfigError(
                "the threshold was changed meanwhile, by somebody else or in another window; look again"
            )
        evaluation, facts = _evaluated(run, threshold), _facts(run)
        _note(run.folder, threshold, before.value)
        if evaluation is not None:
            if facts is not None and facts.folds:
                facts = replace(facts, folds=_folds(run.folder, evaluation))
            evaluation.save(run.folder / "evaluation", facts, pictures)
        if run.validation is not None:
            y_pred = decide(run.validation.y_prob, run.validation.class_names, threshold)
            write_predictions(run.folder / VALIDATION_FILE, run.validation, y_pred)
        _write_card(bundle, threshold, evaluation)
    return tested(evaluation) if evaluation is not None else {}


def tested(evaluation: "Evaluation") -> Json:
    """Return what a test says at its threshold: counts, figures, and with a band those of the rest."""
    from tellapart.evaluation.operating_points import SHARES

    names, matrix = evaluation.predictions.class_names, evaluation.confusion_matrix
    assert evaluation.threshold is not None
    positive = names.index(evaluation.threshold.positive)
    return {
        "n": len(evaluation.predictions),
        "tp": int(matrix[positive, positive]),
        "fn": int(matrix[positive, 1 - positive]),
        "fp": int(matrix[1 - positive, positive]),
        "tn": int(matrix[1 - positive, 1 - positive]),
        "figures": {name: evaluation.headline[name].to_dict() for name in SHARES},
        "referral": {name: estimate.to_dict() for name, estimate in evaluation.referral.items()},
    }


def _evaluated(run: StoredRun, threshold: Threshold) -> "Evaluation | None":
    from tellapart.evaluation.evaluation import Evaluation

    if run.predictions is None:
        return None
    stored = run.metrics or {}
    return Evaluation(run.predictions, threshold, stored.get("n_bootstrap", 1000), stored.get("seed", 0))


def _facts(run: StoredRun) -> "RunFacts | None":
    from tellapart.evaluation.facts import FACTS_FILE, RunFacts

    if run.predictions is None:
        return None
    path = run.folder / FACTS_FILE
    if not path.is_file():
        raise DataError(f"{path} is missing, so the report could not be written anew; train the run again")
    return RunFacts.from_json(path.read_text(encoding="utf-8"))


def _folds(folder: Path, evaluation: "Evaluation") -> dict[str, dict[str, Any]]:
    """Return the spread over the folds of a cross-validation, all of them at one threshold."""
    from tellapart.evaluation.folds import summarise_folds

    whole = evaluation.predictions
    row_of = {sample_id: row for row, sample_id in enumerate(whole.sample_ids)}
    rows: dict[str, list[int]] = defaultdict(list)
    for sample_id, (fold,) in read_split(folder / SPLIT_FILE, "fold").items():
        if sample_id in row_of:
            rows[fold].append(row_of[sample_id])
    parts = [_part(whole, np.array(rows[fold])) for fold in sorted(rows, key=int)]
    return summarise_folds([replace(evaluation, predictions=part) for part in parts])


def _part(whole: Predictions, rows: "np.ndarray[Any, Any]") -> Predictions:
    return replace(
        whole,
        sample_ids=tuple(whole.sample_ids[row] for row in rows),
        y_true=whole.y_true[rows],
        y_prob=whole.y_prob[rows],
        groups=None if whole.groups is None else tuple(whole.groups[row] for row in rows),
    )


def _note(folder: Path, threshold: Threshold, before: float) -> None:
    """Append the choice to the run's record; it is on the disk when this returns."""
    entry = {
        "at": threshold.at,
        "by": threshold.chosen_by,
        "why": threshold.why,
        "positive": threshold.positive,
        "value": threshold.value,
        "band": threshold.band,
        "rule": threshold.rule,
        "chosen_on": threshold.chosen_on,
        "before": before,
    }
    with (folder / LOG_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _write_card(bundle: Bundle, threshold: Threshold, evaluation: "Evaluation | None") -> None:
    from tellapart.training.model_card import render_model_card

    figures = {} if evaluation is None else evaluation.headline
    card = replace(
        bundle.card,
        threshold=threshold,
        figures={name: figure.to_dict() for name, figure in figures.items()},
    )
    bundle.described(card, readme=render_model_card(card))
