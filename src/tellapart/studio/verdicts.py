"""What each reviewer answered, and when: read from the journal as it grows."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import groupby
from threading import RLock
from typing import NamedTuple

from tellapart.data.label_events import Event
from tellapart.studio.catalog import Catalog

EXCLUDED = "(excluded)"
"""The answer of a reviewer who holds no label right, because the image should not be used."""

ADJUDICATION = "adjudication"
"""The source of what settles a disagreement; it is no independent answer."""


class Answer(NamedTuple):
    """What one reviewer said of one image.

    Attributes
    ----------
    label
        The one that they hold right, or `EXCLUDED`.
    seq, at
        Number and time of the event.
    was
        The label in force before they answered.
    """

    label: str
    seq: int
    at: str
    was: str

    @property
    def is_error(self) -> bool:
        """Whether they found the label wrong."""
        return self.label not in (self.was, EXCLUDED)


class Settlement(NamedTuple):
    """Who settled what reviewers disagreed on, when, and in which batch."""

    actor: str
    at: str
    seq: int
    batch: int


class Dispute(NamedTuple):
    """An image that reviewers hold different labels right of: what each says, and who settled it since."""

    i: int
    answers: dict[str, str]
    settled: Settlement | None


class Verdicts:
    """Every reviewer's answers about the images of a catalog; safe for several threads at once.

    Answers about another content than an image has now do not count.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = RLock()
        self._forget()

    def _forget(self) -> None:
        self._seq, self._head = 0, ""
        self._label: dict[int, str] = {}
        self._taken: dict[tuple[int, int], Settlement] = {}
        # By reviewer and image: what they said before anybody could talk about it, and what they hold now.
        self._first: dict[str, dict[int, Answer]] = defaultdict(dict)
        self._last: dict[str, dict[int, Answer]] = defaultdict(dict)
        self._settled: dict[int, Settlement] = {}

    def refresh(self) -> None:
        """Take in what was written since."""
        with self._lock:
            journal = self._catalog.journal
            events = journal.events(after=max(self._seq - 1, 0))
            if self._seq and (not events or events[0].hash != self._head):
                self._forget()  # another journal lies there now
                events = journal.events()
            elif self._seq:
                events = events[1:]
            for _, batch in groupby(events, key=lambda event: event.batch):
                self._learn([known for event in batch if (known := self._known(event))])
            if events:
                self._seq, self._head = events[-1].seq, events[-1].hash

    def _known(self, event: Event) -> tuple[int, Event] | None:
        i = self._catalog.index(event.sample_id)
        return None if i is None or self._catalog.sha256(i) != event.sha256 else (i, event)

    def _learn(self, batch: Sequence[tuple[int, Event]]) -> None:
        """Take in one batch: an answer is about the label that stood before it."""
        for i, event in batch:
            if event.field == "review":
                self._answered(i, event)
        for i, event in batch:
            if event.field == "label":
                self._label[i] = event.new
            if event.source == ADJUDICATION:
                self._settled[i] = Settlement(event.actor, event.at, event.seq, event.batch)
            elif event.undoes:
                self._taken_back(i, event)

    def _answered(self, i: int, event: Event) -> None:
        first, last = self._first[event.actor], self._last[event.actor]
        if not event.new:
            first.pop(i, None)
            last.pop(i, None)
            return
        was = self._label.get(i, self._catalog.given.samples[i].label)
        last[i] = Answer(event.new, event.seq, event.at, was)
        if event.source != ADJUDICATION:
            first.setdefault(i, last[i])

    def _taken_back(self, i: int, event: Event) -> None:
        """Let a settlement go that is undone, and have it again when that is undone in turn."""
        settlement = self._settled.get(i)
        if settlement is not None and settlement.batch == event.undoes:
            self._taken[event.batch, i] = self._settled.pop(i)
        elif (event.undoes, i) in self._taken:
            self._settled[i] = self._taken[event.undoes, i]._replace(batch=event.batch, seq=event.seq)

    def latest(self, reviewer: str, n: int) -> list[Answer]:
        """Return a reviewer's last answers, the latest first."""
        with self._lock:
            return nlargest(n, self._last.get(reviewer, {}).values(), key=lambda answer: answer.seq)

    def answer(self, i: int, reviewer: str) -> str:
        """Return what a reviewer holds right, empty where they have not answered."""
        with self._lock:
            found = self._last.get(reviewer, {}).get(i)
            return found.label if found else ""

    def by_others(self, reviewer: str) -> set[int]:
        """Return the images that anybody else has answered."""
        with self._lock:
            return {i for actor, answers in self._last.items() if actor != reviewer for i in answers}

    def first_labels(self) -> dict[str, dict[int, str]]:
        """Return reviewer -> image -> what they said first: what agreement is about; reviewers by name."""
        with self._lock:
            return {
                actor: {i: answer.label for i, answer in answers.items()}
                for actor, answers in sorted(self._first.items())
                if answers
            }

    def disputes(self) -> list[Dispute]:
        """Return the images that reviewers hold different labels right of, what is not settled first."""
        with self._lock:
            said: dict[int, dict[str, Answer]] = defaultdict(dict)
            for actor, answers in sorted(self._last.items()):
                for i, answer in answers.items():
                    said[i][actor] = answer
            found = []
            for i, by in said.items():
                labels = {actor: answer.label for actor, answer in by.items()}
                if len(set(labels.values())) > 1:
                    found.append(Dispute(i, labels, self._settlement(i, by.values())))
        return sorted(found, key=lambda dispute: (dispute.settled is not None, dispute.i))

    def _settlement(self, i: int, answers: Iterable[Answer]) -> Settlement | None:
        """Return who settled what was said of an image, unless somebody has answered after that."""
        settlement = self._settled.get(i)
        if settlement is None or any(answer.seq > settlement.seq for answer in answers):
            return None
        return settlement
