"""What the metadata of a dataset's files give away of a person or place."""

from collections.abc import Mapping, Sequence

from tellapart.audit.findings import Finding, Severity
from tellapart.audit.looks import Look
from tellapart.data.dataset import Dataset

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
