"""Runs in progress and past, and starting one."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tellapart.bundle import SPLIT_FILE
from tellapart.data.journal import journal_path
from tellapart.errors import ConfigError, DataError
from tellapart.studio.difference import difference
from tellapart.studio.jobs import Job, stamp
from tellapart.studio.operation import ONLY_READS, Arguments, Json, Operation
from tellapart.studio.recipe import train_words
from tellapart.studio.shelf import RECORD, StoredRun, attach_runs

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

HISTORY = "history.jsonl"

STOP = "stop"
"""A file in the folder of a fine-tuning that ends it after this epoch; see `tellapart.training.finetune`."""

MOST_LINES = 40
"""Of a log, as many as are shown."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,59}")


def runs(desk: "Desk", arguments: Arguments) -> Json:
    """List the runs, the latest first, and say what a training started now would be made of.

    Returns
    -------
    dict
        ``runs``: see `_row`; ``running``: the name of the training under way, or None; ``changes``: labels
        and exclusions now in force; ``suggested``: a name for the next run; ``why_not``: why none can be
        started, else empty.
    """
    if desk.catalog.predictions is None:
        attach_runs(desk)  # the first one may have come to its end
    jobs = {job.folder.resolve(): job for job in _trainings(desk)}
    rows = []
    for name in desk.shelf.names():
        run = desk.shelf.run(name)
        rows.append(_row(name, run, jobs.pop(run.folder.resolve(), None)))
    rows += [_row(job.folder.name, None, job) for job in jobs.values()]
    rows.sort(key=lambda row: str(row["when"]), reverse=True)
    return {
        "runs": rows,
        "running": next((row["name"] for row in rows if row["state"] == "running"), None),
        "changes": _changes(desk),
        "suggested": _next_name(desk.runs),
        "why_not": _why_not(desk),
    }


def run_history(desk: "Desk", arguments: Arguments) -> Json:
    """Tell how one run goes or went: epochs ``after`` a number, stages, rate, time left, log.

    Returns
    -------
    dict
        ``name``, ``state``, ``rows`` (of history.jsonl, with an ``epoch`` above `after`), ``epochs`` (in
        all, 0 in features mode), ``best_epoch``, ``stages``, ``rate``, ``left_s``, ``log``, ``error``,
        ``stopping``, ``command``, ``actor``, ``started``.
    """
    name, after = arguments.text("run"), arguments.integer("after", 0)
    folder, job = _find(desk, name)
    rows = _history(folder / HISTORY)
    told: Json = job.to_json() if job is not None else {"stages": [], "rate": None, "left_s": None}
    finished = (folder / RECORD).is_file()
    epochs, stopping = _epochs(told["stages"], rows), (folder / STOP).exists()
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
        "name": name,
        "state": _state(finished, job),
        "rows": [row for row in rows if row["epoch"] > after],
        "epochs": epochs,
        "best_epoch": int(min(rows, key=lambda row: row["val_loss"])["epoch"]) if rows else None,
        "stopping": stopping,
        "log": job.log()[-MOST_LINES:] if job is not None else [],
    }


def run_difference(desk: "Desk", arguments: Arguments) -> Json:
    """Compare run ``after`` with run ``before`` on the test images of both; see `difference`."""
    before, after = arguments.text("before"), arguments.text("after")
    return {
        "before": before,
        "after": after,
        **difference(desk.shelf.run(before), desk.shelf.run(after)),
    }


def train_start(desk: "Desk", arguments: Arguments) -> Json:
    """Start a training with the labels now in force; see `train_words` for its settings.

    ``name`` is the new run's; ``like`` an earlier run whose settings are taken over, and whose test images
    too unless ``same_test`` is false. ``resume`` goes on with an interrupted run of that name instead.
    """
    if why_not := _why_not(desk):
        raise ConfigError(why_not)
    desk.catalog.refresh()
    start = partial(
        desk.jobs.start,
        "train",
        actor=desk.actor,
        version=desk.catalog.version,
        environment=environment(desk),
    )
    if arguments.has("resume"):
        folder, job = _find(desk, arguments.text("resume"))
        if job is None or job.state not in ("stopped", "failed"):
            raise ConfigError(f"{folder.name} is no training that was interrupted here; nothing to resume")
        (folder / STOP).unlink(missing_ok=True)
        words = [word for word in job.words if word != "--resume"]
        return start([*words, "--resume"], folder, folder / RECORD).to_json()
    name = arguments.text("name", _next_name(desk.runs)).strip()
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a run; use up to 60 letters, digits, spaces and . _ -, a letter first"
        )
    folder = desk.runs.resolve() / name
    if folder.exists():
        raise ConfigError(f"{folder} exists already; choose another name")
    like = desk.shelf.run(arguments.text("like")) if arguments.has("like") else None
    words = train_words(desk.data.resolve(), folder, arguments, like)
    return start(words, folder, folder / RECORD).to_json()


def train_stop(desk: "Desk", arguments: Arguments) -> Json:
    """Stop a training: with ``keep`` after the epoch under way, whose best is then tested and kept."""
    folder, job = _find(desk, arguments.text("run"))
    if job is None or job.state != "running":
        raise ConfigError(f"{folder.name} is not running here")
    if not arguments.flag("keep", False):
        return desk.jobs.stop(job, desk.actor).to_json()
    if not _epochs(job.stages(), []):
        raise ConfigError(f"{folder.name} is in no epoch, so there is nothing yet to keep; stop it instead")
    (folder / STOP).touch()
    return job.to_json()


def jobs(desk: "Desk", arguments: Arguments) -> Json:
    """List the trainings and checks in the background, the latest first."""
    return {"jobs": [job.to_json() for job in desk.jobs.all()]}


OPERATIONS: dict[str, Operation] = {
    "runs": Operation(runs),
    "run_history": Operation(run_history),
    "run_difference": Operation(run_difference),
    "train_start": Operation(train_start, writes=True),
    "train_stop": Operation(train_stop, writes=True),
    "jobs": Operation(jobs),
}


def environment(desk: "Desk") -> dict[str, str]:
    """Return the variables by which a command finds the journal of this desk.

    Raises
    ------
    ConfigError
        If its name is one that the variable cannot give.
    """
    here, place = journal_path(desk.data).resolve(), desk.journal.path.resolve()
    if here == place:
        return {}
    if place.suffix != ".sqlite":
        raise ConfigError(f"the journal {place} must end in .sqlite, or a training would not find it")
    return {"TELLAPART_JOURNAL": str(place)}


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
        return row | _told(run) if run is not None and run.finished else row
    except DataError as exc:
        return row | {"state": "damaged", "error": str(exc)}


def _told(run: StoredRun) -> Json:
    record, metrics = run.record, run.metrics or {}
    figures = ("accuracy", "balanced_accuracy")
    settings = ("backbone", "epochs", "seed", "augment")
    return {
        "when": _time(run.folder / RECORD),
        "mode": record.get("mode"),
        **{name: run.config.get(name) for name in settings},
        "n": record.get("data", {}).get("n_samples"),
        "n_test": metrics.get("n_samples"),
        "corrections": record.get("data", {}).get("corrections"),
        "seconds": record.get("seconds"),
        **{name: metrics.get(name) for name in figures},
    }


def _time(path: Path) -> str | None:
    """Return when a file was written, ISO 8601 in UTC."""
    state = stamp(path)
    return state and datetime.fromtimestamp(state[0] / 1e9, UTC).isoformat(timespec="milliseconds")


def _state(finished: bool, job: Job | None) -> str:
    """Return a job's state, or for runs of others ``"done"`` or ``"unfinished"``."""
    if job is not None and (state := job.state) != "done":
        return state
    return "done" if finished else "unfinished"


def _trainings(desk: "Desk") -> list[Job]:
    return [job for job in desk.jobs.all() if job.kind == "train"]


def _find(desk: "Desk", name: str) -> tuple[Path, Job | None]:
    """Return the folder of a run, and the job that made it if it was started here."""
    if name in desk.shelf.names():
        folder = desk.shelf.run(name).folder
        return folder, Job.find(folder)
    for job in _trainings(desk):
        if job.folder.name == name:
            return job.folder, job
    raise ConfigError(f"no run is called {name!r}")


def _history(path: Path) -> list[dict[str, float]]:
    """Return the rows of ``history.jsonl``; a last line that is just being written is left out."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} cannot be read ({exc})") from exc


def _epochs(stages: Sequence[Json], rows: Sequence[Any]) -> int:
    """Return how many epochs there may be, as the stage ``epoch 3/20`` says; 0 where there are none."""
    for stage in reversed(stages):
        if found := re.fullmatch(r"epoch \d+/(\d+)", stage["description"]):
            return int(found[1])
    return len(rows)


def _changes(desk: "Desk") -> Json:
    """Count the corrections in force, as run.json does for a run."""
    desk.catalog.refresh()
    now = desk.catalog.current().corrections
    counts = (0, 0) if now is None else (len(now.label), len(now.excluded))
    return {"relabelled": counts[0], "excluded": counts[1]}


def _next_name(folder: Path) -> str:
    taken = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return next(name for n in range(1, len(taken) + 2) if (name := f"run-{n}") not in taken)


def _why_not(desk: "Desk") -> str:
    """Say why no training can be started; empty where one can."""
    from importlib.util import find_spec

    if desk.read_only:
        return ONLY_READS
    if not all(find_spec(name) for name in ("torch", "torchvision", "timm", "onnx", "safetensors")):
        return "training needs torch and its companions: pip install 'tellapart[train]'"
    return ""
