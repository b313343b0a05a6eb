"""A log to which several processes append, and which does not grow without bound."""

import fcntl
import os
import shutil
from collections import deque
from contextlib import suppress
from pathlib import Path

NAME = "service.log"

MAX_BYTES = 10_000_000
"""Of the log; as much again of what came before it is kept beside it."""

PAUSE_S = 5.0
"""Between two looks at its size."""


def trim(log: Path) -> None:
    """Set a log aside that is too long, as ``service.log.1``; those who write to it go on at its beginning.

    They hold it open for appending, so it is copied and emptied, not renamed. A line that is written
    between the two is lost. On a full disk nothing happens.
    """
    with suppress(OSError), log.open("r+b") as file:
        if os.fstat(file.fileno()).st_size <= MAX_BYTES:
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_size > MAX_BYTES:  # nobody else was quicker
            with _older(log).open("wb") as older:
                shutil.copyfileobj(file, older)
            file.truncate(0)


def last_lines(log: Path, n: int) -> list[str]:
    """Return its last lines, also those that were set aside."""
    kept: deque[str] = deque(maxlen=n)
    for path in (_older(log), log):
        with suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as lines:
            kept.extend(line.rstrip("\n") for line in lines)
    return list(kept)


def _older(log: Path) -> Path:
    return log.with_name(f"{log.name}.1")
