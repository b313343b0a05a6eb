"""Writing labels and marks, undoing them, and telling every window what has changed.

What a page wants written it sends with what it saw. The journal compares the two in the transaction that
writes, so that of two people who change one image the second gets a conflict, and nobody's change is lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, get_args

from tellapart.data.label_events import YES, Batch, Change, Clash, Event, Field, conflict
from tellapart.data.scan import portable_id
from tellapart.errors import ConfigError
from tellapart.studio.operation import Arguments, Json, Operation

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

FIELDS: tuple[Field, ...] = get_args(Field)

SOURCES = ("key", "bulk", "suggestion", "cluster")
"""By what a page's user wrote."""

MOST_TOLD = 500
"""Images of which an answer tells how they are now; of more it tells how many they are."""


class Wish(NamedTuple):
    """What somebody wants to be so of one image: which, what they saw there, and what shall be."""

    i: int
    field: Field
    seen: str
    new: str


@dataclass(frozen=True)
class Note:
    """What is kept with a batch, besides who and when: see `Event`."""

    source: str
    why: str = ""
    window: str = ""

    @classmethod
    def read(cls, arguments: Arguments, source: str) -> "Note":
        """Take reason and window from an operation's arguments."""
        return cls(source, arguments.text("why", ""), arguments.text("window", ""))


def write(desk: "Desk", arguments: Arguments) -> Json:
    """Set one field of some images to `new`, as one batch."""
    numbers, seen = arguments.integers("items"), arguments.texts("seen")
    if len(numbers) != len(seen):
        raise ConfigError(f"{len(numbers)} images, but {len(seen)} values seen; give one for each")
    field = next(name for name in FIELDS if name == arguments.one_of("field", FIELDS))
    new = arguments.text("new")
    if field == "label":
        new = portable_id(new.strip())
    note = Note.read(arguments, arguments.one_of("source", SOURCES, "key"))
    return commit(desk, [Wish(i, field, old, new) for i, old in zip(numbers, seen, strict=True)], note)


def undo(desk: "Desk", arguments: Arguments) -> Json:
    """Take back a batch, by default the last of this desk's actor that stands.

    With `redo`, take back that actor's last undo, if they have written nothing since.
    """
    batch: int | None = arguments.integer("batch", low=1) if arguments.has("batch") else None
    if arguments.flag("redo", False):
        batch = _to_redo(desk.journal.batches(), desk.actor)
    why, window = arguments.text("why", ""), arguments.text("window", "")
    events = desk.journal.undo(batch, actor=desk.actor, why=why, session=window)
    return {"undid": events[0].undoes, **_told(desk, _concerned(desk, events), events)}


def changes(desk: "Desk", arguments: Arguments) -> Json:
    """Say what has changed since an event, by whatever window or program.

    `version` is the last event that is told of: what to ask after next.
    """
    after = arguments.integer("after")
    events = desk.journal.events(after=after)
    # Not the catalog's version: it may know of events that were written after these had been read.
    version = events[-1].seq if events else after
    return {**_told(desk, _concerned(desk, events), events), "version": version}


def commit(desk: "Desk", wishes: Sequence[Wish], note: Note) -> Json:
    """Write what is wanted as one batch, or nothing; what is so already makes no event.

    Returns
    -------
    dict
        ``batch`` (None where nothing was to be written), ``version``, ``n`` images concerned, and ``items``,
        the first `MOST_TOLD` of them as they are now.

    Raises
    ------
    LabelConflict
        If an image is not what the writer saw, even where they want it to stay as they saw it.
    ConfigError
        If there is no such image, or a value is none that the field can have.
    """
    check_numbers(desk, [wish.i for wish in wishes])
    if len({(wish.i, wish.field) for wish in wishes}) < len(wishes):
        raise ConfigError("an image is named twice; name each once")
    refuse_stale(desk, [wish for wish in wishes if wish.seen == wish.new])
    wanted = [wish for wish in wishes if wish.seen != wish.new]
    written = desk.journal.write(
        _as_changes(desk, wanted, note.why), actor=desk.actor, source=note.source, session=note.window
    )
    return _told(desk, list(dict.fromkeys(wish.i for wish in wishes)), written)


def refuse_stale(desk: "Desk", wishes: Sequence[Wish]) -> None:
    """Raise `LabelConflict` if a label, exclusion or flag is not what somebody saw."""
    if not wishes:
        return
    desk.catalog.refresh()
    now = [(wish, in_force(desk, wish.i, wish.field)) for wish in wishes]
    stale = {wish: found for wish, found in now if found is not None and found != wish.seen}
    if stale:
        last = {(event.sample_id, event.field): event for event in desk.journal.events()}
        changes = _as_changes(desk, list(stale), "")
        raise conflict(
            [
                Clash(change, found, last.get((change.sample_id, change.field)))
                for change, found in zip(changes, stale.values(), strict=True)
            ]
        )


def in_force(desk: "Desk", i: int, field: Field) -> str | None:
    """Return the value of a field now; None for a review, which every reviewer has their own of."""
    catalog = desk.catalog
    if field == "review":
        return None
    if field == "label":
        return catalog.label(i)
    holds = catalog.is_excluded(i) if field == "excluded" else catalog.is_flagged(i)
    return YES if holds else ""


def check_numbers(desk: "Desk", numbers: Iterable[int]) -> None:
    """Raise `ConfigError` if there is no image of one of these numbers."""
    for i in numbers:
        if not 0 <= i < len(desk.catalog):
            raise ConfigError(f"there is no image number {i}; they go from 0 to {len(desk.catalog) - 1}")


def _as_changes(desk: "Desk", wishes: Sequence[Wish], why: str) -> list[Change]:
    samples, digests = desk.given.samples, desk.catalog.digests
    digests.learn(wish.i for wish in wishes)
    return [
        Change(
            samples[wish.i].id,
            wish.field,
            wish.seen,
            wish.new,
            samples[wish.i].label if wish.field == "label" else "",
            digests.get(wish.i),
            why,
        )
        for wish in wishes
    ]


def _concerned(desk: "Desk", events: Sequence[Event]) -> list[int]:
    """Return the images that events are about, each once; what is no longer among the data is left out."""
    numbers = (desk.catalog.index(sample_id) for sample_id in dict.fromkeys(e.sample_id for e in events))
    return [i for i in numbers if i is not None]


def _told(desk: "Desk", numbers: Sequence[int], events: Sequence[Event]) -> Json:
    desk.catalog.refresh()
    return {
        "batch": events[-1].batch if events else None,
        "version": desk.catalog.version,
        "n": len(numbers),
        "items": [desk.catalog.item(i) for i in numbers[:MOST_TOLD]],
    }


def _to_redo(batches: Sequence[Batch], actor: str) -> int:
    """Return the undo to take back: the actor's last that stands, and that nothing of theirs followed."""
    by_number = {batch.number: batch for batch in batches}
    for batch in reversed(batches):
        if batch.actor != actor or batch.undone:
            continue
        if not batch.undoes:
            break  # what was undone before this is no longer next
        if _is_undo(batch, by_number):
            return batch.number
    raise ConfigError(f"nothing to redo: {actor} has undone nothing since their last change")


def _is_undo(batch: Batch, by_number: Mapping[int, Batch]) -> bool:
    """Return whether the batch takes back an ordinary one: the undo of an undo is a redo."""
    turns = 0
    while batch.undoes:
        batch, turns = by_number[batch.undoes], turns + 1
    return turns % 2 == 1


OPERATIONS: dict[str, Operation] = {
    "write": Operation(write, writes=True),
    "undo": Operation(undo, writes=True),
    "changes": Operation(changes),
}
