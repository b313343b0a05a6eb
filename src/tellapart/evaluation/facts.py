"""What a report tells beyond the predictions: where the images came from and how the model was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tellapart.records import Skipped


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
        Of a cross-validation, as `tellapart.evaluation.evaluation.summarise_folds` returns it.
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
