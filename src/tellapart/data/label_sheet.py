"""Labels as a table that a person edits in a spreadsheet, and the changes that its edits mean."""

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tellapart.data.corrections import MARKS, Corrections
from tellapart.data.dataset import Dataset
from tellapart.data.label_events import YES, Change, Field
from tellapart.data.reader import hash_file, in_parallel
from tellapart.data.scan import portable_id
from tellapart.errors import ManifestError
from tellapart.records import Sample

COLUMNS = ("path", "label", "given", "excluded", "flagged", "who", "when", "why", "as_of")
"""Edited are `label`, `excluded`, `flagged` and `why`. `given` is the data's own label, and `as_of` the last
event that the table knows of: it tells an edit from a row that others have changed meanwhile."""

_WORDS = {"yes": YES, "true": YES, "1": YES, "x": YES, "": "", "no": "", "false": "", "0": ""}
_DELIMITERS = (",", ";", "\t")


def to_csv(samples: Sequence[Sample], now: Corrections, *, only_corrected: bool = False) -> str:
    """Return the table, one row per image in the order of their ids.

    Parameters
    ----------
    samples
        As the data give them.
    now
        What is in force.
    only_corrected
        Leave out the images that nobody has decided anything about.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for sample in samples:
        last = now.last(sample.id)
        if last is None and only_corrected:
            continue
        label, excluded, flagged = (now.value(sample, name) for name in MARKS)
        told = (last.actor, last.at, last.why) if last else ("", "", "")
        writer.writerow([sample.id, label, sample.label, excluded, flagged, *told, now.seq])
    return text.getvalue()


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    line
        In the file, from 2.
    wanted
        What its cells say; a blank label or a column that is not there says nothing.
    as_of
        None where the table does not say.
    """

    line: int
    path: str
    why: str
    as_of: int | None
    wanted: Mapping[Field, str] = field(default_factory=dict)


def read_csv(path: Path) -> list[Row]:
    """Read a table with ``path`` and at least one of ``label``, ``excluded`` and ``flagged``.

    Commas, semicolons or tabs may stand between the columns, as spreadsheets write them.

    Raises
    ------
    ManifestError
        If the file cannot be read, lacks a column, or a cell is not understood.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise ManifestError(f"no table of labels at {path}") from exc
    except UnicodeDecodeError as exc:
        raise ManifestError(f"{path} is not UTF-8 ({exc}); save it as CSV UTF-8") from exc
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        if "path" not in columns or not {"label", "excluded", "flagged"} & set(columns):
            found = ", ".join(columns) or "nothing"
            raise ManifestError(
                f"{path} needs the columns path and label, excluded or flagged; found: {found}"
            )
        repeated = [name for name, n in Counter(columns).items() if n > 1]
        if repeated:
            raise ManifestError(f"{path} has the column {repeated[0]!r} twice")
        return list(_rows(reader, path))
    except csv.Error as exc:
        raise ManifestError(f"{path} is not a CSV file ({exc})") from exc


def _rows(reader: "csv.DictReader[str]", path: Path) -> Iterator[Row]:
    for cells in reader:
        row = {key: (value or "").strip() for key, value in cells.items() if isinstance(key, str)}
        where = f"{path}, line {reader.line_num}"
        if not row["path"]:
            if any(row.values()):
                raise ManifestError(f"{where}: a row without a path")
            continue
        as_of = row.get("as_of", "")
        if as_of and not (as_of.isascii() and as_of.isdecimal()):
            raise ManifestError(f"{where}: as_of is {as_of!r}; leave it as it was exported, or blank")
        wanted: dict[Field, str] = {"label": portable_id(row["label"])} if row.get("label") else {}
        for name in ("excluded", "flagged"):
            if name not in row:
                continue
            if row[name].lower() not in _WORDS:
                raise ManifestError(f"{where}: {name} is {row[name]!r}; write yes, or leave it blank")
            wanted[name] = _WORDS[row[name].lower()]
        yield Row(reader.line_num, cells["path"], row.get("why", ""), int(as_of) if as_of else None, wanted)


def changes(
    rows: Sequence[Row],
    dataset: Dataset,
    now: Corrections,
    *,
    new_classes: Sequence[str] = (),
    overwrite: bool = False,
    why: str = "",
) -> list[Change]:
    """Return what the rows want to be otherwise than it is.

    A cell that says what was in force `as_of` its export is no edit, whatever others have made of it since.
    An edit of what others have changed since keeps the old value that its writer saw, so that
    `Journal.write` refuses it; with `overwrite` it does not.

    Parameters
    ----------
    rows
        See `read_csv`.
    dataset
        As the data give it.
    now
        What is in force.
    new_classes
        Labels to accept although no image has them yet.
    why
        The reason where a row has none of its own.

    Raises
    ------
    ManifestError
        If a row names an image that is not there or an unknown class, or two rows contradict each other.
    """
    by_id = {sample.id: sample for sample in dataset.samples}
    classes = {*dataset.class_names, *(event.new for event in now.label.values()), *new_classes}
    seen: dict[int, Corrections] = {}
    edits: dict[tuple[str, Field], Change] = {}
    said: dict[tuple[str, Field], str] = {}
    for row in rows:
        sample = _named(row, by_id)
        then = now if overwrite else _as_of(row, dataset, now, seen)
        last = then.last(sample.id)
        reason = row.why if row.why and not (last and last.why == row.why) else why
        for name, value in row.wanted.items():
            key = (sample.id, name)
            if said.setdefault(key, value) != value:
                raise ManifestError(f"line {row.line}: {row.path} is listed before, with another {name}")
            if name == "label" and value not in classes:
                raise ManifestError(
                    f"line {row.line}: {value!r} is no class ({', '.join(sorted(classes))}); "
                    f"if it is meant, add --new-class {value!r}"
                )
            old = then.value(sample, name)
            if value not in (old, now.value(sample, name)):
                given = sample.label if name == "label" else ""
                edits[key] = Change(sample.id, name, old, value, given, why=reason)
    concerned = [by_id[sample_id] for sample_id in dict.fromkeys(sample_id for sample_id, _ in edits)]
    digests = dict(zip((s.id for s in concerned), in_parallel(hash_file, concerned), strict=True))
    return [replace(change, sha256=digests[change.sample_id]) for change in edits.values()]


def _as_of(row: Row, dataset: Dataset, now: Corrections, seen: dict[int, Corrections]) -> Corrections:
    """Return what was in force when the row was exported."""
    if row.as_of is None:
        return now
    if row.as_of > now.seq:
        raise ManifestError(
            f"line {row.line}: as_of is {row.as_of}, but {now.journal} ends with event {now.seq}: the table "
            "comes from another journal; empty its column as_of to take every cell as an edit"
        )
    if row.as_of not in seen:
        seen[row.as_of] = Corrections.find(dataset.samples, now.journal, until=row.as_of)
    return seen[row.as_of]


def _named(row: Row, by_id: Mapping[str, Sample]) -> Sample:
    sample = by_id.get(portable_id(row.path)) or by_id.get(portable_id(row.path.strip()))
    if sample is None:
        raise ManifestError(
            f"line {row.line}: {row.path!r} is not among the data; mend its path, or delete the line"
        )
    return sample
