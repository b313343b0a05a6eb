"""Background jobs: commands of tellapart as processes of their own, which outlive the studio.

A job's folder holds all there is to it: ``job.json`` (what, when, who, which process), ``job.log`` (all that
it printed) and ``progress.json`` (see `tellapart.progress`), beside what it makes.
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock, Thread
from typing import Literal

from tellapart.data.cache import cache_folder
from tellapart.data.files import write_atomically
from tellapart.errors import ConfigError
from tellapart.process import Process
from tellapart.progress import VARIABLE
from tellapart.studio.operation import Json
from tellapart.studio.pace import pace

RECORD, LOG, PROGRESS = "job.json", "job.log", "progress.json"

PROGRAM = (sys.executable, "-m", "tellapart")

PATIENCE_S = 10.0
"""Between asking a job to end and ending it: a fine-tuning closes its files within a step."""

LOG_BYTES = 20_000
"""Of a log's end, as much as is shown."""

Kind = Literal["train", "check"]
State = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True)
class Job:
    """One command, running or ended.

    Attributes
    ----------
    folder
        Where its files lie.
    kind
        What it does; of one kind, one runs at a time.
    words
        Of the command line, after ``tellapart``.
    makes
        The file that it writes last.
    found
        Time and size of that file before the job began; None where there was none.
    pid, born
        Its process, and what tells that from a later one of the same number.
    started
        ISO 8601 in UTC.
    actor
        Who started it.
    version
        Number of the last label event when it was started.
    stopped_by
        Who stopped it; empty while nobody has.
    """

    folder: Path
    kind: Kind
    words: tuple[str, ...]
    makes: Path
    found: tuple[int, int] | None
    pid: int
    born: str
    started: str
    actor: str
    version: int = 0
    stopped_by: str = ""

    @property
    def process(self) -> Process:
        """The process, which may have ended."""
        return Process(self.pid, self.born)

    @property
    def state(self) -> State:
        """How it stands, by its process and by what it has made."""
        _collect()
        if self.process.is_alive:
            return "running"
        if (made := stamp(self.makes)) is not None and made != self.found:
            return "done"
        return "stopped" if self.stopped_by else "failed"

    def option(self, name: str, default: str = "") -> str:
        """Return the value of ``--name=value`` in its command line."""
        prefix = f"--{name}="
        return next((word.removeprefix(prefix) for word in self.words if word.startswith(prefix)), default)

    def stages(self) -> list[Json]:
        """Return the parts of its work so far, each a `tellapart.progress.Stage`; the last is under way."""
        try:
            stages: list[Json] = json.loads((self.folder / PROGRESS).read_bytes())["stages"]
        except FileNotFoundError:
            return []
        return stages

    def log(self) -> list[str]:
        """Return the last lines that it printed, empty ones left out."""
        try:
            with (self.folder / LOG).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return []
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def failure(self) -> str:
        """Return why it failed, in its own last words; empty unless it has."""
        if self.state != "failed":
            return ""
        lines = self.log()
        if told := [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]:
            return told[-1]
        last = f"; its last words: {lines[-1]}" if lines else ""
        return f"it ended without saying why: it was killed, or the machine ran out of memory{last}"

    def to_json(self) -> Json:
        """Return what a page is told of it."""
        return {
            "name": self.folder.name,
            "kind": self.kind,
            "state": self.state,
            "command": " ".join(("tellapart", *self.words)),
            "started": self.started,
            "actor": self.actor,
            "stopped_by": self.stopped_by,
            "error": self.failure(),
            **pace(self.stages()),
        }

    def save(self) -> "Job":
        """Write ``job.json``; on disk when this returns."""
        values = {**asdict(self), "folder": str(self.folder), "makes": str(self.makes)}
        write_atomically(self.folder / RECORD, (json.dumps(values, indent=2) + "\n").encode())
        return self

    @classmethod
    def find(cls, folder: Path) -> "Job | None":
        """Return the job of a folder, or None where it has none that can be read."""
        try:
            values = json.loads((folder / RECORD).read_bytes())
            found = values["found"] and tuple(values["found"])
            known = {"folder": folder, "makes": Path(values["makes"]), "words": tuple(values["words"])}
            return cls(**{**values, **known, "found": found})
        except (OSError, ValueError, KeyError, TypeError):
            return None


class Jobs:
    """The jobs whose folders lie in some places; safe for several threads.

    Parameters
    ----------
    *places
        Folders in whose sub-folders jobs lie; they need not exist.
    """

    def __init__(self, *places: Path) -> None:
        self.places = places
        self._starting = Lock()

    def all(self) -> list[Job]:
        """Return every job, the latest first."""
        folders = [folder for place in self.places if place.is_dir() for folder in place.iterdir()]
        found = [job for folder in folders if (job := Job.find(folder)) is not None]
        return sorted(found, key=lambda job: job.started, reverse=True)

    def running(self, kind: Kind) -> Job | None:
        """Return the job of a kind that runs now, if one does."""
        return next((job for job in self.all() if job.kind == kind and job.state == "running"), None)

    def start(
        self,
        kind: Kind,
        words: Sequence[str],
        folder: Path,
        makes: Path,
        *,
        actor: str,
        version: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Job:
        """Start ``tellapart WORDS`` in the background.

        Parameters
        ----------
        folder, makes, actor, version
            See `Job`; the folder is made if it is missing.
        environment
            Variables besides those of this process.

        Raises
        ------
        ConfigError
            If a job of that kind runs already.
        """
        with self._starting:
            if other := self.running(kind):
                raise ConfigError(
                    f"{other.folder.name} is still running, started by {other.actor}; "
                    "wait for its end, or stop it"
                )
            folder.mkdir(parents=True, exist_ok=True)
            (folder / PROGRESS).unlink(missing_ok=True)
            found = stamp(makes)
            child = _launch(words, folder, environment or {})
            process = Process.of(child.pid)
            born = process.started if process is not None else ""
            started = datetime.now(UTC).isoformat(timespec="milliseconds")
            return Job(
                folder, kind, tuple(words), makes, found, child.pid, born, started, actor, version
            ).save()

    def stop(self, job: Job, actor: str) -> Job:
        """Ask a job to end, and end it if it does not; returns at once."""
        if job.state != "running":
            return job
        stopped = replace(job, stopped_by=actor).save()
        job.process.signal(signal.SIGINT)
        Thread(target=_see_off, args=(job.process,), daemon=True).start()
        return stopped


def stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written anew: nanoseconds and bytes; None where there is none."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


_children: list[subprocess.Popen[bytes]] = []
"""Started by this very process, which alone can collect them when they end."""

_collecting = Lock()


def place_of(data: Path) -> Path:
    """Return the folder in the cache for jobs about DATA that make nothing of their own: its check."""
    mark = hashlib.sha256(os.fsencode(data.resolve())).hexdigest()[:12]
    return cache_folder() / "studio" / mark


def _launch(words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    with (folder / LOG).open("wb") as log:
        child = subprocess.Popen(
            [*PROGRAM, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **environment, VARIABLE: str(folder.resolve() / PROGRESS)},
            # A session of its own: the end of the studio, and ctrl-C in its terminal, do not reach it.
            start_new_session=True,
        )
    with _collecting:
        _children.append(child)
    return child


def _collect() -> None:
    with _collecting:
        _children[:] = [child for child in _children if child.poll() is None]


def _see_off(process: Process) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while process.is_alive and time.monotonic() < deadline:
        time.sleep(0.1)
        _collect()
    process.kill_group()
    _collect()
