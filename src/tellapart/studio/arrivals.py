"""What checks and trainings have finished while a studio is open, laid beside its images."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from tellapart.audit.findings import Finding, Severity
from tellapart.errors import DataError
from tellapart.studio.jobs import place_of, stamp
from tellapart.studio.shelf import PREDICTIONS, RECORD, StoredRun

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

FINDINGS = "findings.json"

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

Stamp = tuple[int, int]


class Laid(NamedTuple):
    """The findings that lie beside the images: which file of them, and how many of each severity."""

    state: Stamp
    counts: dict[Severity, int]


class Arrivals:
    """Keeps a desk's predictions and findings those of the latest run and check; safe for several threads.

    Whatever process finished them: their files are looked at, which takes no time while they stay the same.

    Parameters
    ----------
    desk
        Whose images they are about. Its runs that are finished by now have not arrived, they were there.
    """

    def __init__(self, desk: "Desk") -> None:
        self._desk = desk
        self._lock = Lock()
        self._laid: Laid | None = None
        self._seen = self._finished()

    @property
    def findings_file(self) -> Path:
        """Where the findings lie, or will lie: as the user said, else in the cache."""
        return self._desk.findings or place_of(self._desk.data) / "check" / FINDINGS

    def first_run(self) -> None:
        """Show the run that the user named, else the one that was tested last.

        Needs neither torch nor scikit-learn.

        Raises
        ------
        DataError
            If the predictions of the run that the user named are damaged.
        """
        shelf, named = self._desk.shelf, self._desk.run
        runs = [shelf.run(name) for name in shelf.tested()]
        if named is not None:
            for run in runs:
                if run.folder == named:
                    self._show(run)
            return
        self._show_one(sorted(runs, key=_tested_at, reverse=True))

    def take_in(self) -> None:
        """Lay beside the images what has been finished since the last look; of new runs show the latest.

        What is damaged is passed over: who asks about that very run or check is told.
        """
        with contextlib.suppress(DataError):
            self.findings()
        with self._lock:
            finished = self._finished()
            new = sorted(finished - self._seen, key=lambda one: one[1], reverse=True)
            self._seen = finished
        if new:
            self._show_one(self._desk.shelf.run(name) for name, _ in new)

    def findings(self) -> Laid | None:
        """Lay what the last check found beside the images, if that is not done yet.

        Returns
        -------
        Laid
            What lies there now, or None before the first check.

        Raises
        ------
        DataError
            If the file is damaged.
        """
        path = self.findings_file
        with self._lock:
            state = stamp(path)
            if state is not None and (self._laid is None or self._laid.state != state):
                found = _read(path)
                self._desk.catalog.attach_findings(found)
                counts = Counter(finding.severity for finding in found)
                self._laid = Laid(state, {severity: counts[severity] for severity in SEVERITIES})
            return self._laid

    def decided_anew(self, name: str) -> None:
        """Lay a run's predictions beside the images again where they are already: its decisions changed."""
        run, catalog = self._desk.shelf.run(name), self._desk.catalog
        if catalog.run(name) is not None and run.predictions is not None and run.y_pred is not None:
            catalog.attach(name, run.predictions, run.y_pred, shown=False)

    def _finished(self) -> set[tuple[str, Stamp]]:
        """Return the tested runs that have written everything, and when they had."""
        shelf = self._desk.shelf
        runs = [(name, stamp(folder / RECORD)) for name, folder in shelf.folders(PREDICTIONS).items()]
        return {(name, state) for name, state in runs if state is not None}

    def _show_one(self, runs: Iterable[StoredRun]) -> None:
        """Show the first run that can be read and knows any of these images."""
        for run in runs:
            with contextlib.suppress(DataError):  # nobody asked for it; who does is told what is wrong
                if self._show(run):
                    return

    def _show(self, run: StoredRun) -> bool:
        catalog, predictions, y_pred = self._desk.catalog, run.predictions, run.y_pred
        if predictions is None or y_pred is None:
            return False
        if all(catalog.index(sample_id) is None for sample_id in predictions.sample_ids):
            return False
        catalog.attach(run.name, predictions, y_pred)
        return True


def _tested_at(run: StoredRun) -> Stamp:
    return stamp(run.folder / PREDICTIONS) or (0, 0)


def _read(path: Path) -> list[Finding]:
    try:
        entries = json.loads(path.read_bytes())["findings"]
        return [Finding(**{**entry, "sample_ids": tuple(entry["sample_ids"])}) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise DataError(
            f"{path} holds no findings ({exc}); write them anew with `tellapart check DATA --json {path}`"
        ) from exc
