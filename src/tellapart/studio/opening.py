"""From what a user names to a desk: a folder, a manifest, or a run that says what it was trained on."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tellapart.bundle import CARD_FILE, SPLIT_FILE
from tellapart.data.corrections import as_given
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal, journal_path
from tellapart.data.label_events import check_text
from tellapart.data.manifest import MANIFEST_SUFFIXES
from tellapart.errors import ConfigError, DataError, JournalError
from tellapart.studio.desk import Desk
from tellapart.studio.shelf import RECORD, is_run, read_split


@dataclass(frozen=True)
class Choices:
    """What a user may choose beside the data.

    Attributes
    ----------
    actor
        Who decides.
    run
        Runs to show: the first one first, the others to compare it with.
    runs, journal, examples, findings
        See `Desk`; None where the usual place is meant.
    read_only
        Whether nothing may be written.
    keys
        Action -> key.
    """

    actor: str
    run: Sequence[Path] = ()
    runs: Path | None = None
    journal: Path | None = None
    examples: Path | None = None
    findings: Path | None = None
    read_only: bool = False
    keys: Mapping[str, str] = field(default_factory=dict)


def open_desk(target: Path, choices: Choices) -> tuple[Desk, list[str]]:
    """Open a folder, a manifest or a run, with its journal, predictions and findings.

    Returns
    -------
    desk, notes
        Notes are sentences that the user should read.

    Raises
    ------
    TellapartError
        If something named is not there, or not what it should be.
    """
    check_text("user", choices.actor, empty=False)
    named = tuple(choices.run)
    if is_run(target):
        named = (target, *(run for run in named if run.resolve() != target.resolve()))
        data, given = _data_of(target)
    else:
        _check_data(target)
        data, given = target, as_given(target)
    for run in named:
        if not is_run(run):
            raise ConfigError(f"--run {run} is no run: it has neither {RECORD} nor {SPLIT_FILE}")
    if choices.findings is not None and not choices.findings.is_file():
        raise ConfigError(
            f"no findings at {choices.findings}; `tellapart check {data} --json FILE` writes them"
        )
    journal, why_not = _journal(data, choices)
    desk = Desk(
        data=data,
        given=given,
        journal=journal,
        actor=choices.actor,
        runs=_beside(data, choices.runs, named[0].resolve().parent if named else None, "runs"),
        run=named[0] if named else None,
        others=named[1:],
        examples=_beside(data, choices.examples, None, "examples"),
        findings=choices.findings,
        read_only=choices.read_only or bool(why_not),
        keys=choices.keys,
    )
    desk.arrivals.first_run()
    return desk, [note for note in (why_not, _attach_findings(desk)) if note]


def _check_data(target: Path) -> None:
    accepted = "give a folder with one folder per class, a CSV or Parquet manifest, or a run"
    if not target.exists():
        raise ConfigError(f"there is nothing at {target}; {accepted}")
    if not target.is_dir() and target.suffix.lower() not in MANIFEST_SUFFIXES:
        raise ConfigError(f"{target} is a file of another kind; {accepted}")
    if (target / CARD_FILE).is_file():
        raise ConfigError(f"{target} is a model without its run; name the run's folder, or: {accepted}")


def _data_of(run: Path) -> tuple[Path, Dataset]:
    """Return what a run was trained on: the folder it recorded, or the manifest in there that fits best."""
    otherwise = f"name them: `tellapart studio DATA --run {run}`"
    try:
        record = json.loads((run / RECORD).read_text(encoding="utf-8"))
        root, group_by = Path(record["data"]["root"]), record["config"].get("group_by")
        named = {Path(word).name for word in str(record.get("command", "")).split()}
    except FileNotFoundError as exc:
        raise ConfigError(f"{run} is not finished and does not say what its images are; {otherwise}") from exc
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DataError(f"{run / RECORD} cannot be read ({exc!r}); {otherwise}") from exc
    if not root.is_dir():
        raise ConfigError(f"{run} was trained on images in {root}, which is not there now; {otherwise}")
    rows = read_split(run / SPLIT_FILE, "label", "group")
    manifests = (path for path in sorted(root.iterdir()) if path.suffix.lower() in MANIFEST_SUFFIXES)
    found: list[tuple[int, bool, Path, Dataset]] = []
    for data in (root, *manifests):
        try:
            given = as_given(data)
        except DataError:  # a table of something else, or no folder per class
            continue
        found.append((_n_agreeing(given, rows, group_by), data.name in named, data, given))
    if not found or (rows and not any(n for n, *_ in found)):
        raise ConfigError(f"{root} does not hold the images that {run} was trained on; {otherwise}")
    *_, data, given = max(found, key=lambda one: one[:2])
    return data, given


def _n_agreeing(given: Dataset, rows: Mapping[str, tuple[str, ...]], group_by: str | None) -> int:
    """Count what labels and groups have in common with a run's."""
    if group_by and any(group_by in sample.metadata for sample in given.samples):
        given = given.grouped_by(group_by)
    n = 0
    for sample in given.samples:
        label, group = rows.get(sample.id, (None, None))
        n += (label == sample.label) + (group == (sample.group or ""))
    return n


def _attach_findings(desk: Desk) -> str:
    """Lay what a check found beside the images; return why that failed where nobody named the file."""
    try:
        desk.arrivals.findings()
    except DataError as exc:
        if desk.findings is not None:
            raise
        return str(exc)
    return ""


def _journal(data: Path, choices: Choices) -> tuple[Journal, str]:
    """Return the journal, and why it cannot be written where nobody asked for that."""
    place = journal_path(data, choices.journal)
    if choices.read_only:
        if choices.journal is not None and not place.exists():
            raise JournalError(f"no journal of labels at {place}")
        return Journal(place), ""
    if _may_write(place):
        return Journal(place), ""
    if choices.journal is not None:
        raise JournalError(f"the journal of labels {place} cannot be written; name another with --journal")
    return Journal(place), (
        f"read only, because the journal of labels {place} cannot be written; to correct labels, "
        "name another place with --journal FILE or TELLAPART_JOURNAL"
    )


def _may_write(file: Path) -> bool:
    """Return whether a file can be written, or made with the folders around it."""
    if file.exists() and not os.access(file, os.W_OK):
        return False
    folder = next(folder for folder in file.absolute().parents if folder.exists())
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _beside(data: Path, chosen: Path | None, usual: Path | None, name: str) -> Path:
    """Return a folder for what comes out of the studio; never one inside the data, which would take it in."""
    root = (data if data.is_dir() else data.parent).resolve()
    if chosen is not None:
        if data.is_dir() and chosen.resolve().is_relative_to(root):
            raise ConfigError(
                f"--{name} {chosen} lies in {data}, of which it would become a part; name another"
            )
        return chosen
    if usual is not None:
        return usual
    here = Path.cwd()
    return (root.parent if data.is_dir() and here.is_relative_to(root) else here) / name
