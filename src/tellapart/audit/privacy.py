"""What the metadata of a dataset's files give away of a person or place, and copies without them."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from tellapart.audit.findings import Finding, Severity
from tellapart.audit.looks import Look
from tellapart.audit.metadata import clean
from tellapart.data.dataset import Dataset
from tellapart.data.files import write_atomically
from tellapart.data.reader import fetch, in_parallel
from tellapart.errors import ConfigError, UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample

_CLUES: Mapping[str, tuple[Severity, str]] = {
    "place": ("warning", "tell where a picture was taken"),
    "person": ("warning", "name a person or owner"),
    "device": ("warning", "give the serial number or name of a camera or computer, which has an owner"),
    "text": ("note", "hold a title, description or comment, which may name anybody"),
    "time": ("note", "tell when a picture was taken, which in an appointment book can be a name"),
    "unreadable": ("note", "are damaged, so that nobody can say what they hold"),
}
"""Kind of clue, as in `Look.clues` -> how grave it is, and what such metadata do."""


def findings(dataset: Dataset, looks: Sequence[Look]) -> list[Finding]:
    """Return one finding per kind of clue that some file holds.

    A place, a name and a serial number are warnings; texts and times, which most cameras write and few
    readers can use, are notes.

    Parameters
    ----------
    looks
        One per sample, in the dataset's order.
    """
    found = []
    for kind, (severity, says) in _CLUES.items():
        ids = tuple(s.id for s, look in zip(dataset.samples, looks, strict=True) if kind in look.clues)
        if ids:
            files = "1 file" if len(ids) == 1 else f"{len(ids)} files"
            message = (
                f"metadata that {says}, in {files}: before sharing, write clean copies with "
                "`tellapart check DATA --strip DIR`"
            )
            found.append(Finding(f"{kind} in metadata", severity, message, ids))
    return found


def strip(dataset: Dataset, out: Path, *, progress: Progress = SILENT) -> Dataset:
    """Write copies without metadata, whose pixels are the same bit by bit, and return them as a dataset.

    JPEG and PNG files are not encoded again: everything but the picture is cut out, second pictures and
    what is hidden behind the end included; only the orientation stays, and the colour profile. Other
    formats, and files too odd for that, become PNG files, named ``NAME.SUFFIX.png``.

    Besides the pictures, laid out like their ids, `out` gets a ``manifest.csv`` with the labels, splits,
    groups and metadata columns of the dataset as they are; it can be loaded by itself.

    Parameters
    ----------
    out
        A new or empty folder.

    Returns
    -------
    Dataset
        The copies; files that cannot be read are in its ledger.

    Raises
    ------
    ConfigError
        If `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; clean copies go into a new folder")
    copies: list[Sample] = []
    bad: dict[str, str] = {}
    with progress.track("stripping", len(dataset)) as advance:
        for sample, (suffix, content, reason) in zip(
            dataset.samples, in_parallel(_clean_file, dataset.samples), strict=True
        ):
            advance(1)
            if reason is None:
                copies.append(_write_copy(sample, sample.id + suffix, content, out))
            else:
                bad[sample.id] = reason
    copies.sort(key=lambda sample: sample.id)
    _write_manifest(copies, out)
    ledger = dataset.without(bad).ledger
    return replace(dataset, samples=tuple(copies), ledger=ledger, root=out)


def _clean_file(sample: Sample) -> tuple[str, bytes, str | None]:
    """Return what to add to the name, the clean content, and None or why there is none."""
    _, content, reason = fetch(sample)
    if reason is not None:
        return "", b"", reason
    try:
        return *clean(content), None
    except UnreadableImage as exc:
        return "", b"", str(exc)


def _write_copy(sample: Sample, id: str, content: bytes, out: Path) -> Sample:
    place = PurePath(id)
    # A manifest may name images above its folder or anywhere: their copies stay in `out` all the same.
    parts = tuple("_" if part in ("..", place.anchor) else part for part in place.parts)
    copy = PurePath(*parts)
    while (out / copy).exists():  # two names may become one, or be one to this file system
        copy = copy.with_stem(f"{copy.stem}_")
    write_atomically(out / copy, content)
    return replace(sample, id=copy.as_posix(), path=out / copy, sha256=None)


def _write_manifest(samples: Sequence[Sample], out: Path) -> None:
    columns = sorted({column for sample in samples for column in sample.metadata})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group", *columns])
    for s in samples:
        row = [s.id, s.label, s.split or "", s.group or "", *(s.metadata.get(c, "") for c in columns)]
        writer.writerow(row)
    write_atomically(out / "manifest.csv", text.getvalue().encode())
