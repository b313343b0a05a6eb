"""The shelf: the runs that a studio knows, and what each has on disk."""

import csv
import json
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.bundle import CARD_FILE, SPLIT_FILE, VALIDATION_FILE, Card
from tellapart.errors import ConfigError, DataError
from tellapart.evaluation.tables import read_predictions
from tellapart.records import Predictions, Threshold, decide
from tellapart.studio.jobs import stamp
from tellapart.studio.operation import Json

RECORD = "run.json"
"""The last file that a run writes: where it lies, the run is finished."""

METRICS, PREDICTIONS = "evaluation/metrics.json", "evaluation/predictions.csv"
MODEL_CARD = f"model/{CARD_FILE}"

_WATCHED = (RECORD, METRICS, PREDICTIONS, VALIDATION_FILE, MODEL_CARD)


@dataclass(frozen=True, eq=False)
class StoredRun:
    """One run as it lies on disk. Each file is read when it is first asked for, and kept.

    Reading raises `DataError`, or for the card `BundleError`, where a file is damaged.

    Attributes
    ----------
    name
        By which the studio and its addresses know it; no path.
    folder
        Of the run.
    finished
        Whether it has written everything.
    """

    name: str
    folder: Path
    finished: bool

    @cached_property
    def record(self) -> Json:
        """What ``run.json`` says; empty while the run goes on."""
        return _read_json(self.folder / RECORD) or {}

    @property
    def config(self) -> Json:
        """The settings that the run was started with; empty while it goes on."""
        config: Json = self.record.get("config", {})
        return config

    @cached_property
    def metrics(self) -> Json | None:
        """What ``metrics.json`` says, or None for a run without a test set."""
        return _read_json(self.folder / METRICS)

    @cached_property
    def predictions(self) -> Predictions | None:
        """What the model said of its test images, or out of fold; None for a run without a test set."""
        path = self.folder / PREDICTIONS
        return read_predictions(path) if path.is_file() else None

    @cached_property
    def y_pred(self) -> NDArray[np.int64] | None:
        """int64 of shape (n_samples,): the classes that were predicted, as they are stored."""
        if self.predictions is None:
            return None
        stored = _read_decisions(self.folder / PREDICTIONS, self.predictions.class_names)
        return (
            decide(self.predictions.y_prob, self.predictions.class_names, None) if stored is None else stored
        )

    @cached_property
    def validation(self) -> Predictions | None:
        """What the model said of the images on which its threshold was chosen; None if not stored."""
        path = self.folder / VALIDATION_FILE
        return read_predictions(path) if path.is_file() else None

    @cached_property
    def card(self) -> Card | None:
        """The card of the run's model, or None before there is one. The model itself is not opened."""
        try:
            return Card.from_json((self.folder / MODEL_CARD).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as exc:
            raise DataError(f"{self.folder / MODEL_CARD} cannot be read ({exc})") from exc

    @property
    def threshold(self) -> Threshold | None:
        """The threshold under which the run was evaluated; the model's own may have been moved since."""
        stored = self.metrics or {}
        if "threshold" not in stored:
            return None
        return Threshold(
            stored["threshold"],
            stored["positive"],
            stored.get("threshold_chosen_on", ""),
            stored.get("threshold_rule", ""),
        )


class Shelf:
    """The runs that a studio knows; safe for several threads at once.

    Folders are looked at anew with every call, so that a run which another process starts or finishes is
    found. What was read of a run is kept until one of its files changes.

    Parameters
    ----------
    runs
        Folder whose sub-folders are runs; need not exist.
    given
        Runs that the user named; they come first, and need not lie in `runs`.
    images
        Ids of the images that the studio shows. Runs in `runs` that were dealt none of these are passed over.
    """

    def __init__(self, runs: Path, given: Sequence[Path], images: Container[str]) -> None:
        self.runs, self.given, self.images = runs, tuple(given), images
        self._lock = Lock()
        self._read: dict[Path, tuple[object, StoredRun]] = {}
        self._dealt: dict[Path, tuple[object, bool]] = {}

    def names(self) -> list[str]:
        """Return the names of all runs: those the user named, then the others by name."""
        return list(self.folders())

    def run(self, name: str) -> StoredRun:
        """Return a run by its name.

        Raises
        ------
        ConfigError
            If no run has that name.
        """
        folders = self.folders()
        if name not in folders:
            known = ", ".join(folders) or "none"
            raise ConfigError(f"no run is called {name!r}; known here: {known}")
        folder = folders[name]
        state = tuple(stamp(folder / file) for file in _WATCHED)
        with self._lock:
            kept = self._read.get(folder)
            if kept is None or kept[0] != state or kept[1].name != name:
                kept = (state, StoredRun(name, folder, finished=state[0] is not None))
                self._read[folder] = kept
            return kept[1]

    def tested(self) -> list[str]:
        """Return the names of the runs that have predictions of a test set."""
        return list(self.folders(PREDICTIONS))

    def folders(self, file: str = "") -> dict[str, Path]:
        """Return name -> folder of all runs, or of those that have a file.

        Folders of the same name are told apart by the folder that they lie in.
        """
        beside = [folder for folder in self._beside() if self._is_of_these(folder)]
        found: dict[Path, Path] = {}
        for folder in filter(is_run, (*self.given, *beside)):
            found.setdefault(folder.resolve(), folder)
        named: dict[str, Path] = {}
        for place, folder in found.items():
            names = [place.name, f"{place.parent.name}/{place.name}", str(place)]
            named[next(name for name in names if name not in named)] = folder
        return {name: folder for name, folder in named.items() if (folder / file).exists()}

    def n_passed_over(self) -> int:
        """Return how many runs lie in the folder of runs that are about other images."""
        given = {folder.resolve() for folder in self.given}
        return sum(
            not self._is_of_these(folder) for folder in self._beside() if folder.resolve() not in given
        )

    def _beside(self) -> list[Path]:
        return sorted(self.runs.iterdir()) if self.runs.is_dir() else []

    def _is_of_these(self, folder: Path) -> bool:
        """Say whether a run was dealt any of the images, or does not say which."""
        file = folder / SPLIT_FILE
        state = stamp(file)
        with self._lock:
            kept = self._dealt.get(folder)
            if kept is None or kept[0] != state:
                kept = self._dealt[folder] = (state, _deals_any(file, self.images))
            return kept[1]


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run, finished or not."""
    return (folder / RECORD).is_file() or (folder / SPLIT_FILE).is_file()


def read_split(file: Path, *columns: str) -> dict[str, tuple[str, ...]]:
    """Return image id -> values of these columns in a split file; nothing where there is no file.

    Raises
    ------
    DataError
        If it is no split file, or damaged.
    """
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as lines:
            rows = csv.DictReader(lines)
            return {row["path"]: tuple(row.get(column) or "" for column in columns) for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, csv.Error) as exc:
        raise DataError(f"{file} cannot be read as a split ({exc!r})") from exc


def _deals_any(file: Path, images: Container[str]) -> bool:
    """Return whether a split file names any of these images; one that is empty or damaged may do."""
    try:
        named = read_split(file)
    except DataError:  # who asks about the run is told
        return True
    return not named or any(name in images for name in named)


def _read_json(path: Path) -> Json | None:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise DataError(f"{path} cannot be read ({exc}); it is a file that `tellapart train` writes") from exc
    if not isinstance(content, dict):
        raise DataError(f"{path} holds no JSON object; it is a file that `tellapart train` writes")
    return content


def _read_decisions(path: Path, class_names: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the column ``predicted`` as class indices, or None where the file has no such column."""
    index = {name: i for i, name in enumerate(class_names)}
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        if "predicted" not in header:
            return None
        column = header.index("predicted")
        try:
            return np.array([index[row[column]] for row in rows if row], dtype=np.int64)
        except (KeyError, IndexError) as exc:
            raise DataError(f"{path} predicts a class that has no column: {exc}") from exc
