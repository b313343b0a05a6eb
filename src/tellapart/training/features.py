"""Features of a frozen network, computed once per image content and kept.

Reading, hashing, decoding and the forward pass of one chunk of images happen in one thread, and as many
chunks run side by side as there are cores: decoding overlaps with the network without any queue.
"""

import hashlib
import importlib.metadata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.inspection import look_cache
from tellapart.audit.looks import EDGE_PX, look
from tellapart.data.cache import ContentCache, cache_folder
from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import describe, descriptor_cache
from tellapart.data.files import write_atomically
from tellapart.data.images import Resize, decode
from tellapart.data.reader import chunked, fetch, in_parallel
from tellapart.errors import UnreadableImage
from tellapart.inference import CHUNK, Engine
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample
from tellapart.training.config import TrainConfig

PIXELS_VERSION = 1
"""Raised whenever decoding or resizing gives other pixels, so that old features are not used."""

COMMIT_EVERY = 256
"""Images between two writes to the cache; what an interruption can cost at most."""

SMALLEST_FOR_LOOK = EDGE_PX // 4
"""Edge of the network from which files are decoded large enough for `look`; see `decode`."""

Featurizer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Features:
    """Feature vectors by image content.

    Attributes
    ----------
    rows
        sha256 -> float32 of shape (n_features,).
    n_computed
        How many were not in the cache.
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

    Returns
    -------
    dataset
        With content hashes, and files that cannot be decoded moved to the ledger.
    features
        Of all that remained.
    """
    cache = ContentCache(feature_cache_name(key, resize))
    descriptors, looks = descriptor_cache(), look_cache()

    def work(samples: Sequence[Sample]) -> list[_Row]:
        fetched = [_Row(sample, *fetch(sample)) for sample in samples]
        known = cache.get([row.sha256 for row in fetched if row.sha256])
        for row in fetched:
            row.look_up(known, resize)
        unknown = [row for row in fetched if row.pixels is not None]
        if unknown:
            pixels = np.stack([row.pixels for row in unknown if row.pixels is not None])
            for row, vector in zip(unknown, featurizer(pixels), strict=True):
                row.vector, row.pixels = vector.astype("<f4"), None
        return fetched

    def keep(rows: Sequence[_Row]) -> None:
        fresh = [row for row in rows if row.computed and row.vector is not None]
        cache.put((row.sha256, row.vector.tobytes()) for row in fresh if row.vector is not None)
        descriptors.put((row.sha256, row.descriptor) for row in fresh)
        looks.put((row.sha256, row.look) for row in fresh if row.look)

    rows: list[_Row] = []
    stored = 0
    with progress.track("features", len(dataset)) as advance:
        for done in in_parallel(work, chunked(dataset.samples, chunk_size), workers=workers):
            rows += done
            advance(len(done))
            if len(rows) - stored >= COMMIT_EVERY:
                keep(rows[stored:])
                stored = len(rows)
    keep(rows[stored:])
    hashed = tuple(replace(row.sample, sha256=row.sha256) for row in rows)
    kept = replace(dataset, samples=hashed).without({r.sample.id: r.reason for r in rows if r.reason})
    vectors = {row.sha256: row.vector for row in rows if row.vector is not None}
    return kept, Features(vectors, sum(row.computed for row in rows))


class _Row:
    """One image on its way from file to features."""

    def __init__(self, sample: Sample, sha256: str, content: bytes, reason: str | None) -> None:
        self.sample, self.sha256, self.content, self.reason = sample, sha256, content, reason
        self.pixels: NDArray[np.uint8] | None = None
        self.vector: NDArray[np.float32] | None = None
        self.descriptor = self.look = b""
        self.computed = False

    def look_up(self, known: dict[str, bytes], resize: Resize) -> None:
        """Take the vector from the cache, or decode the pixels, or note why neither can be."""
        content, self.content = self.content, b""
        if self.reason is not None:
            return
        if self.sha256 in known:
            self.vector = np.frombuffer(known[self.sha256], dtype="<f4")
            return
        try:
            image = decode(content, target_px=resize.size)
            self.pixels, self.computed = resize(image), True
            # So that neither near-duplicates nor the report's check need a second decoding.
            self.descriptor = describe(image).tobytes()
            if resize.size >= SMALLEST_FOR_LOOK:
                self.look = look(content, image).to_bytes()
        except UnreadableImage as exc:
            self.reason = str(exc)


def graph_featurizer(graph: bytes) -> Featurizer:
    """Return a featurizer over onnxruntime: the fastest engine on a CPU."""
    return Engine(graph, threads=1)
