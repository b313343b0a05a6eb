"""What a label journal says about the images of a dataset as they are now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.data.fetched import fetched_folder, finished_manifest
from tellapart.data.journal import Journal, journal_path
from tellapart.data.label_events import Event, Field, check_chain
from tellapart.data.manifest import MANIFEST_SUFFIXES
from tellapart.data.reader import hash_file, in_parallel
from tellapart.errors import EmptyDataset, JournalError
from tellapart.records import Sample, Skipped

if TYPE_CHECKING:
    from tellapart.data.dataset import Dataset

MARKS: tuple[Field, ...] = ("label", "excluded", "flagged")
"""What belongs to an image; a review belongs to a reviewer."""


@dataclass(frozen=True)
class Corrections:
    """The decisions in force, each by the event that made it.

    A decision is in force while the image has the same content under the same id, and while the data give
    it the same label, as when it was made.

    Attributes
    ----------
    journal
        Where they are written.
    seq, head
        Number and hash of the last event that was read; 0 and empty where there is none.
    label, excluded, flagged
        By image id.
    stale
        Decisions that are not in force because image or label have changed, or the image is gone; with
        the reason.
    """

    journal: Path
    seq: int
    head: str
    label: Mapping[str, Event]
    excluded: Mapping[str, Event]
    flagged: Mapping[str, Event]
    stale: tuple[Skipped, ...] = ()

    @classmethod
    def find(cls, samples: Sequence[Sample], journal: Path, *, until: int | None = None) -> "Corrections":
        """Read a journal, check its chain, and look up these images in it.

        Only images that the journal mentions are read, to know their content again.

        Parameters
        ----------
        samples
            As the data give them, without corrections.
        journal
            It need not exist.
        until
            Leave out the events above this `seq`: what was in force then.

        Raises
        ------
        JournalError
            If the journal cannot be read, or is not as it was written.
        """
        events = Journal(journal).events()
        head = check_chain(events, journal)
        if until is not None:
            events = [event for event in events if event.seq <= until]
            head = events[-1].hash if events else ""
        decisions = _decisions(events)
        found: dict[str, dict[str, Event]] = {field: {} for field in MARKS}
        stale: list[Skipped] = []
        touched = [sample for sample in samples if sample.id in decisions]
        for sample, digest in zip(touched, in_parallel(hash_file, touched), strict=True):
            mine = decisions.pop(sample.id)
            for (field, content), event in mine.items():
                if content == digest and event.given == (sample.label if field == "label" else ""):
                    found[field][sample.id] = event
                elif content != digest and (field, digest) not in mine:
                    stale.append(_not_in_force(event, "the image has changed since"))
                elif content == digest and event.new != sample.label:
                    now = f"the data gave {event.given!r} then, and give {sample.label!r} now"
                    stale.append(_not_in_force(event, now))
        gone = [event for mine in decisions.values() for event in mine.values()]
        stale += [_not_in_force(event, "no such image is among the data") for event in gone]
        seq = events[-1].seq if events else 0
        return cls(journal, seq, head, **found, stale=tuple(sorted(stale, key=lambda note: note.path)))

    def event(self, sample_id: str, field: Field) -> Event | None:
        """Return the event that decides a field of an image, if one is in force."""
        decisions: Mapping[str, Event] = getattr(self, field)
        return decisions.get(sample_id)

    def last(self, sample_id: str) -> Event | None:
        """Return the latest event in force on an image, if there is one."""
        events = [event for field in MARKS if (event := self.event(sample_id, field))]
        return max(events, key=lambda event: event.seq, default=None)

    def value(self, sample: Sample, field: Field) -> str:
        """Return what is in force: a class name, or ``"yes"`` or nothing.

        Parameters
        ----------
        sample
            As the data give it.
        """
        event = self.event(sample.id, field)
        if event is not None:
            return event.new
        return sample.label if field == "label" else ""

    def corrected(self, dataset: "Dataset") -> "Dataset":
        """Return the dataset with labels as decided, and excluded images in the ledger with who and why.

        Parameters
        ----------
        dataset
            As the data give it.

        Raises
        ------
        EmptyDataset
            If every image is excluded.
        """
        samples = tuple(
            replace(sample, label=self.label[sample.id].new, sha256=self.label[sample.id].sha256 or None)
            if sample.id in self.label
            else sample
            for sample in dataset.samples
        )
        kept = replace(dataset, samples=samples, corrections=self).without(
            {key: exclusion_reason(event) for key, event in self.excluded.items()}
        )
        if not kept.samples:
            raise EmptyDataset(
                f"every image of {dataset.root} is excluded in {self.journal}; "
                "`tellapart label history` says by whom"
            )
        return replace(kept, class_names=tuple(sorted({sample.label for sample in kept.samples})))


def as_given(data: Path | str) -> "Dataset":
    """Read DATA, a folder or a manifest, without its corrections.

    A folder of downloaded images is read by the manifest in it.

    Raises
    ------
    ManifestError
        If a manifest cannot be used, or lacks images because a download did not end.
    EmptyDataset
        If there is no image.
    """
    from tellapart.data.dataset import Dataset

    path = Path(data)
    fetched = fetched_folder(path)
    if fetched is not None:
        path = finished_manifest(fetched) or fetched
    is_manifest = path.suffix.lower() in MANIFEST_SUFFIXES and not path.is_dir()
    return Dataset.from_manifest(path) if is_manifest else Dataset.from_folder(path)


def load_corrected(data: Path | str, journal: Path | str | None = None) -> "Dataset":
    """Read DATA with the corrections in `journal`, by default in the one of `journal_path`.

    Raises
    ------
    JournalError
        If the journal cannot be read, is not as it was written, or was named and does not exist.
    """
    dataset = as_given(data)
    place = journal_path(data, journal)
    if place.exists():
        return Corrections.find(dataset.samples, place).corrected(dataset)
    if journal is not None:
        raise JournalError(f"no journal of labels at {place}")
    return dataset


def exclusion_reason(event: Event) -> str:
    """Return what the ledger says of an excluded image."""
    return f"excluded by {event.actor} on {event.day}" + (f": {event.why}" if event.why else "")


def _decisions(events: Iterable[Event]) -> dict[str, dict[tuple[str, str], Event]]:
    """Return image id -> (field, content) -> the last event, where that differs from what the data give."""
    last: dict[str, dict[tuple[str, str], Event]] = defaultdict(dict)
    for event in events:
        if event.field in MARKS:
            last[event.sample_id][event.field, event.sha256] = event
    held = {key: {about: event for about, event in mine.items() if event.holds} for key, mine in last.items()}
    return {key: mine for key, mine in held.items() if mine}


def _not_in_force(event: Event, reason: str) -> Skipped:
    what = f"label {event.new!r}" if event.field == "label" else event.field
    return Skipped(event.sample_id, f"{what}, by {event.actor} on {event.day}, is not in force: {reason}")
