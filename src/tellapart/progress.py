"""How long work tells its caller how far it is, without printing anything itself."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol


class Progress(Protocol):
    """What long work calls; the command line draws bars, the default is silence."""

    def track(
        self, description: str, total: int, unit: str = "image"
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar of `total` units and return the function that advances it by n."""
        ...

    def say(self, message: str) -> None:
        """Tell the user one line."""
        ...


class Silent:
    """Progress that shows nothing."""

    @contextmanager
    def track(self, description: str, total: int, unit: str = "image") -> Iterator[Callable[[int], None]]:
        """See `Progress.track`."""
        yield lambda n: None

    def say(self, message: str) -> None:
        """See `Progress.say`."""


SILENT = Silent()


VARIABLE = "TELLAPART_PROGRESS"
"""Environment variable: a file in which a command keeps how far it is, for another program to read."""

MOST_STAGES = 12
"""Stages that the file holds, the latest."""

WRITE_EVERY_S = 0.25


@dataclass
class Stage:
    """One part of the work.

    Attributes
    ----------
    description, unit
        What it does, and what it counts.
    done, total
        How many of them.
    seconds
        Since its first one began.
    """

    description: str
    unit: str
    total: int
    done: int = 0
    seconds: float = 0.0


class ProgressFile:
    """Progress in a small JSON file that is replaced as the work goes on: ``{"stages": [Stage…]}``.

    Parameters
    ----------
    path
        The file.
    notes
        Is told what the work says.
    """

    def __init__(self, path: Path, notes: Progress = SILENT) -> None:
        self.path, self.notes = path, notes
        self._stages: list[Stage] = []
        self._written = -WRITE_EVERY_S

    @contextmanager
    def track(self, description: str, total: int, unit: str = "image") -> Iterator[Callable[[int], None]]:
        """See `Progress.track`."""
        stage, started = Stage(description, unit, total), time.perf_counter()
        self._stages = [*self._stages, stage][-MOST_STAGES:]

        def advance(n: int) -> None:
            stage.done += n
            stage.seconds = time.perf_counter() - started
            if time.perf_counter() - self._written >= WRITE_EVERY_S:
                self._write()

        self._write()
        yield advance
        self._write()

    def say(self, message: str) -> None:
        """See `Progress.say`."""
        self.notes.say(message)

    def _write(self) -> None:
        self._written = time.perf_counter()
        stages = [{**asdict(stage), "seconds": round(stage.seconds, 3)} for stage in self._stages]
        # Replaced, so that no reader sees half of it; not forced to disk, where nobody will look for it.
        beside = self.path.with_name(f".{self.path.name}.new")
        beside.write_text(json.dumps({"stages": stages}, ensure_ascii=False), encoding="utf-8")
        beside.replace(self.path)
