"""The folder in which the replicas of one deployment count together, on one node of a cluster.

`prometheus_client` keeps a file per process and adds them up. Here is what a supervisor of the processes
would do, and a cluster has none on its nodes: the gauges of those that ended are taken out, and the last
one to leave removes the folder.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tellapart.process import Process

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder, when it is first imported."""


class Counts:
    """One replica's share of the folder; a file with its number says that it lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._mark = folder / f"replica-{os.getpid()}"
        self._mark.touch()

    def bury(self) -> None:
        """Take the gauges of replicas that were killed out of the figures."""
        for mark, pid in self._others():
            if Process.of(pid) is None:
                self._take_out(pid)
                mark.unlink(missing_ok=True)

    def leave(self) -> None:
        """Take our own out; remove the folder if nobody is left."""
        self._take_out(os.getpid())
        self._mark.unlink(missing_ok=True)  # first, or two that leave together would wait for each other
        if all(Process.of(pid) is None for _, pid in self._others()):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _others(self) -> Iterator[tuple[Path, int]]:
        for mark in self._folder.glob("replica-*"):
            if mark != self._mark:
                yield mark, int(mark.name.removeprefix("replica-"))

    def _take_out(self, pid: int) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        with suppress(FileNotFoundError):  # another replica was quicker
            mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]
