"""One pass over the files of a dataset: each is read, hashed and decoded once, and all is kept by content.

Whoever asks, what is kept of a content is made of the same decoded picture. Reading, decoding and the network
work on a few files in one thread, and as many such chunks run side by side as there are cores: decoding
overlaps with the network without any queue.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.data.cache import ContentCache
from tellapart.data.embedding import Network
from tellapart.data.images import are_decoded_alike, decode, load_pixels
from tellapart.data.reader import chunked, fetch, in_parallel
from tellapart.errors import UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample

if TYPE_CHECKING:
    from tellapart.data.dataset import Dataset

T = TypeVar("T", bound=np.generic)

CHUNK = 16
"""Images that one thread takes in a row, which spares the caches many small queries."""

COMMIT_EVERY = 256
"""Images between two writes to the caches; what an interruption can cost at most."""

DECODED_PX = 240
"""The edge for which files are decoded (see `decode`): the default backbone's, which then needs no second
decoding. Fixed, because what is kept by content must not depend on a network."""

_FEATURE = np.dtype("<f4")


@dataclass(frozen=True)
class Reading:
    """Something that is read off a file and kept by its content.

    Attributes
    ----------
    cache
        Name of the cache that keeps it.
    of
        From a file's bytes and its picture, decoded for `DECODED_PX`, to what is kept.
    """

    cache: str
    of: Callable[[bytes, Image.Image], bytes]


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass found, one row per image that can be read.

    Attributes
    ----------
    dataset
        With content hashes, unreadable files moved to the ledger; the order of all other attributes.
    values
        Name of a reading's cache -> what it says of each image.
    features
        float32 of shape (n_samples, n_features), or None without a network.
    n_computed
        Images of which something was not known yet.
    """

    dataset: "Dataset"
    values: Mapping[str, tuple[bytes, ...]]
    features: NDArray[np.float32] | None
    n_computed: int

    def rows(self, reading: Reading) -> NDArray[np.uint8]:
        """Return what a reading of fixed length says: uint8 of shape (n_samples, length)."""
        return _stack(self.values[reading.cache], np.dtype(np.uint8))


def survey(
    dataset: "Dataset",
    readings: Sequence[Reading],
    network: Network | None = None,
    *,
    stage: str,
    chunk_size: int = CHUNK,
    workers: int | None = None,
    progress: Progress = SILENT,
) -> Survey:
    """Read every file once, and look up or compute all that is wanted of it.

    Parameters
    ----------
    readings
        What is wanted besides the features of `network`.
    stage
        What the pass is called where its progress is shown.
    chunk_size
        Images per call of the network.
    """
    surveyor = _Surveyor(readings, network)
    rows: list[_Row] = []
    stored = 0
    with progress.track(stage, len(dataset)) as advance:
        for done in in_parallel(surveyor.read, chunked(dataset.samples, chunk_size), workers=workers):
            rows += done
            advance(len(done))
            if len(rows) - stored >= COMMIT_EVERY:
                surveyor.keep(rows[stored:])
                stored = len(rows)
    surveyor.keep(rows[stored:])
    hashed = replace(dataset, samples=tuple(replace(row.sample, sha256=row.sha256) for row in rows))
    readable = [row for row in rows if row.reason is None]
    bad = {row.sample.id: row.reason for row in rows if row.reason is not None}
    return Survey(
        hashed.without(bad, unreadable=True),
        {one.cache: tuple(row.values[one.cache] for row in readable) for one in readings},
        None if network is None else _stack([row.values[network.cache] for row in readable], _FEATURE),
        sum(bool(row.fresh) for row in rows),
    )


def _stack(values: Sequence[bytes], dtype: np.dtype[T]) -> NDArray[T]:
    return np.stack([np.frombuffer(value, dtype) for value in values]) if values else np.empty((0, 1), dtype)


@dataclass(slots=True)
class _Row:
    """One file on its way to what is known of it, by name of the cache, and which of that is new."""

    sample: Sample
    sha256: str
    content: bytes
    reason: str | None
    values: dict[str, bytes] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    pixels: NDArray[np.uint8] | None = None


class _Surveyor:
    """Reads a few files at a time, on any thread."""

    def __init__(self, readings: Sequence[Reading], network: Network | None) -> None:
        self.readings, self.network = readings, network
        names = [reading.cache for reading in readings] + ([network.cache] if network else [])
        self.caches = [ContentCache(name) for name in names]

    def read(self, samples: Sequence[Sample]) -> list[_Row]:
        """Return the rows of some files, in order."""
        rows = [_Row(sample, *fetch(sample)) for sample in samples]
        digests = [row.sha256 for row in rows if row.sha256]
        known = {cache.name: cache.get(digests) for cache in self.caches}
        for row in rows:
            row.values = {name: found[row.sha256] for name, found in known.items() if row.sha256 in found}
            if row.reason is None and len(row.values) < len(self.caches):
                self._compute(row)
            row.content = b""
        self._featurise([row for row in rows if row.pixels is not None])
        return rows

    def _compute(self, row: _Row) -> None:
        try:
            image = decode(row.content, target_px=DECODED_PX)
            for reading in self.readings:
                if reading.cache not in row.values:
                    row.values[reading.cache] = reading.of(row.content, image)
                    row.fresh.append(reading.cache)
            if self.network is not None and self.network.cache not in row.values:
                resize = self.network.resize
                alike = are_decoded_alike(row.content, DECODED_PX, resize.size)
                row.pixels = resize(image) if alike else load_pixels(row.content, resize)
        except UnreadableImage as exc:
            row.reason = str(exc)

    def _featurise(self, rows: Sequence[_Row]) -> None:
        if self.network is None or not rows:
            return
        pixels = np.stack([row.pixels for row in rows if row.pixels is not None])
        for row, vector in zip(rows, self.network.featurizer(pixels), strict=True):
            row.values[self.network.cache] = vector.astype(_FEATURE).tobytes()
            row.fresh.append(self.network.cache)
            row.pixels = None

    def keep(self, rows: Sequence[_Row]) -> None:
        """Write what is new to the caches."""
        for cache in self.caches:
            fresh = [(row.sha256, row.values[cache.name]) for row in rows if cache.name in row.fresh]
            if fresh:
                cache.put(fresh)
