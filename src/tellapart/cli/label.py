"""`tellapart label`: correct labels without a browser."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tellapart.cli.options import Data
from tellapart.cli.terminal import MOST_SKIPPED, Bars, printable, tell

if TYPE_CHECKING:
    from tellapart.data.corrections import Corrections
    from tellapart.data.dataset import Dataset
    from tellapart.data.label_events import Batch, Event

app = typer.Typer(
    help="Correct labels in a journal beside the data; the images and their folders stay as they are.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

JournalFile = Annotated[
    Path | None,
    typer.Option(
        "--journal", metavar="FILE", help="Default $TELLAPART_JOURNAL, else a file that lies with DATA."
    ),
]
User = Annotated[str | None, typer.Option(metavar="NAME", help="Who decides; default you.")]
Why = Annotated[str, typer.Option(metavar="TEXT", help="The reason, kept in the journal.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def export(
    data: Data,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Default: the terminal.")] = None,
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Only images that somebody has decided on.")
    ] = False,
    journal: JournalFile = None,
) -> int:
    """Write the labels in force as CSV, to edit in a spreadsheet and import."""
    from tellapart.data import label_sheet
    from tellapart.data.files import write_atomically
    from tellapart.errors import ConfigError

    if out is not None and out.is_dir():
        raise ConfigError(f"{out} is a folder; --out takes the name of a file, such as labels.csv")
    dataset, now = _read(data, journal)
    text = label_sheet.to_csv(dataset.samples, now, only_corrected=corrected)
    if out is None:
        sys.stdout.write(text)
    else:
        write_atomically(out, text.encode())
        tell(f"labels of {text.count(chr(10)) - 1} images in {printable(str(out))}")
    return 0


@app.command("import")
def import_(
    data: Data,
    table: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with path and label; see export.")],
    user: User = None,
    why: Why = "",
    new_class: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL", help="Accept a class that is new; may be repeated."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also where others have changed a label since the export.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would change, change nothing.")
    ] = False,
    journal: JournalFile = None,
) -> int:
    """Take over what FILE says otherwise: label, excluded (yes or blank), flagged; all of it or nothing."""
    from tellapart.data import label_sheet
    from tellapart.data.journal import Journal
    from tellapart.process import this_user

    dataset, now = _read(data, journal)
    rows = label_sheet.read_csv(table)
    changes = label_sheet.changes(
        rows, dataset, now, new_classes=new_class or (), overwrite=overwrite, why=why
    )
    if not changes:
        tell("nothing to change: the labels in force say the same")
        return 0
    told = _counted(change.field for change in changes)
    if dry_run:
        for change in changes:
            tell(printable(f"{change.sample_id}: {change.field} {_from_to(change.old, change.new)}"))
        tell(f"would change {told}")
        return 0
    events = Journal(now.journal).write(changes, actor=user or this_user(), source="import")
    tell(f"batch {events[0].batch}: {told}; `tellapart label undo` takes it back")
    return 0


@app.command()
def history(
    data: Data,
    image: Annotated[
        str | None, typer.Option(metavar="PATH", help="Every event of one image, as export names it.")
    ] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Every event of one batch.")] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="HASH", help="Check that a hash shown earlier is still there.")
    ] = None,
    journal: JournalFile = None,
    as_json: AsJson = False,
) -> int:
    """Say who changed what, when and why; and whether the journal is as it was written."""
    from dataclasses import asdict

    from tellapart.data.journal import Journal, journal_path

    book = Journal(journal_path(data, journal))
    if image is not None or batch is not None:
        events = book.events(sample_id=image, batch=batch)
        rows, lines = [event._asdict() for event in events], [_event_line(event) for event in events]
    else:
        batches = book.batches()
        rows, lines = [asdict(one) for one in batches], [_batch_line(one) for one in batches]
    if as_json:
        tell(json.dumps(rows, indent=2))
    else:
        for line in lines:
            tell(printable(line))
    head = book.verify(anchor)
    if as_json:
        return 0
    if not head:
        tell(f"no journal yet: {book.path}")
    else:
        tell(
            f"unbroken up to hash {head[:16]}; keep it, to show later with --anchor that nothing was cut off"
        )
    return 0


@app.command()
def undo(
    data: Data,
    batch: Annotated[
        int | None, typer.Argument(metavar="[BATCH]", help="As history numbers them; default your last.")
    ] = None,
    user: User = None,
    why: Why = "",
    journal: JournalFile = None,
) -> int:
    """Take back what was written together; the undo is kept too, and can be undone."""
    from tellapart.data.journal import Journal, journal_path
    from tellapart.process import this_user

    book = Journal(journal_path(data, journal))
    events = book.undo(batch, actor=user or this_user(), why=why)
    told = _counted(event.field for event in events)
    tell(f"batch {events[0].batch}: batch {events[0].undoes} is undone ({told})")
    return 0


def show_corrections(now: "Corrections") -> None:
    """Say on standard error how many decisions are in force, and name those that are not."""
    say = Bars().say
    counts = {"relabelled": now.label, "excluded": now.excluded, "flagged": now.flagged}
    told = ", ".join(f"{len(decisions)} {name}" for name, decisions in counts.items() if decisions)
    if told:
        say(f"labels corrected by {printable(str(now.journal))}: {told}")
    for note in now.stale[:MOST_SKIPPED]:
        say(f"  {printable(note.path)}: {printable(note.reason)}")
    if len(now.stale) > MOST_SKIPPED:
        say(f"  … and {len(now.stale) - MOST_SKIPPED} more")


def _read(data: Path, journal: Path | None) -> "tuple[Dataset, Corrections]":
    from tellapart.data.corrections import Corrections, as_given
    from tellapart.data.journal import journal_path

    dataset = as_given(data)
    now = Corrections.find(dataset.samples, journal_path(data, journal))
    show_corrections(now)
    return dataset, now


def _batch_line(batch: "Batch") -> str:
    action = f"undo of {batch.undoes}" if batch.undoes else batch.source
    parts = (f"{batch.number:>5}  {_minute(batch.at)}  {batch.actor:<12}", action, _named(batch.counts))
    state = "undone" if batch.undone else ""
    return "  ".join(part for part in (*parts, state, batch.why) if part)


def _event_line(event: "Event") -> str:
    change = f"{event.field} {_from_to(event.old, event.new)}"
    parts = (
        f"{event.batch:>5}  {_minute(event.at)}  {event.actor:<12}",
        event.source,
        event.sample_id,
        change,
    )
    return "  ".join(part for part in (*parts, event.why) if part)


def _minute(at: str) -> str:
    return f"{at[:10]} {at[11:16]} UTC"


def _from_to(old: str, new: str) -> str:
    return f"{old or 'no'} → {new or 'no'}"


def _counted(fields: Iterable[str]) -> str:
    return _named(Counter(fields))


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {_CHANGES[field][n != 1]}" for field, n in counts.items())


_CHANGES = {
    "label": ("label", "labels"),
    "excluded": ("exclusion", "exclusions"),
    "flagged": ("flag", "flags"),
    "review": ("review", "reviews"),
}
