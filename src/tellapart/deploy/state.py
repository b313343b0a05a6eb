"""The registry of deployments: one row each, in one SQLite file in the user's data folder.

A row says what was started, not what runs now; only asking the target tells that.
"""

import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from tellapart.deploy import logfile
from tellapart.errors import ConfigError, DeploymentError
from tellapart.process import this_user
from tellapart.serving.settings import http_url

SCHEMA_VERSION = 1
"""Raised when older versions of tellapart could not read the file."""

PORTS = range(8000, 9000)
"""Where a port is chosen from when none is asked for."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TABLE = """
CREATE TABLE IF NOT EXISTS deployments (
    name TEXT PRIMARY KEY, target TEXT NOT NULL, model TEXT NOT NULL, copy TEXT NOT NULL,
    version TEXT NOT NULL, host TEXT NOT NULL, port INTEGER NOT NULL, replicas INTEGER NOT NULL,
    pid INTEGER, started TEXT, auth INTEGER NOT NULL,
    settings TEXT NOT NULL, options TEXT NOT NULL, created TEXT NOT NULL, owner TEXT NOT NULL)
"""


@dataclass(frozen=True)
class Record:
    """What is written down about one deployment.

    Attributes
    ----------
    name, target
        Its name, and the kind of place that runs it: ``"local"`` or ``"ray"``.
    model, copy, version
        The bundle as it was given, the copy of it that is served, and the first 12 hex digits of the
        model's sha256.
    host, port, replicas
        Where it listens, and how many worker processes or replicas answer.
    pid, started
        Its first process and that process's start; together they name one process and no later one.
        None where the target has no such process.
    auth
        Whether a key is asked for.
    settings
        Settings of the service that differ from their defaults.
    options
        What only the target understands, such as a cluster's address; ``path`` is where its routes begin,
        and ``port`` the port that it must have, absent where any will do.
    created, owner
        ISO 8601 in UTC, and who made it.
    """

    name: str
    target: str
    model: str
    copy: str
    version: str
    host: str
    port: int
    replicas: int
    created: str
    owner: str
    pid: int | None = None
    started: str | None = None
    auth: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where this machine reaches it."""
        address: str = self.options.get("address", "")
        head = address.removeprefix("ray://").rpartition(":")[0]
        path: str = self.options.get("path", "")  # where one server stands before several deployments
        return http_url(self.host, self.port, machine=head) + path

    @property
    def folder(self) -> Path:
        """Where its copy of the model, its keys and its log lie."""
        return data_folder() / "deployments" / self.name

    @property
    def keys_file(self) -> Path:
        """The hashed keys, where any are asked for."""
        return self.folder / "keys.json"

    @property
    def log_file(self) -> Path:
        """What its processes print."""
        return self.folder / logfile.NAME


def data_folder() -> Path:
    """Return the folder of the registry: ``$TELLAPART_DATA``, else the system's place for a user's data."""
    chosen = os.environ.get("TELLAPART_DATA")
    return Path(chosen).absolute() if chosen else user_data_path("tellapart")


def checked_name(name: str) -> str:
    """Return a name that is safe as a folder, an address and a label in a cluster.

    Raises
    ------
    ConfigError
        If it is not.
    """
    if not _NAME.fullmatch(name):
        shown = name if len(name) <= 80 else f"{name[:80]}…"
        raise ConfigError(
            f"{shown!r} cannot name a deployment: 1 to 63 lower-case letters, digits and hyphens, "
            "the first no hyphen; for example lesions-v2"
        )
    return name


class Registry:
    """The rows; safe for several processes at once."""

    def __init__(self) -> None:
        self.path = data_folder() / "deployments.sqlite"

    def add(self, record: Record, *, is_free: Callable[[int], bool]) -> Record:
        """Write a new row; a port of 0 becomes one that is free and that no other row has.

        Raises
        ------
        DeploymentError
            If the name exists, or every port is taken.
        """
        with self._connect() as connection:
            row = connection.execute("SELECT owner FROM deployments WHERE name = ?", [record.name]).fetchone()
            if row:
                whose = "" if row[0] == this_user() else f" (it belongs to {row[0]})"
                raise DeploymentError(
                    f"a deployment {record.name!r} exists already{whose}; take another name, or "
                    f"--replace, or `tellapart deploy update {record.name} MODEL` to change the model "
                    "without a pause"
                )
            if record.port == 0:
                # Chosen inside the transaction: two that start at once must not choose the same.
                taken = {port for (port,) in connection.execute("SELECT port FROM deployments")}
                record = _with_port(record, next((p for p in PORTS if p not in taken and is_free(p)), None))
            names = ", ".join(_COLUMNS)
            marks = ", ".join("?" * len(_COLUMNS))
            connection.execute(f"INSERT INTO deployments ({names}) VALUES ({marks})", _to_row(record))
        return record

    def get(self, name: str) -> Record:
        """Return one row.

        Raises
        ------
        DeploymentError
            If there is none of that name, or it is another user's.
        """
        checked_name(name)
        with self._connect() as connection:
            rows = connection.execute("SELECT * FROM deployments ORDER BY name").fetchall()
        records = {record.name: record for record in map(_from_row, rows)}
        if name not in records:
            known = ", ".join(n for n, r in records.items() if r.owner == this_user())
            raise DeploymentError(
                f"no deployment {name!r}; " + (f"there are: {known}" if known else "there is none yet")
            )
        if records[name].owner != this_user():
            raise DeploymentError(f"the deployment {name!r} belongs to {records[name].owner}, not to you")
        return records[name]

    def all(self) -> list[Record]:
        """Return this user's rows by name."""
        query = "SELECT * FROM deployments WHERE owner = ? ORDER BY name"
        with self._connect() as connection:
            return [_from_row(row) for row in connection.execute(query, [this_user()])]

    def save(self, record: Record) -> Record:
        """Overwrite the row of that name, and return it."""
        changes = ", ".join(f"{name} = ?" for name in _COLUMNS)
        with self._connect() as connection:
            connection.execute(
                f"UPDATE deployments SET {changes} WHERE name = ?", [*_to_row(record), record.name]
            )
        return record

    def remove(self, name: str) -> None:
        """Forget a row."""
        with self._connect() as connection:
            connection.execute("DELETE FROM deployments WHERE name = ?", [name])

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
            connection.row_factory = sqlite3.Row
            try:
                connection.execute("BEGIN IMMEDIATE")
                self._prepare(connection)
                with connection:
                    yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as exc:
            raise DeploymentError(
                f"the list of deployments {self.path} cannot be used ({exc}); free disk space, "
                "or set TELLAPART_DATA to another folder"
            ) from exc

    def _prepare(self, connection: sqlite3.Connection) -> None:
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > SCHEMA_VERSION:
            raise DeploymentError(f"{self.path} was written by a newer tellapart; update this one")
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


_COLUMNS = tuple(column.name for column in fields(Record))
_JSON = ("settings", "options")


def _to_row(record: Record) -> list[Any]:
    values = asdict(record)
    return [json.dumps(values[name]) if name in _JSON else values[name] for name in _COLUMNS]


def _from_row(row: sqlite3.Row) -> Record:
    values = {name: json.loads(row[name]) if name in _JSON else row[name] for name in _COLUMNS}
    return Record(**(values | {"auth": bool(values["auth"])}))


def _with_port(record: Record, port: int | None) -> Record:
    if port is None:
        raise DeploymentError(
            f"every port from {PORTS.start} to {PORTS.stop - 1} is taken; name one with --port"
        )
    return replace(record, port=port)
