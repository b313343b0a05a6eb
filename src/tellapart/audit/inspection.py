"""One pass over the files of a dataset: each is read, hashed and decoded once, and all is kept by content.

Everything that a check knows of single images comes from here: how they look (`quality`), what finds their
copies (`duplicates`), and the features of a frozen network where one is at hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.audit import quality
from tellapart.audit.quality import Look
from tellapart.data import duplicates
from tellapart.data.cache import ContentCache
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize, decode, load_pixels
from tellapart.data.reader import chunked, fetch, in_parallel
from tellapart.errors import UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample

T = TypeVar("T", bound=np.generic)

CHUNK = 16
"""Images that one thread takes in a row, which spares the caches many small queries."""

COMMIT_EVERY = 256
"""Images between two writes to the caches; what an interruption can cost at most."""

DECODED_PX = 240
"""The edge for which files are decoded (see `decode`): the default backbone's, which then needs no second
decoding. Fixed, because what is kept by content must not depend on a network."""


@dataclass(frozen=True, eq=False)
class Network:
    """A frozen network whose features are wanted.

    Attributes
    ----------
    cache
        Name of the cache of its features; it says all that they depend on.
    resize
        What it takes.
    featurizer
        From uint8 pixels of shape (n, size, size, 3) to float32 features of shape (n, n_features); may be
        called from several threads at once.
    """

    cache: str
    resize: Resize
    featurizer: Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Inspection:
    """What one pass found, one row per image that can be read.

    Attributes
    ----------
    dataset
        With content hashes, unreadable files moved to the ledger; the order of all other attributes.
    looks
        Figures of each file.
    descriptors
        Of shape (n_samples, length), as `duplicates.describe` gives them.
    features
        float32 of shape (n_samples, n_features), or None without a network.
    n_computed
        Images of which something was not known yet.
    """

    dataset: Dataset
    looks: tuple[Look, ...]
    descriptors: NDArray[np.uint8]
    features: NDArray[np.float32] | None
    n_computed: int


def look_cache() -> ContentCache:
    """Return where figures of files lie by content hash; training fills it while it decodes them anyway."""
    return ContentCache(f"looks-{quality.LOOK_VERSION}")


def inspect(
    dataset: Dataset,
    network: Network | None = None,
    *,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Inspection:
    """Read every file once, and look up or compute all that a check needs of it."""
    reader = _Reader(network)
    rows: list[_Row] = []
    stored = 0
    with progress.track("inspecting", len(dataset)) as advance:
        for done in in_parallel(reader.read, chunked(dataset.samples, CHUNK), workers=workers):
            rows += done
            advance(len(done))
            if len(rows) - stored >= COMMIT_EVERY:
                reader.keep(rows[stored:])
                stored = len(rows)
    reader.keep(rows[stored:])
    hashed = replace(dataset, samples=tuple(replace(row.sample, sha256=row.sha256) for row in rows))
    readable = [row for row in rows if row.reason is None]
    return Inspection(
        hashed.without({row.sample.id: row.reason for row in rows if row.reason is not None}),
        tuple(Look.from_bytes(row.values["look"]) for row in readable),
        _stack([row.values["descriptor"] for row in readable], np.dtype(np.uint8)),
        None if network is None else _stack([row.values["features"] for row in readable], _FEATURE),
        sum(bool(row.fresh) for row in rows),
    )


Kept = Literal["look", "descriptor", "features"]
"""What is kept of a content."""

_FEATURE = np.dtype("<f4")

_READINGS: dict[Kept, Callable[[bytes, Image.Image], bytes]] = {
    "look": lambda content, image: quality.look(content, image).to_bytes(),
    "descriptor": lambda content, image: duplicates.describe(image).tobytes(),
}
"""From a file's content and its decoded picture to what is kept of it; features come some at a time."""


def _stack(values: Sequence[bytes], dtype: np.dtype[T]) -> NDArray[T]:
    return np.stack([np.frombuffer(value, dtype) for value in values]) if values else np.empty((0, 0), dtype)


@dataclass(slots=True)
class _Row:
    """One file on its way to what is known of it, and which of that is new."""

    sample: Sample
    sha256: str
    content: bytes
    reason: str | None
    values: dict[Kept, bytes] = field(default_factory=dict)
    fresh: list[Kept] = field(default_factory=list)
    pixels: NDArray[np.uint8] | None = None


class _Reader:
    """Reads a few files at a time, on any thread."""

    def __init__(self, network: Network | None) -> None:
        self.network = network
        self.caches: dict[Kept, ContentCache] = {
            "look": look_cache(),
            "descriptor": duplicates.descriptor_cache(),
        }
        if network is not None:
            self.caches["features"] = ContentCache(network.cache)

    def read(self, samples: Sequence[Sample]) -> list[_Row]:
        """Return the rows of some files, in order."""
        rows = [_Row(sample, *fetch(sample)) for sample in samples]
        digests = [row.sha256 for row in rows if row.sha256]
        known = {kept: cache.get(digests) for kept, cache in self.caches.items()}
        for row in rows:
            row.values = {kept: found[row.sha256] for kept, found in known.items() if row.sha256 in found}
            if row.reason is None and len(row.values) < len(self.caches):
                self._compute(row)
            row.content = b""
        self._featurise([row for row in rows if row.pixels is not None])
        return rows

    def _compute(self, row: _Row) -> None:
        try:
            image = decode(row.content, target_px=DECODED_PX)
            for kept, reading in _READINGS.items():
                if kept not in row.values:
                    row.values[kept] = reading(row.content, image)
                    row.fresh.append(kept)
            if self.network is not None and "features" not in row.values:
                resize = self.network.resize
                same = resize.size == DECODED_PX
                row.pixels = resize(image) if same else load_pixels(row.content, resize)
        except UnreadableImage as exc:
            row.reason = str(exc)

    def _featurise(self, rows: Sequence[_Row]) -> None:
        if self.network is None or not rows:
            return
        pixels = np.stack([row.pixels for row in rows if row.pixels is not None])
        for row, vector in zip(rows, self.network.featurizer(pixels), strict=True):
            row.values["features"] = vector.astype(_FEATURE).tobytes()
            row.fresh.append("features")
            row.pixels = None

    def keep(self, rows: Sequence[_Row]) -> None:
        """Write what is new to the caches."""
        for kept, cache in self.caches.items():
            fresh = [(row.sha256, row.values[kept]) for row in rows if kept in row.fresh]
            if fresh:
                cache.put(fresh)
