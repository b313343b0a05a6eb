"""Read many image files at once, in order, with bounded memory, on threads.

Pillow and onnxruntime release the interpreter's lock while they work, so threads use every core and
need no spawn-safe worker processes.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tellapart.data.images import Resize, load_pixels
from tellapart.errors import UnreadableImage
from tellapart.records import Sample

MAX_BYTES = 2**31
"""File size above which nothing is read: more than the largest accepted picture takes uncompressed."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, eq=False, slots=True)
class Read:
    """One file as read: its content hash, and pixels or the reason why there are none.

    Attributes
    ----------
    sha256
        Hex digest of the bytes; empty when the file could not be opened.
    pixels
        uint8 of shape (size, size, 3), or None.
    reason
        Why `pixels` is None, else None.
    """

    sample: Sample
    sha256: str
    pixels: NDArray[np.uint8] | None
    reason: str | None


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(function: Callable[[T], R], items: Iterable[T], *, workers: int | None = None) -> Iterator[R]:
    """Yield ``function(item)`` in the items' order, a few ahead of the reader at most."""
    workers = workers or n_cores()
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def chunked(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def fetch(sample: Sample) -> tuple[str, bytes, str | None]:
    """Read and hash one file: (sha256, content, None), or ("", b"", why it cannot be read)."""
    try:
        if sample.path.stat().st_size > MAX_BYTES:
            return "", b"", f"larger than {MAX_BYTES / 2**30:.0f} GiB: shrink it first"
        content = sample.path.read_bytes()
    except (OSError, ValueError) as exc:  # ValueError: a name with a zero byte in it
        return "", b"", (getattr(exc, "strerror", None) or str(exc) or type(exc).__name__).lower()
    return hashlib.sha256(content).hexdigest(), content, None


def read(sample: Sample, resize: Resize) -> Read:
    """Read, hash and decode one file; bad files come back with a reason instead of pixels."""
    digest, content, reason = fetch(sample)
    if reason is not None:
        return Read(sample, digest, None, reason)
    try:
        return Read(sample, digest, load_pixels(content, resize), None)
    except UnreadableImage as exc:
        return Read(sample, digest, None, str(exc))


def hash_file(sample: Sample) -> str:
    """Return the hex SHA-256 of a sample's file, or an empty string if it cannot be read."""
    if sample.sha256 is not None:
        return sample.sha256
    try:
        with sample.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""
