"""The catalog: the images as a table of what the data say, what was decided, predicted and found.

One column per fact, so that a hundred thousand images take little memory and a choice among them takes
milliseconds. An image is known by its number, its position in the dataset as given.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.findings import Finding
from tellapart.data.corrections import MARKS, Corrections
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal
from tellapart.data.label_events import Event, Field, check_chain
from tellapart.records import Predictions
from tellapart.studio.attached import Attached, Findings
from tellapart.studio.columns import Codes, Column, Marks, Mask, Names, two_values
from tellapart.studio.digests import Digests
from tellapart.studio.operation import Json
from tellapart.studio.query import FIXED, Query, count, order

NO_SPLIT = "none"
"""The split of an image that the data put into no part."""

MOST_RUNS = 4
"""Runs whose predictions are kept."""


class Catalog:
    """What is known of each image, kept in step with the journal; safe for several threads at once.

    Parameters
    ----------
    given
        The images, with the labels that the data give.
    journal
        Of corrections; its file need not exist yet. Read by `refresh`, for the first time here.
    actor
        Whose reviews `reviewed` tells.

    Raises
    ------
    JournalError
        If the journal cannot be read, or is not as it was written.
    """

    def __init__(self, given: Dataset, journal: Journal, actor: str = "") -> None:
        self.given, self.journal, self.actor = given, journal, actor
        self._lock = RLock()
        self._names = Names(given.class_names)
        self._given: Codes = given.targets.astype(np.int32)
        self._split_names = Names()
        self._split = self._split_names.codes(sample.split or NO_SPLIT for sample in given.samples)
        self._number = {sample.id: i for i, sample in enumerate(given.samples)}
        self.digests = Digests(given.samples)
        self._size: NDArray[np.float64] | None = None
        self._runs: OrderedDict[str, Attached] = OrderedDict()
        self._shown = ""
        self._audited = False
        self._found = Findings.lay((), self.index, len(given))
        self._current: tuple[int, Dataset] | None = None
        self._turns = 0
        self._forget()
        self.refresh()

    def __len__(self) -> int:
        return len(self.given)

    # ---- what is decided -----------------------------------------------------------------------------------

    def _forget(self) -> None:
        """Go back to what the data say."""
        n = len(self.given)
        self._version, self._head = 0, ""
        self._turns += 1
        self._label = self._given.copy()
        self._marked: dict[str, Mask] = {
            mark: np.zeros(n, dtype=np.bool_) for mark in MARKS if mark != "label"
        }
        self._reviewed = np.zeros(n, dtype=np.bool_)
        self._decided: dict[int, dict[Field, Event]] = {}

    def refresh(self) -> None:
        """Take in what was written to the journal since, by whatever process; quick where nothing was."""
        with self._lock:
            # The last event that is known is asked for again: if it is gone, another journal lies there.
            events = self.journal.events(after=max(self._version - 1, 0))
            if self._version:
                if not events or events[0].hash != self._head:
                    self._forget()
                    events = self.journal.events()
                else:
                    events = events[1:]
            if not self._version:
                check_chain(events, self.journal.path)
            if events:
                self._learn(events)

    def _learn(self, events: Sequence[Event]) -> None:
        known = [(i, event) for event in events if (i := self.index(event.sample_id)) is not None]
        self.digests.learn(i for i, _ in known)
        for i, event in known:
            if event.sha256 == self.sha256(i):
                self._apply(i, event)
        self._version, self._head = events[-1].seq, events[-1].hash

    def _apply(self, i: int, event: Event) -> None:
        """Let an event about this very content decide; the rule is that of `Corrections.find`."""
        if event.field == "review":
            if event.actor == self.actor:
                self._reviewed[i] = bool(event.new)
            return
        given = self.given.samples[i].label if event.field == "label" else ""
        holds = event.given == given and event.holds
        if event.field == "label":
            self._label[i] = self._names.code(event.new if holds else given)
        else:
            self._marked[event.field][i] = holds
        decided = self._decided.setdefault(i, {})
        decided.pop(event.field, None)
        if holds:
            decided[event.field] = event
        if not decided:
            del self._decided[i]

    @property
    def version(self) -> int:
        """Number of the last event that is taken in; rises with each write. 0 before the first."""
        return self._version

    @property
    def state(self) -> tuple[int, int]:
        """What changes whenever a query may choose other images, or in another order."""
        return self._version, self._turns

    @property
    def class_names(self) -> tuple[str, ...]:
        """Classes of the data, and those that corrections brought; sorted."""
        with self._lock:
            brought = {self._names[k] for k in np.unique(self._label).tolist()}
        return tuple(sorted({*self.given.class_names, *brought}))

    @property
    def splits(self) -> list[str]:
        """The parts into which the data put images; empty where they put none."""
        return sorted({*self._split_names} - {NO_SPLIT})

    def index(self, sample_id: str) -> int | None:
        """Return the number of an image by its id, or None if it is not here."""
        return self._number.get(sample_id)

    def label(self, i: int) -> str:
        """Return the label in force."""
        return self._names[int(self._label[i])]

    def is_excluded(self, i: int) -> bool:
        """Return whether the image is left out of training and evaluation."""
        return bool(self._marked["excluded"][i])

    def is_flagged(self, i: int) -> bool:
        """Return whether somebody wants the image looked at."""
        return bool(self._marked["flagged"][i])

    def sha256(self, i: int) -> str:
        """Return the hex SHA-256 of the file, read when first asked for; empty if it cannot be read."""
        return self.digests.get(i)

    def current(self) -> Dataset:
        """Return the dataset with the corrections in force, as `Dataset.load` gives it.

        Raises
        ------
        EmptyDataset
            If every image is excluded.
        """
        self.refresh()
        with self._lock:
            if self._current is None or self._current[0] != self._version:
                dataset = self.given
                if self.journal.path.exists():
                    hashed = tuple(
                        replace(sample, sha256=digest) if (digest := self.digests.known(i)) else sample
                        for i, sample in enumerate(dataset.samples)
                    )
                    dataset = Corrections.find(hashed, self.journal.path).corrected(dataset)
                self._current = (self._version, dataset)
            return self._current[1]

    # ---- what is laid beside -------------------------------------------------------------------------------

    def attach(
        self, name: str, predictions: Predictions, y_pred: NDArray[np.int64], *, shown: bool = True
    ) -> None:
        """Lay a run's predictions beside the images.

        Parameters
        ----------
        name
            Of the run; the same name again replaces it.
        predictions
            Of any images; those that are not here are passed over.
        y_pred
            int64 of shape (n_predictions,): the classes that the run decided for.
        shown
            Whether this is the run that is meant where none is named.
        """
        row = np.full(len(self), -1, dtype=np.int32)
        for k, sample_id in enumerate(predictions.sample_ids):
            if (i := self.index(sample_id)) is not None:
                row[i] = k
        with self._lock:
            self._runs[name] = Attached.lay(name, predictions, y_pred, self.given, row)
            self._runs.move_to_end(name)
            if shown or not self._shown:
                self._shown = name
            if len(self._runs) > MOST_RUNS:
                del self._runs[next(other for other in self._runs if other != self._shown)]
            self._turns += 1

    @property
    def predictions(self) -> Attached | None:
        """Those of the run that is shown."""
        return self.run("")

    def run(self, name: str) -> Attached | None:
        """Return an attached run by its name, the one that is shown for an empty name, or None."""
        with self._lock:
            return self._runs.get(name or self._shown)

    def attach_findings(self, findings: Sequence[Finding]) -> None:
        """Lay the findings of an audit beside the images, in place of those before."""
        found = Findings.lay(findings, self.index, len(self))
        with self._lock:
            self._found, self._audited = found, True
            self._turns += 1

    @property
    def has_findings(self) -> bool:
        """Whether an audit's findings are there, even if it found nothing."""
        return self._audited

    def findings(self, i: int) -> list[Finding]:
        """Return what the audit found about an image."""
        return self._found.about.get(i, [])

    # ---- questions -----------------------------------------------------------------------------------------

    def item(self, i: int, run: str = "") -> Json:
        """Return what a page shows of one image; see the operation `items`."""
        sample, attached = self.given.samples[i], self.run(run)
        told = attached.at(i) if attached else None
        score = float(self._found.suspicion[i])
        return {
            "i": i,
            "id": sample.id,
            "label": self.label(i),
            "given": sample.label,
            "excluded": self.is_excluded(i),
            "flagged": self.is_flagged(i),
            "split": sample.split,
            "predicted": told.predicted if told else None,
            "p": round(told.p, 4) if told else None,
            "correct": attached.is_right(i, self.label(i)) if attached else None,
            "findings": list(dict.fromkeys(finding.kind for finding in self.findings(i))),
            "suggested": self._found.suggested.get(i),
            "score": None if np.isnan(score) else score,
            "changed": bool(self._label[i] != self._given[i]),
            "reviewed": bool(self._reviewed[i]),
        }

    def select(self, query: Query) -> NDArray[np.int64]:
        """Return the numbers of the images that a query chooses now, in its order."""
        self.refresh()
        with self._lock:
            return order(query, self)

    def facets(self, query: Query) -> Json:
        """Return facet -> value -> how many images, among those that the query's other facets choose."""
        self.refresh()
        with self._lock:
            return count(query, self)

    def counts(self) -> dict[str, int]:
        """Return images per class by the labels in force, also of classes that have none."""
        with self._lock:
            found = self._names.column(self._label).counts(np.ones(len(self), dtype=np.bool_))
        return {name: found.get(name, 0) for name in self.class_names}

    # ---- columns, for queries ------------------------------------------------------------------------------

    def column(self, facet: str, run: str = "") -> Column | Marks:
        """Return what images are chosen by; `facet` is one of `tellapart.studio.query.FACETS`."""
        match facet:
            case "label":
                return self._names.column(self._label)
            case "given":
                return self._names.column(self._given)
            case "split":
                return self._split_names.column(self._split)
            case "finding":
                return Marks(self._found.kinds, len(self))
            case "by":
                return self._by()
            case "predicted" | "correct":
                return self._judged(facet, run)
        holds = {"changed": self._label != self._given, "reviewed": self._reviewed, **self._marked}
        return two_values(FIXED[facet], holds[facet])

    def _by(self) -> Column:
        actors, codes = Names(), np.full(len(self), -1, dtype=np.int32)
        for i, events in self._decided.items():
            codes[i] = actors.code(max(events.values(), key=lambda event: event.seq).actor)
        return actors.column(codes)

    def _judged(self, facet: str, run: str) -> Column:
        attached = self.run(run)
        if attached is None:
            return Column((), np.full(len(self), -1, dtype=np.int32))
        predicted = attached.predicted(self._names)
        if facet == "predicted":
            return self._names.column(predicted)
        label = attached.sees(self._label, self._names)
        return two_values(FIXED[facet], predicted == label, (predicted >= 0) & (label >= 0))

    def confidence(self, run: str = "") -> NDArray[np.float64]:
        """Return the probability of the predicted class, float64 of shape (n_images,); NaN if not known."""
        attached = self.run(run)
        return attached.confidence() if attached else np.full(len(self), np.nan)

    def plausibility(self, run: str = "") -> NDArray[np.float64]:
        """Return the probability of the label, float64 of shape (n_images,), the lower the odder.

        Of the label as given, from the audit, where it suspects the label; else of the label in force, from
        the run; NaN where neither says anything.
        """
        attached = self.run(run)
        if attached is None:
            return self._found.suspicion
        seen = attached.sees(self._label, self._names)
        found = attached.probability(seen, self._names)
        return np.where(np.isnan(self._found.suspicion), found, self._found.suspicion)

    def sizes(self) -> NDArray[np.float64]:
        """Return the files' bytes, float64 of shape (n_images,), asked of the disk once; NaN if not there."""
        with self._lock:
            if self._size is None:
                self._size = np.array([_bytes(sample.path) for sample in self.given.samples])
            return self._size


def _bytes(path: Path) -> float:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return np.nan
