"""Content hashes of the images: what a decision about an image is tied to."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from tellapart.data.cache import ContentCache
from tellapart.data.reader import chunked, hash_file, in_parallel
from tellapart.errors import CacheError
from tellapart.records import Sample

CACHE = "digests-1"
"""Name of the cache; it changes when `_key` does."""

MANY = 8
"""Images from which on the cache is asked, and files are hashed on several threads."""

SETTLED_S = 2.0
"""Age of a change from which on a further one would show in the file's times, whose ticks may be coarse."""

_AT_ONCE = 64


class Digests:
    """The hex SHA-256 of each image's file, read when first asked for; safe for several threads at once.

    What was hashed among many others is kept in the cache, by the file's place, size and times, so that the
    next studio on these images need not read the files that the journal mentions.

    Parameters
    ----------
    samples
        The images.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._known: dict[int, str] = {}

    def get(self, i: int) -> str:
        """Return the hash of image `i`; empty if its file cannot be read."""
        digest = self._known.get(i)
        if digest is None:
            digest = self._known.setdefault(i, hash_file(self._samples[i]))
        return digest

    def known(self, i: int) -> str | None:
        """Return the hash of image `i` if it was asked for before, else None."""
        return self._known.get(i)

    def learn(self, numbers: Iterable[int]) -> None:
        """Have the hashes of some images, in less time than one by one."""
        new = sorted({i for i in numbers if i not in self._known})
        if len(new) < MANY:
            return
        keys = {i: _key(self._samples[i].path) for i in new}
        kept = _recall([key for key in keys.values() if key])
        self._known.update({i: kept[key].decode() for i, key in keys.items() if key in kept})
        unread = [i for i in new if keys[i] not in kept]
        for _ in in_parallel(lambda some: [self.get(i) for i in some], chunked(unread, _AT_ONCE)):
            pass
        # Times are looked at before reading: a change meanwhile gives the file another key.
        _keep([(keys[i], self._known[i].encode()) for i in unread if keys[i] and self._known[i]])


def _key(path: Path) -> str:
    """Return what changes with a file; empty where that cannot be relied on."""
    try:
        state = path.stat()
    except (OSError, ValueError):
        return ""
    if time.time() - max(state.st_mtime, state.st_ctime) < SETTLED_S:
        return ""
    about = f"{os.path.abspath(path)}\0{state.st_size}\0{state.st_mtime_ns}\0{state.st_ctime_ns}"  # noqa: PTH100
    return hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()


def _recall(keys: Sequence[str]) -> dict[str, bytes]:
    """Return key -> hash, as far as they were kept; nothing where the cache cannot be used."""
    with contextlib.suppress(CacheError):
        return ContentCache(CACHE).get(keys)
    return {}


def _keep(hashes: Sequence[tuple[str, bytes]]) -> None:
    """Keep hashes by their keys; without the cache, the next studio hashes anew."""
    if hashes:
        with contextlib.suppress(CacheError):
            ContentCache(CACHE).put(hashes)
