"""The check of the data in the background, and its findings beside the images."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from tellapart.audit.findings import Finding, Severity
from tellapart.errors import DataError
from tellapart.studio.jobs import Job, place_of, stamp
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.trainings import environment

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

FINDINGS = "findings.json"

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


class Attached(NamedTuple):
    """The findings that lie beside the images: which file of them, and how many of each severity."""

    state: tuple[int, int]
    counts: dict[Severity, int]


_attached: WeakKeyDictionary["Desk", Attached] = WeakKeyDictionary()

_attaching = Lock()


def findings_file(desk: "Desk") -> Path:
    """Return where the findings lie, or will lie: as the user said, else in the cache."""
    return desk.findings or _folder(desk) / FINDINGS


def check_start(desk: "Desk", arguments: Arguments) -> Json:
    """Start ``tellapart check`` with the labels now in force."""
    desk.catalog.refresh()
    out = findings_file(desk).resolve()
    words = ("check", str(desk.data.resolve()), f"--json={out}")
    job = desk.jobs.start(
        "check",
        words,
        _folder(desk),
        out,
        actor=desk.actor,
        version=desk.catalog.version,
        environment=environment(desk),
    )
    return _told(desk, job)


def check_stop(desk: "Desk", arguments: Arguments) -> Json:
    """Stop the check under way; findings of an earlier one stay."""
    job = Job.find(_folder(desk))
    return _told(desk, desk.jobs.stop(job, desk.actor) if job is not None else None)


def check_state(desk: "Desk", arguments: Arguments) -> Json:
    """Tell how the check goes or went, and lay its findings beside the images when they are new.

    Returns
    -------
    dict
        ``state`` (``"none"``, ``"running"``, ``"done"``, ``"stopped"``, ``"failed"``), ``stages``,
        ``rate``, ``left_s``, ``error``; where there are findings, ``checked_at``, ``n_findings``,
        ``counts`` by severity, and ``changed``, the images decided on since.
    """
    return _told(desk, Job.find(_folder(desk)))


def attach_findings(desk: "Desk") -> Attached | None:
    """Lay what the last check found beside the images, if that is not done yet; for the start of a studio.

    Returns
    -------
    Attached
        What lies there now, or None before the first check.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    path = findings_file(desk)
    with _attaching:
        state, known = stamp(path), _attached.get(desk)
        if state is None or (known is not None and known.state == state):
            return known
        findings = _read(path)
        desk.catalog.attach_findings(findings)
        counts = Counter(finding.severity for finding in findings)
        _attached[desk] = Attached(state, {severity: counts[severity] for severity in SEVERITIES})
        return _attached[desk]


OPERATIONS: dict[str, Operation] = {
    "check_start": Operation(check_start, writes=True),
    "check_stop": Operation(check_stop, writes=True),
    "check_state": Operation(check_state),
}


def _folder(desk: "Desk") -> Path:
    return place_of(desk.data) / "check"


def _told(desk: "Desk", job: Job | None) -> Json:
    told: Json = {"state": "none", "stages": [], "rate": None, "left_s": None, "error": ""}
    if job is not None:
        told |= job.to_json()
    if (known := attach_findings(desk)) is None:
        return told | {"checked_at": None}
    if told["state"] in ("none", "stopped"):
        told["state"] = "done"  # an earlier one, or one that ran elsewhere
    at = datetime.fromtimestamp(known.state[0] / 1e9, UTC).isoformat(timespec="milliseconds")
    return told | {
        "checked_at": at,
        "n_findings": sum(known.counts.values()),
        "counts": known.counts,
        "changed": _changed_since(desk, job, at),
    }


def _changed_since(desk: "Desk", job: Job | None, written: str) -> int:
    """Count the images on which something was decided since the check that wrote the findings began."""
    if job is not None and job.state == "done":
        events = desk.journal.events(after=job.version)
    else:
        events = [event for event in desk.journal.events() if event.at > written]
    return len({event.sample_id for event in events if event.field in ("label", "excluded")})


def _read(path: Path) -> list[Finding]:
    try:
        entries = json.loads(path.read_bytes())["findings"]
        return [Finding(**{**entry, "sample_ids": tuple(entry["sample_ids"])}) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataError(
            f"{path} holds no findings ({exc}); write them anew with `tellapart check DATA --json {path}`"
        ) from exc
