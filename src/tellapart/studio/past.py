"""Every label event, what two moments differ in, and taking the labels elsewhere."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tellapart.data import label_sheet
from tellapart.data.corrections import Corrections
from tellapart.data.label_events import Batch, Event
from tellapart.errors import ConfigError, JournalError
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.wording import moved

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

MOST_BATCHES = 1000
"""Batches that one answer lists."""

MOST_EXAMPLES = 6
"""Images that are named of each batch."""

MOST_ROWS = 500
"""Images that a difference lists; all are counted."""


def history(desk: "Desk", arguments: Arguments) -> Json:
    """Return the batches, the newest first; of one person, or that concern one class, if given.

    Arguments: `actor`, `class`; `start` and `count` (at most `MOST_BATCHES`) of what is listed, for ``total``
    tells how many there are.
    """
    start = arguments.integer("start", 0)
    count = arguments.integer("count", 50, low=1, high=MOST_BATCHES)
    actor, class_name = arguments.text("actor", ""), arguments.text("class", "")
    batches = desk.journal.batches()
    concerned = _concerned(desk, class_name) if class_name else None
    found = [
        batch
        for batch in reversed(batches)
        if actor in ("", batch.actor) and (concerned is None or batch.number in concerned)
    ]
    return {
        "total": len(found),
        "actors": sorted({batch.actor for batch in batches}),
        "batches": [_row(desk, batch) for batch in found[start : start + count]],
    }


def verify(desk: "Desk", arguments: Arguments) -> Json:
    """Check every event against its hash; `anchor` is a hash written down earlier, which must still be there.

    What is wrong is told, not raised: ``problem`` is empty for a journal that is as it was written.
    """
    anchor = arguments.text("anchor", "").strip() or None
    try:
        head = desk.journal.verify(anchor)
    except JournalError as exc:
        return {"problem": str(exc), "head": "", "events": 0}
    desk.catalog.refresh()
    return {"problem": "", "head": head, "events": desk.catalog.version}


def label_diff(desk: "Desk", arguments: Arguments) -> Json:
    """Say what is otherwise at the moment `until`, by default now, than at `since`; both in ISO 8601."""
    since = _moment(arguments.text("since"))
    until = _moment(arguments.text("until")) if arguments.has("until") else datetime.now(UTC)
    if since > until:
        raise ConfigError("the first moment is later than the second; swap them")
    first: dict[tuple[str, str], Event] = {}
    last: dict[tuple[str, str], Event] = {}
    for event in desk.journal.events():
        if event.field != "review" and since < datetime.fromisoformat(event.at) <= until:
            first.setdefault((event.sample_id, event.field), event)
            last[event.sample_id, event.field] = event
    changed = [(first[key].old, event) for key, event in sorted(last.items()) if first[key].old != event.new]
    return {
        "total": len(changed),
        "moves": _moves((event.field, old, event.new) for old, event in changed),
        "rows": [
            {
                "i": desk.catalog.index(event.sample_id),
                "id": event.sample_id,
                "field": event.field,
                "before": old,
                "after": event.new,
                "says": moved(event.field, old, event.new),
                "by": event.actor,
                "at": event.at,
            }
            for old, event in changed[:MOST_ROWS]
        ],
    }


def export_labels(desk: "Desk", arguments: Arguments) -> Json:
    """Return a table as CSV text: the labels in force, for ``tellapart label import``, or all events."""
    what = arguments.one_of("what", ("labels", "events"), "labels")
    if what == "events":
        return {"name": "label-events.csv", "csv": _as_csv(desk.journal.events())}
    now = Corrections.find(desk.given.samples, desk.journal.path)
    return {"name": "labels.csv", "csv": label_sheet.to_csv(desk.given.samples, now)}


def _concerned(desk: "Desk", class_name: str) -> set[int]:
    """Return the numbers of the batches that set or replace a class, or mark an image that is of it now."""
    found = set()
    for event in desk.journal.events():
        if event.field in ("label", "review"):
            concerned = class_name in (event.old, event.new)
        else:
            i = desk.catalog.index(event.sample_id)
            concerned = i is not None and desk.catalog.label(i) == class_name
        if concerned:
            found.add(event.batch)
    return found


def _row(desk: "Desk", batch: Batch) -> Json:
    events = desk.journal.events(batch=batch.number)
    names = list(dict.fromkeys(event.sample_id for event in events))
    shown = [{"i": desk.catalog.index(name), "id": name} for name in names[:MOST_EXAMPLES]]
    return {
        "batch": batch.number,
        "at": batch.at,
        "actor": batch.actor,
        "source": batch.source,
        "undoes": batch.undoes,
        "undone": batch.undone,
        "why": batch.why,
        "says": f"undo of {batch.undoes}"
        if batch.undoes
        else f"{batch.source}{f' · “{batch.why}”' if batch.why else ''}",
        "model": events[0].model,
        "n": len(names),
        "images": shown,
        "moves": _moves((event.field, event.old, event.new) for event in events),
    }


def _moves(changes: Iterable[tuple[str, str, str]]) -> list[Json]:
    """Count equal changes, the most frequent first, and say them in words."""
    counts: Mapping[tuple[str, str, str], int] = Counter(changes)
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        {"field": field, "old": old, "new": new, "n": n, "says": moved(field, old, new, n)}
        for (field, old, new), n in rows
    ]


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise ConfigError(f"{text!r} is no moment; write it as 2031-05-27T14:30") from exc
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _as_csv(events: Sequence[Event]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Event._fields)
    writer.writerows(events)
    return text.getvalue()


OPERATIONS: dict[str, Operation] = {
    "history": Operation(history),
    "verify": Operation(verify),
    "label_diff": Operation(label_diff),
    "export_labels": Operation(export_labels),
}
