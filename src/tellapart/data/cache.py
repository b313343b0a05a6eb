"""Where tellapart keeps what it can compute again: features, verified contents, exported networks."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

from tellapart.errors import CacheError


def cache_folder() -> Path:
    """Return the cache folder: ``$TELLAPART_CACHE``, else the system's place for caches."""
    chosen = os.environ.get("TELLAPART_CACHE")
    return Path(chosen) if chosen else user_cache_path("tellapart")


class ContentCache:
    """Bytes by content hash in one SQLite file: safe to share, to interrupt and to delete.

    Parameters
    ----------
    name
        File name without suffix; it must say everything else that the values depend on.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = cache_folder() / f"{name}.sqlite"
        with self._connect() as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS content (sha256 TEXT PRIMARY KEY, value BLOB)")

    def get(self, digests: Sequence[str]) -> dict[str, bytes]:
        """Return the values that are known."""
        found: dict[str, bytes] = {}
        with self._connect() as connection:
            for start in range(0, len(digests), 500):
                chunk = digests[start : start + 500]
                marks = ",".join("?" * len(chunk))
                query = f"SELECT sha256, value FROM content WHERE sha256 IN ({marks})"
                found.update(connection.execute(query, chunk))
        return found

    def put(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Store values; on disk when this returns."""
        with self._connect() as connection:
            connection.executemany("INSERT OR REPLACE INTO content VALUES (?, ?)", items)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=60)
            try:
                with connection:
                    yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as exc:
            raise CacheError(
                f"the cache {self.path} cannot be used ({exc}); delete it, free disk space, "
                "or set TELLAPART_CACHE to another folder"
            ) from exc
