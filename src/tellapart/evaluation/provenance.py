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
    is_joined = predictions.class_names != card.class_names
    trained_on = dict.fromkeys(predictions.class_names, "-") if is_joined else card.dataset["counts"]
    return RunFacts(
        title=", ".join(predictions.class_names),
        data={"source": dataset.root.name or str(dataset.root), "fingerprint": dataset.fingerprint},
        flow=[
            ("files found", n_received),
            ("left out (listed below)", -len(predictions.skipped)),
            ("test", len(predictions)),
        ],
        skipped=predictions.skipped,
        partitions=[
            {"split": "training", "images": card.dataset["n_samples"], **trained_on},
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
    """Return settings as text, floats shortened, leaving out those that were not set."""
    shown = {
        key: f"{v:.4g}" if isinstance(v, float) else str(v) for key, v in settings.items() if v is not None
    }
    return {key.replace("_", " "): text for key, text in shown.items()}


def _counts(predictions: Predictions) -> dict[str, int]:
    return {name: int((predictions.y_true == i).sum()) for i, name in enumerate(predictions.class_names)}
