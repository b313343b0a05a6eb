"""Runs in progress and past: the list of them, and how one goes or went."""

import json
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tellapart.bundle import SPLIT_FILE
from tellapart.errors import DataError
from tellapart.studio.jobs import Job, stamp
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.pace import in_words, n_epochs
from tellapart.studio.shelf import RECORD, StoredRun
from tellapart.studio.trainings import STOP, find_run, next_name, trainings, why_not
from tellapart.studio.wording import corrections, count, duration, figure

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

HISTORY = "history.jsonl"

COLUMNS = {
    "train_loss": "training loss",
    "val_loss": "validation loss",
    "train_accuracy": "training accuracy",
    "val_accuracy": "validation accuracy",
    "images_per_second": "images/s",
}
"""Of history.jsonl, what a page lists beside the epoch, and what it calls it."""

MOST_LINES = 40
"""Of a log, as many as are shown."""


def runs(desk: "Desk", arguments: Arguments) -> Json:
    """List the runs, the latest first, and say what a training started now would be made of.

    Returns
    -------
    dict
        ``runs``: see `_row`; ``listed``, how many in words; ``running``: the name of the training under way,
        or None; ``changes``: labels and exclusions now in force, and ``corrected``, how many in words;
        ``suggested``: a name for the next run; ``why_not``: why none can be started, else empty.
    """
    desk.arrivals.take_in()
    jobs = {job.folder.resolve(): job for job in trainings(desk)}
    rows = []
    for name in desk.shelf.names():
        run = desk.shelf.run(name)
        rows.append(_row(name, run, jobs.pop(run.folder.resolve(), None)))
    rows += [_row(job.folder.name, None, job) for job in jobs.values()]
    rows.sort(key=lambda row: str(row["when"]), reverse=True)
    return {
        "runs": rows,
        "listed": _listed(len(rows), desk.shelf.n_passed_over()),
        "running": next((row["name"] for row in rows if row["state"] == "running"), None),
        "changes": (changes := _changes(desk)),
        "corrected": corrections(**changes) if any(changes.values()) else "",
        "suggested": next_name(desk.runs),
        "why_not": why_not(desk),
    }


def run_history(desk: "Desk", arguments: Arguments) -> Json:
    """Tell how one run goes or went: epochs ``after`` a number, stages, rate, time left, log.

    Returns
    -------
    dict
        ``name``, ``state``, ``rows`` (of history.jsonl, with an ``epoch`` above `after`), ``columns`` (see
        `COLUMNS`), ``epochs`` (in all, 0 in features mode), ``best_epoch``, ``stages``, ``rate``,
        ``left_s``, ``log``, ``error``, ``stopping``, ``command``, ``actor``, ``started``; and how it goes in
        words, see `tellapart.studio.pace.in_words`.
    """
    name, after = arguments.text("run"), arguments.integer("after", 0)
    folder, job = find_run(desk, name)
    rows = _history(folder / HISTORY)
    told: Json = job.to_json() if job is not None else {"stages": [], "rate": None, "left_s": None}
    finished = (folder / RECORD).is_file()
    epochs, stopping = n_epochs(told["stages"]) or len(rows), (folder / STOP).exists()
    if rows and len(rows) < epochs:
        # Of the training as a whole: the epoch under way, and those that may come after it.
        each = median(row["seconds"] for row in rows)
        now = each if told["left_s"] is None else told["left_s"]
        told["left_s"] = now if stopping else now + (epochs - len(rows) - 1) * each
        told["rate"] = told["rate"] or rows[-1].get("images_per_second")
    return {
        "error": "",
        "command": "",
        "actor": "",
        "started": None,
        **told,
        **in_words(told, len(rows), epochs),
        "name": name,
        "state": _state(finished, job),
        "columns": COLUMNS,
        "rows": [row for row in rows if row["epoch"] > after],
        "epochs": epochs,
        "best_epoch": int(min(rows, key=lambda row: row["val_loss"])["epoch"]) if rows else None,
        "stopping": stopping,
        "log": job.log()[-MOST_LINES:] if job is not None else [],
    }


OPERATIONS: dict[str, Operation] = {"runs": Operation(runs), "run_history": Operation(run_history)}


def _listed(n_runs: int, n_passed_over: int) -> str:
    listed = count(n_runs, "run")
    return f"{listed}; {n_passed_over} of other images not listed" if n_passed_over else listed


def _row(name: str, run: StoredRun | None, job: Job | None) -> Json:
    """Return what the list shows: name, when, state, settings, size, and figures with their intervals."""
    row: Json = {
        "name": name,
        "state": _state(run is not None and run.finished, job),
        "when": job.started if job is not None else _time(run.folder / SPLIT_FILE) if run else None,
        "error": job.failure() if job is not None else "",
        "actor": job.actor if job is not None else "",
    }
    if job is not None:
        row |= {"mode": job.option("mode"), "backbone": job.option("backbone")}
    try:
        if run is None or not run.finished:
            return row
        row |= _told(run)
        return row | {"facts": _facts(row)}
    except DataError as exc:
        return row | {"state": "damaged", "error": str(exc)}


def _told(run: StoredRun) -> Json:
    record, metrics = run.record, run.metrics or {}
    figures = {name: metrics.get(name) for name in ("accuracy", "balanced_accuracy")}
    found = record.get("data", {}).get("corrections")
    settings = ("backbone", "epochs", "seed", "augment")
    return {
        "when": _time(run.folder / RECORD),
        "mode": record.get("mode"),
        **{name: run.config.get(name) for name in settings},
        "n": record.get("data", {}).get("n_samples"),
        "n_test": metrics.get("n_samples"),
        "corrections": found,
        "corrected": found and corrections(found["relabelled"], found["excluded"]),
        "seconds": record.get("seconds"),
        **{name: told and figure(name, told) for name, told in figures.items()},
    }


def _facts(row: Json) -> str:
    """Say what a run was made of, and came to; empty if it keeps no record of its data."""
    if row["n"] is None:
        return ""
    tested = f"{row['n_test']:,}" if row["n_test"] is not None else "none"
    made = f"{count(row['n'], 'image')}, {tested} of them for testing; seed {row['seed']}; "
    made += row["corrected"] or corrections(0, 0)
    took = f"; took {duration(row['seconds'])}" if row["seconds"] is not None else ""
    accuracy = row["accuracy"]
    return f"{made}{took}." + (f" Accuracy {accuracy['says']} ({accuracy['range']})." if accuracy else "")


def _time(path: Path) -> str | None:
    """Return when a file was written, ISO 8601 in UTC."""
    state = stamp(path)
    return state and datetime.fromtimestamp(state[0] / 1e9, UTC).isoformat(timespec="milliseconds")


def _state(finished: bool, job: Job | None) -> str:
    """Return a job's state, or for runs of others ``"done"`` or ``"unfinished"``."""
    if job is not None and (state := job.state) != "done":
        return state
    return "done" if finished else "unfinished"


def _history(path: Path) -> list[dict[str, float]]:
    """Return the rows of ``history.jsonl``; a last line that is just being written is left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} cannot be read ({exc})") from exc


def _changes(desk: "Desk") -> Json:
    """Count the corrections in force, as run.json does for a run."""
    desk.catalog.refresh()
    now = desk.catalog.current().corrections
    counts = (0, 0) if now is None else (len(now.label), len(now.excluded))
    return {"relabelled": counts[0], "excluded": counts[1]}
