"""The facts of a test that a model's card and the dataset tell, for its report."""

from collections.abc import Mapping
from typing import Any

from tellapart.bundle import Bundle
from tellapart.data.dataset import Dataset
from tellapart.evaluation.facts import RunFacts
from tellapart.records import Predictions


def facts_of_test(
    bundle: Bundle, dataset: Dataset, predictions: Predictions, *, external: bool = False
) -> RunFacts:
    """Return what is known when a finished model is tested on labelled images.

    Parameters
    ----------
    dataset
        As it was received, with its ledger.
    predictions
        Of the images that were used; its `skipped` holds all others.
    external
        Whether the images come from another place or time than the training images.
    """
    card = bundle.card
    n_received = len(dataset) + len(dataset.ledger)
    return RunFacts(
        title=", ".join(card.class_names),
        data={"source": dataset.root.name or str(dataset.root), "fingerprint": dataset.fingerprint},
        flow=[
            ("files found", n_received),
            ("left out (listed below)", -len(predictions.skipped)),
            ("test", len(predictions)),
        ],
        skipped=predictions.skipped,
        partitions=[
            {"split": "training", "images": card.dataset["n_samples"], **card.dataset["counts"]},
            {"split": "test", "images": len(predictions), **_counts(predictions)},
        ],
        disjoint_by="file content" if bundle.trained_on() else "",
        settings=as_text(card.config),
        versions=card.versions,
        hashes={"training data": card.dataset["fingerprint"], "model.onnx": bundle.model_sha256},
        weights_licence=card.backbone["weights_licence"],
        model_hash=bundle.model_sha256,
        external_test=external,
    )


def as_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as text, leaving out those that were not set."""
    return {key.replace("_", " "): str(value) for key, value in settings.items() if value is not None}


def _counts(predictions: Predictions) -> dict[str, int]:
    return {name: int((predictions.y_true == i).sum()) for i, name in enumerate(predictions.class_names)}
