"""The verbs: check, train, evaluate, load, export. Each opens the layer that does the work when called."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tellapart.bundle import Bundle
from tellapart.data.dataset import Dataset
from tellapart.errors import EmptyDataset, MissingExtra, WeightsError
from tellapart.inference import Classifier
from tellapart.progress import SILENT, Progress
from tellapart.training.extra import need_extra

if TYPE_CHECKING:
    from tellapart.audit.check import Audit
    from tellapart.evaluation.evaluation import Evaluation
    from tellapart.training.config import TrainConfig
    from tellapart.training.run import Notes, Run

TRAINED_ON_IT = "this model was trained on it"
"""The ledger's reason for images that `evaluate` leaves out."""


def load(model: Path | str) -> Classifier:
    """Open a model bundle, or the model of a run folder.

    Raises
    ------
    BundleError
        If there is none.
    """
    return Classifier.load(model)


def check(dataset: Dataset, *, progress: Progress = SILENT) -> "Audit":
    """Look at every image of a dataset and say what is wrong; see `tellapart.audit.check.check`.

    Label errors and outliers are looked for where the training half is installed and the default network's
    weights can be had; near-duplicates are then looked for by its features too.
    """
    from tellapart.audit.check import check as audit
    from tellapart.training.evidence import FrozenEvidence

    try:
        need_extra()
        return audit(dataset, FrozenEvidence(), progress=progress)
    except (MissingExtra, WeightsError) as exc:
        return audit(dataset, why_none=str(exc), progress=progress)


def train(
    dataset: Dataset,
    config: "TrainConfig | None" = None,
    out: Path | str = "run",
    *,
    resume: bool = False,
    notes: "Notes | None" = None,
    progress: Progress = SILENT,
) -> "Run":
    """Train, evaluate and package a classifier; see `tellapart.training.run.train`.

    Raises
    ------
    MissingExtra
        If torch and its companions are not installed.
    """
    need_extra()
    from tellapart.training import run

    return run.train(dataset, config, out, resume=resume, notes=notes, progress=progress)


def evaluate(
    model: Classifier | Path | str,
    dataset: Dataset,
    *,
    merge: Mapping[str, Sequence[str]] | None = None,
    include_training: bool = False,
    progress: Progress = SILENT,
) -> "Evaluation":
    """Test a classifier on labelled images that it did not train on.

    Parameters
    ----------
    model
        A classifier, a bundle or a run folder. Only a run knows which images it trained on.
    dataset
        Labelled images; classes that the model does not know are refused.
    merge
        Join classes, new name -> old names. Where the model knows the old ones, their probabilities add
        up: a model of seven diagnoses is tested as one of malignant or benign.
    include_training
        Keep images that trained the model. The figures are then worthless as a test.

    Returns
    -------
    Evaluation
        Its `predictions.skipped` lists what was left out and why.

    Raises
    ------
    ClassMismatch
        If the dataset has a class that the model does not know.
    EmptyDataset
        If no image is left to test on.
    """
    from tellapart.evaluation.evaluation import Evaluation

    classifier = model if isinstance(model, Classifier) else load(model)
    if merge and not set(dataset.class_names) <= set(classifier.class_names):
        # The model was trained on joined classes; the dataset still has the single ones.
        dataset, merge = dataset.merged(merge), None
    if not include_training:
        dataset = _unseen(dataset, classifier.bundle, progress)
    predictions = classifier.predict_dataset(dataset, progress=progress)
    if merge:
        return Evaluation(predictions.merged(merge))
    return Evaluation(predictions, threshold=classifier.card.threshold)


def export(
    model: Path | str,
    out: Path | str,
    *,
    precision: Literal["fp32", "int8"] = "fp32",
    data: Dataset | None = None,
    force: bool = False,
    progress: Progress = SILENT,
) -> Bundle:
    """Write a portable copy of a model, quantised if asked; see `tellapart.training.portable.export`."""
    need_extra()
    from tellapart.training import portable

    return portable.export(
        Bundle.load(model), Path(out), precision=precision, data=data, force=force, progress=progress
    )


def _unseen(dataset: Dataset, bundle: Bundle, progress: Progress) -> Dataset:
    """Move the images that trained the model into the ledger, recognised by content."""
    trained_on = bundle.trained_on()
    if not trained_on:
        return dataset
    hashed = dataset.with_hashes(progress=progress)
    seen = {sample.id: TRAINED_ON_IT for sample in hashed.samples if sample.sha256 in trained_on}
    if len(seen) == len(hashed):
        raise EmptyDataset(
            f"all {len(hashed)} images of {dataset.root} trained this model, none is left to test on; "
            "give images it has not seen, or --include-training to see figures that are no test"
        )
    return hashed.without(seen)
