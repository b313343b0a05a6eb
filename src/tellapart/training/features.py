"""Features of a frozen network, computed once per image content and kept."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.inspection import inspect
from tellapart.data.cache import cache_folder
from tellapart.data.dataset import Dataset
from tellapart.data.embedding import Network
from tellapart.data.files import write_atomically
from tellapart.data.images import Resize
from tellapart.data.survey import CHUNK
from tellapart.inference import Engine
from tellapart.progress import SILENT, Progress
from tellapart.training.config import TrainConfig

PIXELS_VERSION = 1
"""Raised whenever decoding or resizing gives other pixels, so that old features are not used."""

Featurizer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Features:
    """Feature vectors by image content.

    Attributes
    ----------
    rows
        sha256 -> float32 of shape (n_features,).
    n_computed
        Images of which something, of these or of what near-duplicates and the report need, was not known.
    """

    rows: dict[str, NDArray[np.float32]]
    n_computed: int

    def of(self, dataset: Dataset) -> NDArray[np.float32]:
        """Return float32 of shape (n_samples, n_features) in the order of the dataset."""
        return np.stack([self.rows[sample.sha256 or ""] for sample in dataset.samples])


def network_key(config: TrainConfig, image_size: int) -> str:
    """Return what names a frozen network without building it: backbone, weights and size.

    ``imagenet`` stands for weights that the installed libraries fix, so their versions belong to it.
    """
    parts = [config.backbone, str(image_size)]
    if Path(config.weights).is_file():
        with Path(config.weights).open("rb") as file:
            parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    else:
        parts.append(f"none-{config.seed}" if config.weights == "none" else config.weights)
    parts += [importlib.metadata.version(library) for library in ("torch", "torchvision", "timm")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def feature_cache_name(key: str, resize: Resize) -> str:
    """Return the name of the cache that holds a network's features of images resized so."""
    return f"features-{key}-{resize.size}-{resize.fit}-{PIXELS_VERSION}"


def cached_network_file(name: str, make: Callable[[], bytes]) -> bytes:
    """Return what is made of a network once per machine: its exported graph, its weights."""
    path = cache_folder() / "networks" / name
    if not path.is_file():
        write_atomically(path, make())
    return path.read_bytes()


def featurise(
    dataset: Dataset,
    featurizer: Featurizer,
    resize: Resize,
    key: str,
    *,
    chunk_size: int = CHUNK,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> tuple[Dataset, Features]:
    """Compute the features of every image that is not in the cache yet.

    The same pass leaves what near-duplicates and the report's check need.

    Returns
    -------
    dataset
        With content hashes, and files that cannot be decoded moved to the ledger.
    features
        Of all that remained.
    """
    network = Network(feature_cache_name(key, resize), resize, featurizer)
    found = inspect(
        dataset, network, stage="features", chunk_size=chunk_size, workers=workers, progress=progress
    )
    hashes = [sample.sha256 or "" for sample in found.dataset.samples]
    vectors = () if found.features is None else found.features
    return found.dataset, Features(dict(zip(hashes, vectors, strict=True)), found.n_computed)


def graph_featurizer(graph: bytes) -> Featurizer:
    """Return a featurizer over onnxruntime: the fastest engine on a CPU."""
    return Engine(graph, threads=1)


class OnFirstUse:
    """A featurizer that is made when it is first asked: where every feature is kept, it never is."""

    def __init__(self, make: Callable[[], Featurizer]) -> None:
        self._make = make
        self._lock = Lock()
        self._featurizer: Featurizer | None = None

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return what the featurizer says."""
        with self._lock:
            self._featurizer = self._featurizer or self._make()
        return self._featurizer(pixels)
