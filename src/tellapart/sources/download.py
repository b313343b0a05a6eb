"""Fills a class of a collection: many images at once, each checked before it gets its name.

Threads rather than asyncio: on two cores 16 threads pull more images per second (`benchmarks/download.py`),
and hashing, decoding and writing run beside the network without further ado.
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from tellapart.errors import DataError, UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.sources.arrival import Arrival, now
from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection
from tellapart.sources.picture import look
from tellapart.sources.queue import Queue
from tellapart.sources.session import Refused, Session, Unavailable
from tellapart.sources.transfer import Transfer, leftovers

_AHEAD = 4  # candidates under way per connection, so that a slow page of the list keeps nobody waiting
_GOOD_ID = re.compile(r"\w[\w.-]*")
_MAX_ID_BYTES = 100  # file systems take names of 255, and a part file's has a tag as well
_PATIENCE_S = 3.0  # for threads, after a stop


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of one class.

    Attributes
    ----------
    label
        The class.
    n
        Images wanted in the end.
    resize_px
        Scale larger images so that their short edge has so many pixels; None keeps the files as they come.
    at_most
        How many of them may share one value of a column, and the column: ``(1, "lesion_id")``; None for any.
    """

    label: str
    n: int
    resize_px: int | None = None
    at_most: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one class.

    Attributes
    ----------
    label
        The class.
    wanted, here
        Images asked for, and images now in its folder; fewer if the candidates ran out.
    new, n_bytes
        Images loaded by this call, and the bytes that came for them.
    refused
        Candidates that could not be had in this call: id -> reason. Others took their place where there
        were any.
    """

    label: str
    wanted: int
    here: int
    new: int
    n_bytes: int
    refused: Mapping[str, str]

    @property
    def is_short(self) -> bool:
        """Whether fewer images are here than were asked for."""
        return self.here < self.wanted


def fetch_class(
    session: Session,
    collection: Collection,
    order: Order,
    candidates: Iterator[Candidate],
    *,
    allow_files: bool = False,
    progress: Progress = SILENT,
) -> Fetched:
    """Fill a class with the first of `candidates` that can be had; call it again to go on.

    Images that are here already count and are not asked for again; when there are enough, `candidates`
    is not even begun. A candidate that cannot be had is noted in the collection and the next one takes its
    place, as it does for one whose very bytes are here already.

    Parameters
    ----------
    session
        Its `connections` is how many images are loaded at once.
    collection
        Where files and notes go. Its papers are for the caller to write, after all classes.
    order
        What is wanted; every candidate has its `label`.
    candidates
        In the order of preference; read lazily, from the calling thread, a few dozen ahead.
    allow_files
        Whether ``file:`` addresses are taken (copied); only for candidates that name the user's own folders.
    progress
        Gets one bar, in images.

    Raises
    ------
    FetchError
        If the servers stop answering altogether, naming the last reason. What arrived stays.
    DataError
        If the disk is full or cannot be written. What arrived stays.
    """
    label, here = order.label, collection.arrived(order.label)
    missing = order.n - len(here)
    if missing <= 0:
        return Fetched(label, order.n, len(here), 0, 0, {})
    known = here.keys() | collection.refused(label).keys()
    fresh = (candidate for candidate in candidates if candidate.id not in known)
    queue = Queue(fresh, order.at_most, (arrival.candidate for arrival in here.values()))
    folder = collection.class_folder(label)
    with progress.track(f"fetching {label}", missing) as advance:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            intake = Intake(session, collection, folder, order.resize_px, allow_files)
            new, n_bytes, refused = _fetch(session, intake, queue, missing, advance)
        except OSError as exc:
            raise DataError(
                f"cannot write to {folder}: {(exc.strerror or type(exc).__name__).lower()}; "
                "what arrived is kept: make room, then run the same command again"
            ) from exc
    fetched = Fetched(label, order.n, len(here) + new, new, n_bytes, refused)
    if not fetched.is_short:
        intake.tidy()
    return fetched


def _fetch(
    session: Session,
    intake: "Intake",
    queue: Queue,
    missing: int,
    advance: Callable[[int], None],
) -> tuple[int, int, dict[str, str]]:
    """Load until nothing is missing or no candidate is left; return images, bytes and refusals."""
    new = n_bytes = in_a_row = 0
    refused: dict[str, str] = {}
    with _Crew(session, intake.take) as crew:
        while new < missing:
            room = min(missing - new, _AHEAD * session.connections) - crew.n_under_way
            while room > 0 and (candidate := queue.take()) is not None:
                crew.give(candidate)
                room -= 1
            if not crew.n_under_way:
                break
            candidate, outcome = crew.next_outcome()
            if isinstance(outcome, Arrival):
                new, n_bytes, in_a_row = new + 1, n_bytes + outcome.source_bytes, 0
                advance(1)
                continue
            if not isinstance(outcome, Refused | Unavailable):
                raise outcome
            queue.give_up(candidate)
            refused[candidate.id] = str(outcome)
            if isinstance(outcome, Refused):
                intake.note_refusal(candidate, str(outcome))
                in_a_row = 0
                continue
            in_a_row += 1
            if in_a_row >= 2 * session.connections:
                raise Unavailable(
                    f"{in_a_row} images in a row could not be had, the last because {outcome}; "
                    "what arrived is kept: run the same command again later to go on"
                )
    return new, n_bytes, refused


class Intake:
    """Takes candidates into one class of a collection; threads share it.

    Parameters
    ----------
    session, collection, resize_px, allow_files
        See `fetch_class`.
    folder
        Of the class.
    """

    def __init__(
        self,
        session: Session,
        collection: Collection,
        folder: Path,
        resize_px: int | None,
        allow_files: bool,
    ) -> None:
        self._session, self._collection, self._folder = session, collection, folder
        self._resize_px, self._allow_files = resize_px, allow_files
        self._leftovers = leftovers(folder)

    def take(self, candidate: Candidate) -> Arrival:
        """Fetch a candidate, check it, write it down and give it its name.

        Raises
        ------
        Refused, Unavailable, Stopped
            If it cannot be had.
        OSError
            If the disk is full or cannot be written.
        """
        if not _GOOD_ID.fullmatch(candidate.id) or len(candidate.id.encode()) > _MAX_ID_BYTES:
            raise Refused(f"its id {candidate.id[:80]!r} is not fit for the name of a file")
        transfer = Transfer(
            self._session,
            candidate,
            self._folder,
            leftover=self._leftovers.get(candidate.id),
            allow_file=self._allow_files,
        )
        try:
            return self._session.insist(lambda: self._once(transfer, candidate))
        except Refused:
            transfer.discard()
            raise

    def note_refusal(self, candidate: Candidate, reason: str) -> None:
        """See `Collection.note_refusal`."""
        self._collection.note_refusal(candidate, reason)

    def tidy(self) -> None:
        """Remove what was begun and is not needed any more."""
        for part in self._folder.glob(".*.part"):
            part.unlink(missing_ok=True)

    def _once(self, transfer: Transfer, candidate: Candidate) -> Arrival:
        content = transfer.receive()
        try:
            picture = look(content, candidate.size_px, self._resize_px)
        except UnreadableImage as exc:
            raise transfer.reject(f"no usable image arrived: {exc}") from exc
        sha256, is_changed = hashlib.sha256(content).hexdigest(), picture.content is not content
        path = self._folder / f"{candidate.id}{picture.suffix}"
        arrival = Arrival(
            candidate=candidate,
            path=f"{self._folder.name}/{path.name}",
            sha256=hashlib.sha256(picture.content).hexdigest() if is_changed else sha256,
            n_bytes=len(picture.content),
            size_px=picture.size_px,
            source_sha256=sha256,
            source_bytes=len(content),
            etag=transfer.etag,
            at=now(),
        )
        part = transfer.settle(picture.content if is_changed else None)
        twin = self._collection.note_arrival(arrival)
        if twin is not None:
            raise Refused(f"the very same bytes are here already, as {twin}")
        part.replace(path)
        if is_changed:
            transfer.discard()
        return arrival


class _Crew:
    """Threads that each take one candidate after another; outcomes come back to the caller.

    They are daemons: after Ctrl-C one that waits for a silent server delays no exit. That is safe, because
    nothing that a thread leaves undone is ever under a final name.
    """

    def __init__(self, session: Session, take: Callable[[Candidate], Arrival]) -> None:
        self._session, self._take = session, take
        self._todo: SimpleQueue[Candidate | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[Candidate, Arrival | Exception]] = SimpleQueue()
        self.n_under_way = 0
        self._threads = [
            threading.Thread(target=self._work, name=f"fetch {number}", daemon=True)
            for number in range(session.connections)
        ]

    def give(self, candidate: Candidate) -> None:
        self.n_under_way += 1
        self._todo.put(candidate)

    def next_outcome(self) -> tuple[Candidate, Arrival | Exception]:
        outcome = self._done.get()
        self.n_under_way -= 1
        return outcome

    def _work(self) -> None:
        while (candidate := self._todo.get()) is not None:
            try:
                self._done.put((candidate, self._take(candidate)))
            except Exception as exc:  # goes to the caller, whatever it is
                self._done.put((candidate, exc))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._session.stop()
        for _thread in self._threads:
            self._todo.put(None)
        until_s = time.monotonic() + _PATIENCE_S
        for thread in self._threads:
            thread.join(None if kind is None else max(0.0, until_s - time.monotonic()))
