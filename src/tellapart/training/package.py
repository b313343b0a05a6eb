"""From a fitted classifier to a bundle on disk, proved equal to what was trained."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.bundle import MODEL_FILE, WEIGHTS_FILE, Bundle, Card
from tellapart.data.dataset import Dataset
from tellapart.data.files import write_atomically
from tellapart.data.images import Resize, load_pixels
from tellapart.data.reader import in_parallel
from tellapart.evaluation.estimate import Estimate
from tellapart.training.config import TrainConfig
from tellapart.training.fitted import Fitted
from tellapart.training.model_card import render_model_card

PARITY_IMAGES = 64
"""Images on which the exported model is compared with the trained one; all, if there are fewer."""

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
    parity_pool: Sequence[Dataset],
    figures: Mapping[str, Estimate],
) -> Bundle:
    """Write the bundle.

    Parameters
    ----------
    parity_pool
        Datasets of which images are taken for the comparison, in turn.
    figures
        Headline figures on the test set, for the card; empty where there was none.

    Raises
    ------
    ExportError
        If the exported model's probabilities differ from the trained one's by more than 1e-4.
    """
    from safetensors.torch import save

    from tellapart.training.export import check_parity

    network = fitted.network()
    write_atomically(folder / MODEL_FILE, fitted.graph(train.class_names).SerializeToString())
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    write_atomically(folder / WEIGHTS_FILE, save(state))
    pixels = parity_pixels(parity_pool, resize)
    parity = check_parity(folder / MODEL_FILE, network, fitted.choices.temperature, pixels)
    card = Card(
        class_names=train.class_names,
        preprocessing=resize,
        backbone={
            "name": network.spec.name,
            "weights": network.spec.weights_id if config.weights == "imagenet" else config.weights,
            "weights_licence": network.spec.licence if config.weights == "imagenet" else "the user's own",
            "fingerprint": network.fingerprint,
        },
        config={**config.to_dict(), **{f"chosen_{key}": value for key, value in fitted.details.items()}},
        temperature=fitted.choices.temperature,
        threshold=fitted.choices.threshold,
        parity={"n_images": parity.n_images, "max_difference": parity.max_difference},
        dataset={"fingerprint": train.fingerprint, "n_samples": len(train), "counts": train.counts},
        versions=versions(),
        figures={name: figure.to_dict() for name, figure in figures.items()},
    )
    return Bundle.write(folder, card, readme=render_model_card(card))


def parity_pixels(pool: Sequence[Dataset], resize: Resize) -> NDArray[np.uint8]:
    """Return uint8 pixels of up to `PARITY_IMAGES` images, spread evenly over the datasets."""
    samples = [sample for dataset in pool for sample in dataset.samples]
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(PARITY_IMAGES, len(samples))).round().astype(int))
    pixels = in_parallel(lambda i: load_pixels(samples[i].path, resize), chosen.tolist())
    return np.stack(list(pixels))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that took part."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
