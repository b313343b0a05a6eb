"""Keys of a service: random, shown once, stored as hashes in a file that only its owner can read.

The file is JSON, a list of ``{"id", "sha256", "created"}``. Running services notice when it changes, so
that a revoked key is refused by the next request.
"""

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tellapart.errors import ConfigError, ServiceError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Key:
    """What is kept of a key: never the key itself."""

    id: str
    sha256: str
    created: str


class Keys:
    """The keys of one file.

    Examples
    --------
    >>> keys = Keys.open(Path("keys.json"))  # doctest: +SKIP
    >>> id, key = keys.create()  # doctest: +SKIP
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: tuple[Key, ...] = ()

    @classmethod
    def open(cls, path: Path | str) -> "Keys":
        """Open a file of keys; one that is missing is made by the first `create`.

        Raises
        ------
        ServiceError
            If the file is there and is not one of keys.
        """
        keys = cls(Path(path))
        keys._refresh()
        return keys

    def ids(self) -> tuple[str, ...]:
        """Return the names of the keys, oldest first."""
        self._refresh()
        return tuple(key.id for key in self._keys)

    def create(self, id: str | None = None) -> tuple[str, str]:
        """Add a key; return its name and the key, which nobody can read again."""
        id = secrets.token_hex(4) if id is None else id
        if not _ID.fullmatch(id):
            raise ConfigError(
                f"{id!r} cannot be a key's name: use up to 64 letters, digits, '.', '_' and '-'"
            )
        key = _new_key()
        with self._changing():
            if id in self.ids():
                raise ServiceError(f"there is a key {id!r} already; rotate it, or choose another name")
            self._write((*self._keys, _kept(id, key)))
        return id, key

    def revoke(self, id: str) -> None:
        """Remove a key; running services refuse it at once."""
        with self._changing():
            self._find(id)
            self._write(tuple(key for key in self._keys if key.id != id))

    def rotate(self, id: str) -> str:
        """Replace a key by a new one of the same name; return the new one."""
        key = _new_key()
        with self._changing():
            self._find(id)
            self._write(tuple(_kept(id, key) if old.id == id else old for old in self._keys))
        return key

    def accepts(self, key: bytes) -> bool:
        """Say whether `key` is one of ours."""
        return self.owner(key) is not None

    def owner(self, key: bytes) -> str | None:
        """Return the name of the key that `key` is, or None.

        Hashes are compared, all of them and each in constant time, so that the time taken tells nothing.
        """
        try:
            self._refresh()
        except ServiceError:
            # A file that became unreadable lets nobody in; `Keys.open` says why when the service starts.
            return None
        digest = hashlib.sha256(key).digest()
        found = None
        for known in self._keys:
            if hmac.compare_digest(digest, bytes.fromhex(known.sha256)):
                found = known.id
        return found

    def _find(self, id: str) -> None:
        if id not in self.ids():
            raise ServiceError(f"no key {id!r}; there is {', '.join(self.ids()) or 'none'}")

    def _refresh(self) -> None:
        """Read the file if it is another one than last time."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            self._seen, self._keys = None, ()
            return
        except OSError as exc:
            raise ServiceError(f"{self.path} cannot be read: {exc.strerror}") from exc
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen == self._seen:
            return
        self._keys = ()
        try:
            entries = json.loads(self.path.read_bytes())
            if not isinstance(entries, list):
                raise ValueError("not a list")
            self._keys = tuple(_key(**entry) for entry in entries)
        except OSError as exc:
            raise ServiceError(f"{self.path} cannot be read: {exc.strerror}") from exc
        except (ValueError, TypeError) as exc:
            raise ServiceError(f"{self.path} is not a file of keys; delete it and create new ones") from exc
        self._seen = seen

    def _write(self, keys: tuple[Key, ...]) -> None:
        # mkstemp makes files that only their owner can read, and rename keeps them so.
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump([asdict(key) for key in keys], file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._refresh()

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one process at a time change the file, or one would undo what another does."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _new_key() -> str:
    return f"ta_{secrets.token_urlsafe(32)}"


def _kept(id: str, key: str) -> Key:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Key(id, hashlib.sha256(key.encode()).hexdigest(), now)


def _key(id: str, sha256: str, created: str) -> Key:
    if not (isinstance(id, str) and len(bytes.fromhex(sha256)) == 32):
        raise ValueError("not a key")
    return Key(id, sha256, created)
