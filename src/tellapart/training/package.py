"""From a fitted classifier to a bundle on disk, proved equal to what was trained."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.bundle import MODEL_FILE, WEIGHTS_FILE, Bundle, Card
from tellapart.data.dataset import Dataset
from tellapart.data.files import write_atomically
from tellapart.data.images import Resize
from tellapart.data.reader import in_parallel
from tellapart.drift import summarise
from tellapart.evaluation.estimate import Estimate
from tellapart.inference import CHUNK, Engine
from tellapart.training.backbones import find_backbone
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import Fitted, evenly
from tellapart.training.graph import check_parity
from tellapart.training.model_card import render_model_card

PARITY_IMAGES = 64
"""Images on which the exported model is compared with the trained one; all, if there are fewer."""

REFERENCE_IMAGES = 256
"""Validation images that go into the reference for drift; all, if there are fewer."""

_LIBRARIES = (
    "tellapart",
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxruntime",
    "scikit-learn",
    "numpy",
    "pillow",
)


def package(
    fitted: Fitted,
    folder: Path,
    *,
    config: TrainConfig,
    resize: Resize,
    train: Dataset,
    used: Dataset,
    figures: Mapping[str, Estimate],
    val: Dataset | None = None,
) -> Bundle:
    """Write the bundle.

    Parameters
    ----------
    train, used
        The images that trained the model, and all of the run, on some of which the export is checked.
    figures
        Headline figures on the test set, for the card; empty where there was none.
    val
        Validation images, which services will compare theirs with; without any, they are compared with
        those on which the export is checked.

    Raises
    ------
    ExportError
        If the exported model's probabilities differ from the trained one's by more than 1e-4.
    """
    write_atomically(folder / MODEL_FILE, fitted.graph(train.class_names).SerializeToString())
    write_atomically(folder / WEIGHTS_FILE, fitted.weights())
    images, expected = fitted.witness(used, PARITY_IMAGES)
    pixels = images.pixels(resize)
    parity = check_parity(folder / MODEL_FILE, expected, pixels)
    if val:
        reference = _validation_reference(folder / MODEL_FILE, val, resize)
    else:
        reference = summarise(pixels, expected, train.class_names, images_from="training and test images")
    spec = find_backbone(config.backbone)
    is_official = config.weights == "imagenet"
    card = Card(
        class_names=train.class_names,
        preprocessing=resize,
        backbone={
            "name": spec.name,
            "weights": spec.weights_id if is_official else config.weights,
            "weights_licence": spec.licence if is_official else "the user's own",
        },
        config={**config.to_dict(), **{f"chosen_{key}": value for key, value in fitted.details.items()}},
        temperature=fitted.choices.temperature,
        threshold=fitted.choices.threshold,
        parity={"n_images": parity.n_images, "max_difference": parity.max_difference},
        dataset={"fingerprint": train.fingerprint, "n_samples": len(train), "counts": train.counts},
        versions=versions(),
        figures={name: figure.to_dict() for name, figure in figures.items()},
        reference=reference,
    )
    return Bundle.write(folder, card, readme=render_model_card(card))


def _validation_reference(model_path: Path, val: Dataset, resize: Resize) -> dict[str, Any]:
    """Return what validation images look like, and what the packaged model says of them."""
    images = evenly(val, REFERENCE_IMAGES)
    pixels = images.pixels(resize)
    engine = Engine(model_path)
    chunks = np.array_split(pixels, -(-len(pixels) // CHUNK))
    y_prob = np.concatenate(list(in_parallel(engine, chunks))).astype(np.float64)
    return summarise(pixels, y_prob, val.class_names, images_from="validation images")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that took part."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
