"""The label journal: who changed which label, when and why; in one SQLite file that only ever grows.

The images and their folders or manifest stay as they are. What a person decides about an image is an
`Event`, and an undo is one more event. Each event carries the SHA-256 of the one before it, so that an
event that was changed or removed later shows; only a cut at the end cannot, which is why `Journal.verify`
can be given a hash that was written down elsewhere.

A decision is about one content under one name, as the data label it. Where the image or the data's own
label is no longer what it was, the decision is not in force; see `tellapart.data.corrections`.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tellapart.data.fetched import fetched_folder
from tellapart.data.label_events import (
    Batch,
    Change,
    Clash,
    Event,
    check_chain,
    check_text,
    checked,
    conflict,
)
from tellapart.data.manifest import MANIFEST_SUFFIXES
from tellapart.errors import ConfigError, JournalError, LabelConflict

__all__ = ["Journal", "JournalError", "LabelConflict", "journal_path"]

SCHEMA_VERSION = 1
"""Raised when older versions of tellapart could not read the file."""

_NUMBERS = ("seq", "batch", "undoes")
_TYPED = ", ".join(f"{name} {'INTEGER' if name in _NUMBERS else 'TEXT'} NOT NULL" for name in Event._fields)
_SCHEMA = (
    f"CREATE TABLE event ({_TYPED}, PRIMARY KEY (seq))",
    "CREATE INDEX event_of_image ON event (sample_id, field, sha256, seq)",
    "CREATE INDEX event_of_batch ON event (batch)",
    "CREATE INDEX event_that_undoes ON event (batch, undoes) WHERE undoes > 0",
    *(
        f"CREATE TRIGGER no_{verb} BEFORE {verb} ON event "
        "BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END"
        for verb in ("UPDATE", "DELETE")
    ),
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


def journal_path(data: Path | str, chosen: Path | str | None = None) -> Path:
    """Return where the journal of DATA lies, whether or not there is one yet.

    In this order: `chosen`; ``$TELLAPART_JOURNAL``, a file if it ends in ``.sqlite``, else a folder with
    one journal per DATA, told apart by where DATA lies; ``.tellapart/labels.sqlite`` in a folder;
    ``NAME.labels.sqlite`` beside a manifest ``NAME.csv`` or ``NAME.parquet``, which share it. A folder of
    downloaded images and the manifest in it are the same DATA, and have the folder's.
    """
    data = fetched_folder(Path(data)) or Path(data)
    if chosen is not None:
        return Path(chosen)
    elsewhere = os.environ.get("TELLAPART_JOURNAL")
    if elsewhere and elsewhere.endswith(".sqlite"):
        return Path(elsewhere)
    if elsewhere:
        place = data.resolve()
        mark = hashlib.sha256(os.fsencode(place)).hexdigest()[:12]
        return Path(elsewhere) / f"{place.stem}-{mark}.labels.sqlite"
    if data.suffix.lower() in MANIFEST_SUFFIXES and not data.is_dir():
        return data.with_suffix(".labels.sqlite")
    return data / ".tellapart" / "labels.sqlite"


class Journal:
    """The events of one dataset; safe for several processes and threads at once.

    Each call opens the file anew. What a call has returned is on disk. Reading makes no file.

    Parameters
    ----------
    path
        See `journal_path`.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def write(
        self,
        changes: Iterable[Change],
        *,
        actor: str,
        source: str = "",
        session: str = "",
        model: str = "",
    ) -> tuple[Event, ...]:
        """Write all changes as one batch, or none; no change makes no batch.

        Raises
        ------
        LabelConflict
            If the `old` of a change is not what stands there now.
        ConfigError
            If a change is not one that can be written.
        JournalError
            If the file cannot be written.
        """
        wanted = [checked(change) for change in changes]
        for name, text in (("user", actor), ("source", source), ("session", session), ("model", model)):
            check_text(name, text, empty=name != "user")
        if not wanted:
            return ()
        with self._connect(to_write=True) as connection:
            return _append(connection, wanted, _Stamp(actor, session, source, model))

    def undo(
        self, batch: int | None = None, *, actor: str, why: str = "", session: str = ""
    ) -> tuple[Event, ...]:
        """Take back a batch, by default the last that `actor` wrote and that stands; undo an undo to redo.

        Another person's reviews stay: they say what that person saw.

        Raises
        ------
        LabelConflict
            If what the batch did was changed since.
        ConfigError
            If there is no such batch, or it has been taken back already.
        """
        for name, text in (("user", actor), ("reason", why), ("session", session)):
            check_text(name, text, empty=name != "user")
        if not self.path.exists():
            raise ConfigError(f"nothing to undo: there is no journal at {self.path}")
        with self._connect(to_write=True) as connection:
            undone = _undone(connection)
            if batch is None:
                batch = _latest(connection, actor, undone)
            events = _events(connection, "batch = ?", [batch])
            if not events:
                raise ConfigError(f"no batch {batch} in {self.path}; `tellapart label history` lists them")
            if batch in undone:
                raise ConfigError(
                    f"batch {batch} has been undone by batch {undone[batch]}; undo that one to have it again"
                )
            theirs = [e for e in events if e.field == "review" and e.actor != actor]
            if len(theirs) == len(events):
                raise ConfigError(
                    f"batch {batch} holds reviews by {events[0].actor}, who alone can undo them"
                )
            why = why or f"undo of batch {batch}"
            inverse = [
                Change(e.sample_id, e.field, e.new, e.old, e.given, e.sha256, why)
                for e in reversed(events)
                if e not in theirs
            ]
            return _append(connection, inverse, _Stamp(actor, session, "undo", undoes=batch))

    def events(
        self, *, after: int = 0, sample_id: str | None = None, batch: int | None = None
    ) -> list[Event]:
        """Return the events with a `seq` above `after`, of one image or batch if given, in order."""
        asked: dict[str, int | str | None] = {
            "seq > ?": after,
            "sample_id = ?": sample_id,
            "batch = ?": batch,
        }
        given = {condition: value for condition, value in asked.items() if value is not None}
        with self._connect() as connection:
            return _events(connection, " AND ".join(given), list(given.values()))

    def batches(self) -> list[Batch]:
        """Return every batch, in order."""
        columns = "field, count(*), min(seq), batch, at, actor, source, undoes, why"
        with self._connect() as connection:
            undone = _undone(connection)
            rows = connection.execute(f"SELECT {columns} FROM event GROUP BY batch, field ORDER BY min(seq)")
            found: dict[int, Batch] = {}
            for field, n, _, number, *told in rows:
                earlier = found[number].counts if number in found else {}
                found[number] = Batch(number in undone, {**earlier, field: n}, number, *told)
        return list(found.values())

    def verdicts(self) -> dict[str, dict[str, str]]:
        """Return reviewer -> image id -> that reviewer's last answer: what agreement is computed from."""
        query = (
            "SELECT actor, sample_id, new, max(seq) FROM event WHERE field = 'review' "
            "GROUP BY actor, sample_id ORDER BY actor, sample_id"
        )
        found: dict[str, dict[str, str]] = {}
        with self._connect() as connection:
            for actor, sample_id, answer, _ in connection.execute(query):
                if answer:
                    found.setdefault(actor, {})[sample_id] = answer
        return found

    def verify(self, anchor: str | None = None) -> str:
        """Return the last event's hash, having checked all of them; see `check_chain`.

        Parameters
        ----------
        anchor
            A hash that this returned earlier, or its first 8 or more digits: it must still be there.

        Raises
        ------
        JournalError
            If an event is not as it was written, or the anchor's is gone.
        """
        return check_chain(self.events(), self.path, anchor)

    @contextmanager
    def _connect(self, *, to_write: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            if to_write:
                _make_folder(self.path.parent)
            # Never WAL: it needs memory that two machines on one network disk do not share, and cannot be
            # read from a read-only folder. A reader may write too, to clear up after a killed writer.
            # EXTRA also syncs the folder once the rollback file is gone: only then does a commit outlast a
            # power cut.
            place = f"{self.path.absolute().as_uri()}?mode={'rwc' if to_write else 'rw'}"
            place = place if to_write or self.path.exists() else ":memory:"
            connection = sqlite3.connect(place, timeout=30, isolation_level=None, uri=True)
            try:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA synchronous = EXTRA")
                connection.execute("BEGIN IMMEDIATE" if to_write else "BEGIN")
                _prepare(connection, self.path, to_write=to_write)
                with connection:
                    yield connection
            finally:
                connection.close()
        except (sqlite3.Error, OSError) as exc:
            raise JournalError(_explain(exc, self.path, to_write)) from exc


class _Stamp(NamedTuple):
    """What the events of a batch have in common."""

    actor: str
    session: str
    source: str
    model: str = ""
    undoes: int = 0


def _append(connection: sqlite3.Connection, changes: Sequence[Change], stamp: _Stamp) -> tuple[Event, ...]:
    """Write the changes as the next batch, or raise `LabelConflict`."""
    row = connection.execute("SELECT seq, batch, hash FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    seq, batch, head = row or (0, 0, "")
    common = {**stamp._asdict(), "batch": batch + 1, "at": _now()}
    events: list[Event] = []
    clashes: list[Clash] = []
    written: dict[tuple[str, str, str], Event] = {}
    for change in changes:
        key = (change.sample_id, change.field, change.sha256)
        last = written.get(key) or _last(connection, change, stamp.actor)
        # A decision on another label than the data now give is out of force.
        found = last.new if last is not None and last.given == change.given else change.given
        if found != change.old:
            clashes.append(Clash(change, found, last))
            continue
        seq += 1
        event = Event(seq=seq, **common, **asdict(change), previous=head, hash="").sealed()
        head = event.hash
        written[key] = event
        events.append(event)
    if clashes:
        raise conflict(clashes)
    marks = ", ".join("?" * len(Event._fields))
    connection.executemany(f"INSERT INTO event VALUES ({marks})", events)
    return tuple(events)


def _last(connection: sqlite3.Connection, change: Change, actor: str) -> Event | None:
    """Return the last event on the same image and field; of reviews, on the same reviewer's."""
    where, known = (
        "sample_id = ? AND field = ? AND sha256 = ?",
        [change.sample_id, change.field, change.sha256],
    )
    if change.field == "review":
        where, known = where + " AND actor = ?", [*known, actor]
    row = connection.execute(f"SELECT * FROM event WHERE {where} ORDER BY seq DESC LIMIT 1", known).fetchone()
    return Event(*row) if row else None


def _events(connection: sqlite3.Connection, where: str, values: Sequence[int | str]) -> list[Event]:
    query = f"SELECT * FROM event WHERE {where} ORDER BY seq"
    return [Event(*row) for row in connection.execute(query, values)]


def _undone(connection: sqlite3.Connection) -> dict[int, int]:
    """Return the batches that do not stand, with the batch that took each back."""
    query = "SELECT DISTINCT batch, undoes FROM event WHERE undoes > 0 ORDER BY batch DESC"
    undone: dict[int, int] = {}
    for batch, undoes in connection.execute(query):  # later ones first: whether they stand is known
        if batch not in undone:
            undone[undoes] = batch
    return undone


def _latest(connection: sqlite3.Connection, actor: str, undone: dict[int, int]) -> int:
    query = "SELECT batch FROM event WHERE actor = ? AND undoes = 0 ORDER BY seq DESC"
    for (batch,) in connection.execute(query, [actor]):
        if batch not in undone:
            return int(batch)
    raise ConfigError(f"{actor} has written nothing that stands; name a batch to undo another person's")


def _prepare(connection: sqlite3.Connection, path: Path, *, to_write: bool) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise JournalError(f"{path} was written by a newer tellapart; update this one")
    if found == SCHEMA_VERSION:
        return
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise JournalError(f"{path} is no journal of labels; choose another file with --journal")
    if to_write:
        for statement in _SCHEMA:
            connection.execute(statement)
    else:  # no file yet, or one whose first writer was killed: no events, and nothing to create
        connection.execute(f"CREATE TEMP TABLE event ({_TYPED})")


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    if os.name == "posix":  # else a power cut could take the folder, and with it what is in it
        handle = os.open(folder.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _explain(error: sqlite3.Error | OSError, path: Path, to_write: bool) -> str:
    if not to_write:
        return f"the journal of labels {path} cannot be read ({error})"
    return (
        f"the journal of labels {path} cannot be written ({error}); where the data are read-only, "
        "name another place with --journal FILE or TELLAPART_JOURNAL"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
