"""A folder of downloaded images, and the journal of what arrived in it.

The journal is a file of JSON lines that is only appended to. An image's line is written before the image
gets its name, so that every file under its final name is accounted for, whenever the process dies: a line
without its file counts for nothing, and a file without a line cannot be.
"""

import errno
import fcntl
import json
import os
import shutil
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

import tellapart
from tellapart.data.files import write_atomically
from tellapart.data.manifest import FETCHED, FETCHED_MANIFEST
from tellapart.errors import ConfigError, DataError
from tellapart.sources import papers
from tellapart.sources.arrival import Arrival, now
from tellapart.sources.candidate import Candidate
from tellapart.sources.class_folder import folder_name
from tellapart.sources.papers import Summary

__all__ = ["Arrival", "Collection", "Summary"]

JOURNAL = FETCHED
"""Where the journal lies in a collection's folder."""

SPARE_BYTES = 200_000_000
"""What a download leaves free on the disk."""


class Collection:
    """The folder that one request fills: ``CLASS/ID.ext``, and papers beside the class folders.

    Opening it makes the folder, or reads the journal of an earlier run. One process at a time; threads may
    share it.

    Parameters
    ----------
    folder
        Where the images go.
    request
        What was asked for (query, seed, size …): it must be the same when a run goes on. How many images
        per class need not be part of it: a later run may ask for more.

    Raises
    ------
    ConfigError
        If the folder holds what another request fetched or other files, or is being filled right now.
    DataError
        If it cannot be read or written.
    """

    def __init__(self, folder: Path, request: Mapping[str, str]) -> None:
        self.folder, self.request = folder, dict(request)
        self._journal = -1
        self._lock = threading.Lock()
        self._arrivals: dict[tuple[str, str], Arrival] = {}  # (label, id) -> the latest
        self._refused: defaultdict[str, dict[str, str]] = defaultdict(dict)  # label -> id -> reason
        self._path_of: dict[str, str] = {}  # content's hash, as sent -> path of the file
        try:
            self._open()
        except OSError as exc:
            raise DataError(f"cannot write to {folder}: {_words(exc)}; give another folder") from exc

    # ---- what is here --------------------------------------------------------------------------------

    @property
    def arrivals(self) -> list[Arrival]:
        """All images that are here, in the order of their paths."""
        return sorted(self._arrivals.values(), key=lambda arrival: arrival.path)

    def arrived(self, label: str) -> dict[str, Arrival]:
        """Return the images of a class that are here, by id."""
        return {key: arrival for (of, key), arrival in self._arrivals.items() if of == label}

    def refused(self, label: str) -> dict[str, str]:
        """Return why images of a class can never be had, by id."""
        return dict(self._refused[label])

    @property
    def manifest(self) -> Path:
        """Where the papers list the images; there is none before any arrived."""
        return self.folder / FETCHED_MANIFEST

    def class_folder(self, label: str) -> Path:
        """Return the folder of a class."""
        return self.folder / folder_name(label)

    def check_space(self, n_bytes: int) -> None:
        """See that so many more bytes fit on the disk.

        Raises
        ------
        DataError
            If they do not, with 200 MB to spare.
        """
        free = shutil.disk_usage(self.folder).free
        if free < n_bytes + SPARE_BYTES:
            raise DataError(
                f"the images need about {n_bytes / 1e6:,.0f} MB, and {self.folder} has {free / 1e6:,.0f} MB "
                f"free, {SPARE_BYTES / 1e6:.0f} MB of which stay so: make room, or ask for fewer"
            )

    # ---- what happens --------------------------------------------------------------------------------

    def note_arrival(self, arrival: Arrival) -> str | None:
        """Write down an image just before its file gets its name.

        Returns
        -------
        None, or the path of another image with the very same bytes; then nothing is written.

        Raises
        ------
        OSError
            If the journal cannot be written.
        """
        with self._lock:
            twin = self._path_of.get(arrival.source_sha256)
            if twin is not None and twin != arrival.path:
                return twin
            offered = {**_fields(arrival.candidate), "metadata": dict(arrival.candidate.metadata)}
            self._append({"event": "arrived", **_fields(arrival), "candidate": offered})
            self._remember(arrival)
        return None

    def note_refusal(self, candidate: Candidate, reason: str) -> None:
        """Write down that an image can never be had, so that no later run asks for it.

        Raises
        ------
        OSError
            If the journal cannot be written.
        """
        event = {"event": "refused", "label": candidate.label, "id": candidate.id, "url": candidate.url}
        with self._lock:
            self._append({**event, "reason": reason, "at": now()})
            self._refused[candidate.label][candidate.id] = reason

    def write_papers(
        self, title: str, command: str, *, source: str = "", licence_texts: Mapping[str, str] | None = None
    ) -> Summary:
        """Write manifest.csv, attribution.txt, licences/NAME.txt and README.md beside the class folders.

        Parameters
        ----------
        title
            First line of the dataset card.
        command
            What a reader would type to fetch the same.
        source
            A sentence or two on where the images come from.
        licence_texts
            Licence name -> its text. A licence without one is written down with its address.

        Returns
        -------
        What is in the collection; nothing is written for an empty one.

        Raises
        ------
        DataError
            If the disk is full or cannot be written.
        """
        arrivals = self.arrivals
        refused = {key: reason for of in self._refused.values() for key, reason in of.items()}
        summary = papers.summarise(arrivals, refused)
        if arrivals:
            found = {
                self.manifest.name: papers.manifest(arrivals),
                "attribution.txt": papers.attribution(arrivals),
                "README.md": papers.card(arrivals, summary, self.request, title, command, source),
                **papers.licences(arrivals, licence_texts or {}),
            }
            for name, text in found.items():
                self._write(self.folder / name, text)
        return summary

    def _write(self, path: Path, text: str) -> None:
        try:
            write_atomically(path, text.encode())
        except OSError as exc:
            raise DataError(
                f"cannot write {path}: {_words(exc)}; make room, then run the same command again"
            ) from exc

    def close(self) -> None:
        """Close the journal; threads that are still at work can then neither note nor name anything."""
        with self._lock:
            os.close(self._journal)
            self._journal = -1  # never the number of another file that is opened later

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- the journal ---------------------------------------------------------------------------------

    def _open(self) -> None:
        path = self.folder / JOURNAL
        if not path.exists():
            self._check_is_new()
            path.parent.mkdir(parents=True, exist_ok=True)
        self._journal = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock_journal()
            self._read(path)
        except BaseException:
            os.close(self._journal)
            raise

    def _check_is_new(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is not a folder; give the name of a new one")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(
                f"{self.folder} is not empty, and was not filled by `tellapart fetch`; give a new folder"
            )

    def _lock_journal(self) -> None:
        try:
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another process is fetching into {self.folder}; wait for it, or give another folder"
            ) from None

    def _read(self, path: Path) -> None:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:  # the process died, or the disk was full, in the middle of a line
            os.ftruncate(self._journal, len(whole))
        self._size = len(whole)
        lines = whole.splitlines()
        for number, line in enumerate(lines, 1):
            try:
                self._take(json.loads(line), path)
            except (ValueError, KeyError, TypeError, AttributeError) as exc:
                if isinstance(exc, ConfigError):
                    raise
                raise DataError(
                    f"{path} is damaged in line {number}; delete that line, or fetch into a new folder"
                ) from exc
        if not lines:
            self._append({"event": "request", "request": self.request, "tellapart": tellapart.__version__})
        self._forget_what_is_gone()

    def _take(self, event: Mapping[str, Any], path: Path) -> None:
        if event["event"] == "request":
            self._check_same(event["request"])
        elif event["event"] == "refused":
            self._refused[event["label"]][event["id"]] = event["reason"]
        else:
            noted = {key: value for key, value in event.items() if key != "event"}
            offered = dict(noted.pop("candidate"))
            announced_px = offered.pop("size_px")
            candidate = Candidate(**offered, size_px=tuple(announced_px) if announced_px else None)
            self._remember(Arrival(**{**noted, "candidate": candidate, "size_px": tuple(noted["size_px"])}))

    def _check_same(self, before: Mapping[str, str]) -> None:
        changed = [key for key in {**before, **self.request} if before.get(key) != self.request.get(key)]
        if changed:
            key = changed[0]
            was, is_now = (repr(request.get(key, "")) for request in (before, self.request))
            raise ConfigError(
                f"{self.folder} was begun with {key} {was}, now it is {is_now}; "
                "go on with the same options, or give a new folder"
            )

    def _remember(self, arrival: Arrival) -> None:
        self._arrivals[arrival.candidate.label, arrival.candidate.id] = arrival
        self._path_of[arrival.source_sha256] = arrival.path

    def _forget_what_is_gone(self) -> None:
        for key, arrival in list(self._arrivals.items()):
            try:
                is_here = (self.folder / arrival.path).stat().st_size == arrival.n_bytes
            except FileNotFoundError:
                is_here = False
            if not is_here:
                del self._arrivals[key]
        self._path_of = {arrival.source_sha256: arrival.path for arrival in self._arrivals.values()}

    def _append(self, event: Mapping[str, Any]) -> None:
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        try:
            written = os.write(self._journal, line)
            if written < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(self._journal, self._size)  # half a line would spoil the next one
            raise
        self._size += len(line)


def _fields(record: Arrival | Candidate) -> dict[str, Any]:
    # `asdict` would copy everything, all the way down, for every image.
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _words(exc: OSError) -> str:
    return (exc.strerror or type(exc).__name__).lower()
