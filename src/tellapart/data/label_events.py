"""What is written in the label journal: changes that somebody wants, and events that took place."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from tellapart.errors import ConfigError, JournalError, LabelConflict

Field = Literal["label", "excluded", "flagged", "review"]
"""What an event decides. A label in force trains; so does no excluded image. A flag only marks. A review is
one reviewer's own answer, beside those of others, and changes no label."""

YES = "yes"
"""The value of ``excluded`` and ``flagged`` where they hold; else they are empty."""

MOST_TEXT = 4096
"""Characters in a name, a label or a reason."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a writer wants to be so.

    Attributes
    ----------
    sample_id
        As `Sample.id`.
    field
        See `Field`.
    old, new
        What the writer saw, and what shall be: a class name, `YES` or nothing.
    given
        For a label, the one that the data themselves give; nothing for other fields.
    sha256
        Of the image that the writer saw; nothing where it cannot be read.
    why
        In the writer's words.
    """

    sample_id: str
    field: Field
    old: str
    new: str
    given: str = ""
    sha256: str = ""
    why: str = ""


class Event(NamedTuple):
    """One change as it was written: a row of the table, and made six times as fast as a dataclass.

    Attributes
    ----------
    seq
        From 1, without gaps.
    batch
        From 1; events written together share it, and are undone together.
    at
        ISO 8601 in UTC, to the millisecond.
    actor, session
        Who, and in which window or program.
    source
        By what: ``"key"``, ``"bulk"``, ``"suggestion"``, ``"import"``, ``"undo"`` and the like.
    model
        Id of the model whose suggestion it was, if any.
    undoes
        The batch that this one takes back, else 0.
    sample_id, field, old, new, given, sha256, why
        As in `Change`.
    previous, hash
        Hex SHA-256 of the event before (nothing for the first), and of this one with all its columns.
    """

    seq: int
    batch: int
    at: str
    actor: str
    session: str
    source: str
    model: str
    undoes: int
    sample_id: str
    field: Field
    old: str
    new: str
    given: str
    sha256: str
    why: str
    previous: str
    hash: str

    @property
    def holds(self) -> bool:
        """Whether it makes a difference to what the data themselves say."""
        return self.new != self.given

    @property
    def day(self) -> str:
        """The date, in UTC."""
        return self.at[:10]

    @property
    def digest(self) -> str:
        """What `hash` must be."""
        text = json.dumps(self[:-1], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def sealed(self) -> "Event":
        """Return the event with its `hash`."""
        return self._replace(hash=self.digest)


@dataclass(frozen=True, slots=True)
class Clash:
    """A change that does not fit, what stands there instead, and the event that put it there, if one did."""

    change: Change
    found: str
    event: Event | None

    def __str__(self) -> str:
        who = f" (by {self.event.actor}, {self.event.at[:16]})" if self.event else ""
        found, expected = self.found or "blank", self.change.old or "blank"
        return f"{self.change.sample_id}: {self.change.field} is {found}{who}, not {expected}"


@dataclass(frozen=True, slots=True)
class Batch:
    """What was written together.

    Attributes
    ----------
    undone
        Whether a later batch has taken it back, and was not taken back itself.
    counts
        Events by field.
    number, at, actor, source, undoes, why
        As its first event has them.
    """

    undone: bool
    counts: Mapping[str, int]
    number: int
    at: str
    actor: str
    source: str
    undoes: int
    why: str


def conflict(clashes: Sequence[Clash]) -> LabelConflict:
    """Return the error that names the first few clashes and carries all."""
    more = f"; and {len(clashes) - 3} more" if len(clashes) > 3 else ""
    told = "; ".join(map(str, clashes[:3]))
    error = LabelConflict(f"nothing was written: {told}{more}; look again, then repeat")
    error.clashes = tuple(clashes)
    return error


def check_chain(events: Sequence[Event], path: Path, anchor: str | None = None) -> str:
    """Return the last hash of a whole journal's events; empty where there is none.

    Raises
    ------
    JournalError
        If an event was changed, removed or put in, or no event's hash begins with `anchor`.
    """
    head = ""
    for event in events:
        if (event.previous, event.hash) != (head, event.digest):
            raise JournalError(
                f"{path}: event {event.seq} is not as it was written, or one before it was removed; "
                "put back a copy of the file from before, or set it aside and import labels anew"
            )
        head = event.hash
    if anchor is not None:
        if len(anchor) < 8:
            raise ConfigError(f"the hash {anchor!r} is too short; give at least its first 8 digits")
        if not any(event.hash.startswith(anchor.lower()) for event in events):
            raise JournalError(
                f"{path}: no event has the hash {anchor}: events were cut off, or all replaced"
            )
    return head


def checked(change: Change) -> Change:
    """Return the change if it can be written.

    Raises
    ------
    ConfigError
        If it cannot.
    """
    if change.field not in get_args(Field):
        raise ConfigError(f"{change.field!r} cannot be changed; accepted: {', '.join(get_args(Field))}")
    for name, text in (("image", change.sample_id), ("reason", change.why), (change.field, change.new)):
        check_text(name, text, empty=name not in ("image", "label"))
    if change.field in ("excluded", "flagged") and change.new not in ("", YES):
        raise ConfigError(f"{change.field} is {change.new!r}; accepted: {YES!r} or nothing")
    if change.new == change.old:
        raise ConfigError(f"{change.sample_id}: {change.field} is {change.new!r} already")
    return change


def check_text(name: str, text: str, *, empty: bool) -> None:
    """Raise unless the text can be written.

    Raises
    ------
    ConfigError
        If it is blank (unless it may be empty), too long, or not Unicode.
    """
    if not text and empty:
        return
    if not text.strip() or len(text) > MOST_TEXT:
        raise ConfigError(f"the {name} has {len(text)} characters; accepted: 1 to {MOST_TEXT}, not all blank")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise ConfigError(f"the {name} {text!r} is not valid text") from exc
