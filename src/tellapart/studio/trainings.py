"""Starting a training in the background, and stopping it."""

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.data.journal import journal_path
from tellapart.errors import ConfigError
from tellapart.studio.jobs import Job
from tellapart.studio.operation import ONLY_READS, Arguments, Json, Operation
from tellapart.studio.pace import n_epochs
from tellapart.studio.recipe import train_words
from tellapart.studio.shelf import RECORD

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

STOP = "stop"
"""A file in the folder of a fine-tuning that ends it after this epoch; see `tellapart.training.finetune`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,59}")


def train_start(desk: "Desk", arguments: Arguments) -> Json:
    """Start a training with the labels now in force; see `train_words` for its settings.

    ``name`` is the new run's; ``like`` an earlier run whose settings are taken over, and whose test images
    too unless ``same_test`` is false. ``resume`` goes on with an interrupted run of that name instead.
    """
    if reason := why_not(desk):
        raise ConfigError(reason)
    desk.catalog.refresh()
    start = partial(
        desk.jobs.start,
        "train",
        actor=desk.actor,
        version=desk.catalog.version,
        environment=environment(desk),
    )
    if arguments.has("resume"):
        folder, job = find_run(desk, arguments.text("resume"))
        if job is None or job.state not in ("stopped", "failed"):
            raise ConfigError(f"{folder.name} is no training that was interrupted here; nothing to resume")
        (folder / STOP).unlink(missing_ok=True)
        words = [word for word in job.words if word != "--resume"]
        return start([*words, "--resume"], folder, folder / RECORD).to_json()
    name = arguments.text("name", next_name(desk.runs)).strip()
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
    folder, job = find_run(desk, arguments.text("run"))
    if job is None or job.state != "running":
        raise ConfigError(f"{folder.name} is not running here")
    if not arguments.flag("keep", False):
        return desk.jobs.stop(job, desk.actor).to_json()
    if not n_epochs(job.stages()):
        raise ConfigError(f"{folder.name} is in no epoch, so there is nothing yet to keep; stop it instead")
    (folder / STOP).touch()
    return job.to_json()


OPERATIONS: dict[str, Operation] = {
    "train_start": Operation(train_start, writes=True),
    "train_stop": Operation(train_stop, writes=True),
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


def trainings(desk: "Desk") -> list[Job]:
    """Return the trainings that were started here, the latest first."""
    return [job for job in desk.jobs.all() if job.kind == "train"]


def find_run(desk: "Desk", name: str) -> tuple[Path, Job | None]:
    """Return the folder of a run, and the job that made it if it was started here."""
    if name in desk.shelf.names():
        folder = desk.shelf.run(name).folder
        return folder, Job.find(folder)
    for job in trainings(desk):
        if job.folder.name == name:
            return job.folder, job
    raise ConfigError(f"no run is called {name!r}")


def next_name(folder: Path) -> str:
    """Return a name for a new run that no file in the folder of runs has."""
    taken = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return next(name for n in range(1, len(taken) + 2) if (name := f"run-{n}") not in taken)


def why_not(desk: "Desk") -> str:
    """Say why no training can be started; empty where one can."""
    from importlib.util import find_spec

    if desk.read_only:
        return ONLY_READS
    if not all(find_spec(name) for name in ("torch", "torchvision", "timm", "onnx", "safetensors")):
        return "training needs torch and its companions: pip install 'tellapart[train]'"
    return ""
