"""One training run from dataset to report: split, learn, evaluate, package, and write it all down."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tellapart.bundle import VALIDATION_FILE, Bundle
from tellapart.data.dataset import Dataset
from tellapart.data.files import write_atomically
from tellapart.data.images import Resize
from tellapart.errors import ConfigError
from tellapart.evaluation.evaluation import Evaluation
from tellapart.evaluation.facts import FACTS_FILE, RunFacts
from tellapart.evaluation.provenance import as_text
from tellapart.evaluation.tables import write_predictions
from tellapart.inference import Classifier
from tellapart.progress import SILENT, Progress
from tellapart.records import decide
from tellapart.training import account
from tellapart.training.backbones import find_backbone, resolve_image_size
from tellapart.training.config import TrainConfig
from tellapart.training.device import resolve_mode
from tellapart.training.fitted import Learner, check_decision
from tellapart.training.frozen import FrozenLearner
from tellapart.training.package import package, versions
from tellapart.training.partition import Partition, check_classes, deal, refuse_leaks, write_split
from tellapart.training.trial import Outcome, baselines, learn_and_test
from tellapart.training.tuned import TunedLearner

RECORD, CHECKPOINT = "run.json", "checkpoints/last.pt"

MIN_PER_CLASS = 3
"""Usable images of each class: one each to learn from, to choose on and to test with."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes
    ----------
    folder
        Holds run.json, split.csv, validation.csv, facts.json, model/ and evaluation/.
    evaluation
        On the held-out test set, or out of fold; None where the data named no test set.
    dataset
        What was used, with the ledger of what was not.
    details
        What the run chose: mode, best epoch or C, temperature, seconds.
    """

    folder: Path
    evaluation: Evaluation | None
    dataset: Dataset
    details: Mapping[str, Any]

    @property
    def model(self) -> Classifier:
        """The trained classifier, as exported."""
        return Classifier.load(self.folder)


@dataclass(frozen=True)
class Notes:
    """What only the user can tell the report.

    Attributes
    ----------
    command
        The command line that made the run.
    intended_use, labelled_by
        One or two sentences each.
    """

    command: str = ""
    intended_use: str = ""
    labelled_by: str = ""


def train(
    dataset: Dataset,
    config: TrainConfig | None = None,
    out: Path | str = "run",
    *,
    resume: bool = False,
    notes: Notes | None = None,
    progress: Progress = SILENT,
) -> Run:
    """Train, evaluate and package a classifier.

    Parameters
    ----------
    dataset
        Samples' own `split` is honoured where they have one; else a test set is held out.
    config
        Settings; the defaults suit small sets.
    out
        Folder of the run; it must not hold a finished one.
    resume
        Go on with a run that was interrupted.
    notes
        For the report.
    progress
        Is told how far the run is.

    Raises
    ------
    TellapartError
        Whatever is wrong, in one line; see `tellapart.errors`.
    """
    config, notes, folder = config or TrainConfig(), notes or Notes(), Path(out)
    _check_folder(folder, resume)
    started = time.perf_counter()
    dataset.check_trainable(MIN_PER_CLASS)
    check_decision(dataset.class_names, config)
    received = dataset.grouped_by(config.group_by) if config.group_by else dataset
    mode, why = resolve_mode(config)
    progress.say(f"mode {mode} ({why})")
    resize = _resize(config)
    learner: Learner = (
        FrozenLearner(config, resize, progress)
        if mode == "features"
        else TunedLearner(config, resize, folder, resume=resume, progress=progress)
    )
    used = learner.prepare(received)
    used.check_trainable(MIN_PER_CLASS)
    # Where nobody is to look, there are none: no later split looks either.
    used = used.with_near_duplicates(progress=progress) if config.near_duplicates else replace(used, near=())
    partitions = deal(used, config, needs_val=learner.needs_val)
    if not config.allow_leaks:
        refuse_leaks(used, partitions)
    check_classes(partitions, needs_val=learner.needs_val)
    for finding in account.findings(used, partitions, config):
        progress.say(f"note: {finding}")
    write_split(folder / "split.csv", partitions)
    outcome = learn_and_test(learner, partitions, used, config)
    evaluation = outcome.evaluation()
    bundle = package(
        outcome.fitted,
        folder / "model",
        config=config,
        resize=resize,
        train=used if config.folds else partitions[0].train,
        used=used,
        figures=evaluation.headline if evaluation else {},
        val=None if config.folds else partitions[0].val,
    )
    details = {
        "mode": mode,
        "why": why,
        "image_size": resize.size,
        **outcome.fitted.details,
        "temperature": outcome.fitted.choices.temperature,
        "chosen_on": outcome.fitted.choices.chosen_on,
        "disjoint_by": account.disjoint_by(used, config, partitions),
        "near_duplicates_found": account.near_method(used, config),
    }
    choices = outcome.fitted.choices
    if choices.seen is not None:
        y_pred = decide(choices.seen.y_prob, choices.seen.class_names, choices.threshold)
        write_predictions(folder / VALIDATION_FILE, choices.seen, y_pred)
    if evaluation:
        facts = _facts(received, used, partitions, config, notes, details, outcome, bundle)
        facts = replace(facts, check=account.check_rows(used, outcome.fitted, progress), checked=True)
        rivals = baselines(mode, outcome.trials, config, resize, progress)
        facts = replace(facts, baselines=rivals)
        evaluation.save(folder / "evaluation", facts=facts, images=used.thumbnail)
        write_atomically(folder / FACTS_FILE, facts.to_json().encode("utf-8", "backslashreplace"))
    details["seconds"] = round(time.perf_counter() - started, 1)
    record = account.run_record("done", notes.command, config, details, used)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    # A path that is not valid UTF-8 holds surrogates; escaped so, JSON reads them back.
    write_atomically(folder / RECORD, text.encode("utf-8", "backslashreplace"))
    return Run(folder, evaluation, used, details)


def _check_folder(folder: Path, resume: bool) -> None:
    """Raise rather than write over a finished run, or one that can go on."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; --out takes a folder")
    if (folder / RECORD).is_file():  # the last file that a run writes
        what = "there is nothing to resume" if resume else "it is not written over"
        raise ConfigError(f"{folder} holds a finished run, {what}; choose another --out")
    # Those of a k-fold lie in a folder per fold.
    if not resume and (any(folder.glob(CHECKPOINT)) or any(folder.glob(f"*/{CHECKPOINT}"))):
        raise ConfigError(f"{folder} holds an interrupted run; go on with --resume, or choose another --out")


def _resize(config: TrainConfig) -> Resize:
    spec = find_backbone(config.backbone)
    return Resize(resolve_image_size(spec, config.image_size), config.fit)


def _facts(
    received: Dataset,
    used: Dataset,
    partitions: Sequence[Partition],
    config: TrainConfig,
    notes: Notes,
    details: Mapping[str, Any],
    outcome: Outcome,
    bundle: Bundle,
) -> RunFacts:
    """Gather what the report tells besides figures."""
    before = outcome.evaluation(calibrated=False)
    values = before.point_values() if before else {}
    figures: dict[str, float | str] = {
        name: values[name] for name in ("ece", "log_loss", "brier") if name in values
    }
    choices = outcome.fitted.choices
    return RunFacts(
        title=f"{', '.join(used.class_names)}",
        intended_use=notes.intended_use,
        labelled_by=notes.labelled_by,
        command=notes.command,
        data=account.data_facts(used),
        flow=account.flow(received, used, partitions),
        skipped=used.ledger,
        partitions=account.partition_rows(partitions),
        disjoint_by=details["disjoint_by"],
        seed=config.seed,
        leakage=account.findings(used, partitions, config),
        leakage_scanned=True,
        demographics=account.demographics(partitions),
        history=outcome.fitted.history,
        settings=as_text({**config.used_in(details["mode"]), **details}),
        versions=versions(),
        hashes={"training data": bundle.card.dataset["fingerprint"], "model.onnx": bundle.model_sha256},
        calibration_before={
            **figures,
            "temperature": choices.temperature,
            "chosen_on": choices.chosen_on,
        },
        folds=outcome.fold_summary(),
        weights_licence=bundle.card.backbone["weights_licence"],
        model_hash=bundle.model_sha256,
    )
