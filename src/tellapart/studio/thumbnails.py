"""Small pictures of the images, made when they are first asked for, and kept in one file of the cache."""

import hashlib
import io
import os
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from threading import BoundedSemaphore, Lock

from PIL import Image, ImageDraw

from tellapart.data.cache import cache_folder
from tellapart.data.images import thumbnail
from tellapart.data.reader import n_cores
from tellapart.errors import ConfigError, UnreadableImage
from tellapart.records import Sample

EDGES = (160, 320)
"""Long edges of the small pictures, in pixels."""

FILE = "thumbnails-1.sqlite"
"""Its name changes when small pictures are made otherwise."""

MOST_BYTES = 2 * 2**30
"""Bytes that the pictures in the cache may take: a hundred thousand of both sizes."""

_MEASURED_EVERY = 500
"""Pictures written between two looks at how much they take."""


class Thumbnails:
    """Small pictures of the images by their numbers; safe for several threads and processes at once.

    Where the cache cannot be used, every picture is made anew.

    Parameters
    ----------
    samples
        The images.
    most_bytes
        The oldest pictures leave the cache when all take more.
    """

    def __init__(self, samples: Sequence[Sample], most_bytes: int = MOST_BYTES) -> None:
        self._samples, self._store = samples, _Store(cache_folder() / FILE, most_bytes)
        # Browsers ask for what they show, and take back what they no longer do: first come, first served.
        self._decoders = BoundedSemaphore(n_cores())

    def get(self, i: int, edge: int = EDGES[0]) -> bytes:
        """Return a JPEG of image `i`, upright, its long edge `edge` pixels at most; a sign if it is broken.

        Raises
        ------
        ConfigError
            If `edge` is none of `EDGES`.
        """
        if edge not in EDGES:
            raise ConfigError(f"a small picture of {edge} pixels was asked for; accepted: {EDGES}")
        path = self._samples[i].path
        try:
            key = _key(path, edge)
        except (OSError, ValueError):  # not there, or a name with a zero byte
            return broken(edge)
        if (known := self._store.get(key)) is not None:
            return known
        with self._decoders:
            try:
                content = thumbnail(path, edge)
            except UnreadableImage:
                return broken(edge)
        self._store.put(key, content)
        return content


@lru_cache
def broken(edge: int) -> bytes:
    """Return a JPEG that stands for a file which cannot be shown: a picture frame with a crack."""
    image = Image.new("RGB", (edge, edge), "#d5d9dc")
    draw, unit = ImageDraw.Draw(image), edge / 16
    ink, width = "#6a7580", max(2, edge // 50)
    draw.rectangle((4 * unit, 5 * unit, 12 * unit, 11 * unit), outline=ink, width=width)
    crack = [(9.5, 3.5), (7.5, 7.2), (9, 8.4), (6.8, 12.5)]
    draw.line([(x * unit, y * unit) for x, y in crack], fill="#d5d9dc", width=4 * width)
    draw.line([(x * unit, y * unit) for x, y in crack], fill=ink, width=width)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def _key(path: Path, edge: int) -> bytes:
    """Return what changes with the file: no content hash, for which it would have to be read."""
    state = path.stat()
    about = f"{os.path.abspath(path)}\0{state.st_mtime_ns}\0{state.st_size}\0{edge}"  # noqa: PTH100
    return hashlib.blake2b(about.encode("utf-8", "surrogateescape"), digest_size=16).digest()


class _Store:
    """Bytes by key in one SQLite file that may be deleted at any time; without it, nothing is known."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._usable, self._written = True, 0

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            try:
                found = self._open().execute("SELECT value FROM thumbnail WHERE key = ?", [key]).fetchone()
            except (sqlite3.Error, OSError):
                self._give_up()
                return None
        return found[0] if found else None

    def put(self, key: bytes, value: bytes) -> None:
        with self._lock:
            if not self._usable:
                return
            try:
                with self._open() as connection:
                    connection.execute("INSERT OR REPLACE INTO thumbnail VALUES (?, ?)", [key, value])
                    if self._written % _MEASURED_EVERY == 0:
                        self._shrink(connection)
                self._written += 1
            except (sqlite3.Error, OSError):
                self._give_up()

    def _open(self) -> sqlite3.Connection:
        if not self._usable:
            raise OSError("given up")
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self._path, timeout=5, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")  # all of it can be made again
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS thumbnail (key BLOB PRIMARY KEY, value BLOB)"
            )
        return self._connection

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Let the oldest tenth go when there is too much; SQLite uses the place again."""
        pages, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - free) * size > self._most_bytes:
            connection.execute(
                "DELETE FROM thumbnail WHERE rowid IN (SELECT rowid FROM thumbnail ORDER BY rowid "
                "LIMIT (SELECT count(*) / 10 + 1 FROM thumbnail))"
            )

    def _give_up(self) -> None:
        """Go on without the cache: what was to be kept can be made again."""
        self._usable = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None
