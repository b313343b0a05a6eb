"""What a report tells beyond the predictions: where the images came from and how the model was made."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tellapart.errors import DataError
from tellapart.evaluation.estimate import Estimate
from tellapart.records import Skipped

FACTS_FILE = "facts.json"
"""In a run folder: what its report tells beyond the predictions, for a report that is written anew."""


@dataclass(frozen=True)
class RunFacts:
    """The facts of a run that predictions alone cannot tell. Every field may stay empty.

    The report prints what is here and, in place of what is not, one line that says what to supply.

    Attributes
    ----------
    title
        The report's heading.
    intended_use
        What the model is for, on whom, in whose hands: one or two sentences.
    labelled_by
        The reference standard: who or what gave the labels.
    command
        The command line that made the run.
    data
        What is known of the images: source, dates, inclusion criteria, fingerprint.
    flow
        The images' way from received to used, as (box, count). A negative count is a loss to the side.
        Where the last boxes add up to the one before them, they are drawn as its branches.
    skipped
        The ledger of files that were found and not used.
    partitions
        One row per split; the same keys in each: split, images, groups, then one per class.
    disjoint_by
        What never straddles two splits, such as ``"lesion_id"`` or ``"file content"``.
    seed
        Seed of the split and of training.
    leakage
        Findings in words, such as identical files with different labels; empty after a clean scan.
    leakage_scanned
        Whether such a scan was run at all.
    check
        What a look at the images and their counts found, each with ``severity``, ``kind`` and ``message``,
        the gravest first; empty after a clean look.
    checked
        Whether anything looked at all.
    demographics
        Column (age, sex …) to split to value to number of images.
    history
        One mapping per epoch: ``epoch`` and any of ``learning_rate``, ``train_loss``, ``val_loss``,
        ``val_accuracy`` …
    settings, versions, hashes
        Printed as they are, in their order.
    baselines
        Baseline's name to its figures on the same test images, named as in `Evaluation.headline`.
    calibration_before
        ``ece``, ``log_loss`` and ``brier`` without temperature scaling, ``temperature``, and
        ``chosen_on``: the data on which the temperature was fitted.
    folds
        Of a cross-validation, as `tellapart.evaluation.folds.summarise_folds` returns it.
    weights_licence
        Licence of the pretrained weights.
    model_hash
        Hash of the model file.
    external_test
        Whether the test images come from another place or time than the training images.
    """

    title: str = ""
    intended_use: str = ""
    labelled_by: str = ""
    command: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    flow: Sequence[tuple[str, int]] = ()
    skipped: Sequence[Skipped] = ()
    partitions: Sequence[Mapping[str, int | str]] = ()
    disjoint_by: str = ""
    seed: int | None = None
    leakage: Sequence[str] = ()
    leakage_scanned: bool = False
    check: Sequence[Mapping[str, str]] = ()
    checked: bool = False
    demographics: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    history: Sequence[Mapping[str, float]] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    calibration_before: Mapping[str, float | str] = field(default_factory=dict)
    folds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights_licence: str = ""
    model_hash: str = ""
    external_test: bool = False

    def to_json(self) -> str:
        """Return the text of ``facts.json``."""
        values = asdict(self)
        values["baselines"] = {
            name: {key: _plain(figure) for key, figure in figures.items()}
            for name, figures in self.baselines.items()
        }
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "RunFacts":
        """Read what `to_json` wrote.

        Raises
        ------
        DataError
            If it is something else.
        """
        try:
            values = json.loads(text)
            values["flow"] = [(box, count) for box, count in values["flow"]]
            values["skipped"] = [Skipped(**entry) for entry in values["skipped"]]
            values["baselines"] = {
                name: {key: _estimate(figure) for key, figure in figures.items()}
                for name, figures in values["baselines"].items()
            }
            return cls(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise DataError(f"{FACTS_FILE} is damaged: {exc!r}") from exc


def _plain(figure: float) -> float | dict[str, Any]:
    # Not `Estimate.to_dict`, which has one None for what is not defined and what is infinite.
    if isinstance(figure, Estimate):
        return {"value": float(figure), "ci95": figure.ci95, "method": figure.method}
    return figure


def _estimate(stored: Any) -> float:
    return Estimate(**stored) if isinstance(stored, dict) else float(stored)
