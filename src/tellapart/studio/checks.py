"""The check of the data in the background, and its findings beside the images."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.studio.jobs import Job, place_of
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.pace import in_words
from tellapart.studio.trainings import environment
from tellapart.studio.wording import count

if TYPE_CHECKING:
    from tellapart.audit.findings import Severity
    from tellapart.studio.desk import Desk


def check_start(desk: "Desk", arguments: Arguments) -> Json:
    """Start ``tellapart check`` with the labels now in force."""
    desk.catalog.refresh()
    out = desk.arrivals.findings_file.resolve()
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
        ``counts`` by severity, ``changed``, the images decided on since, and ``found``, all that in words.
    """
    return _told(desk, Job.find(_folder(desk)))


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
    told |= in_words(told)
    if (known := desk.arrivals.findings()) is None:
        return told | {"checked_at": None}
    if told["state"] in ("none", "stopped"):
        told["state"] = "done"  # an earlier one, or one that ran elsewhere
    at = datetime.fromtimestamp(known.state[0] / 1e9, UTC).isoformat(timespec="milliseconds")
    return told | {
        "checked_at": at,
        "n_findings": sum(known.counts.values()),
        "counts": known.counts,
        "changed": (changed := _changed_since(desk, job, at)),
        "found": _found(known.counts, changed),
    }


def _found(counts: "Mapping[Severity, int]", changed: int) -> str:
    """Say how many findings there are, and of how many images it is no longer known whether they hold."""
    n = sum(counts.values())
    kinds = f"{count(counts['error'], 'error')}, {count(counts['warning'], 'warning')}"
    found = f"{count(n, 'finding')} ({kinds})" if n else "nothing found"
    return found + (f"; {count(changed, 'image')} changed since" if changed else "")


def _changed_since(desk: "Desk", job: Job | None, written: str) -> int:
    """Count the images on which something was decided since the check that wrote the findings began."""
    if job is not None and job.state == "done":
        events = desk.journal.events(after=job.version)
    else:
        events = [event for event in desk.journal.events() if event.at > written]
    return len({event.sample_id for event in events if event.field in ("label", "excluded")})
