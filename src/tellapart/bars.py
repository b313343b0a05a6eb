"""Progress as bars on standard error, for the command line and for whoever asks for them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from tellapart.progress import SILENT, Progress

if TYPE_CHECKING:
    from rich.console import Console


@cache
def stderr() -> "Console":
    """Return the terminal behind standard error."""
    # rich takes a good part of a second to import, which `--help` need not wait for.
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


class Bars:
    """Bars with rate and time left; nothing where standard error is no terminal."""

    @contextmanager
    def track(self, description: str, total: int, unit: str = "image") -> Iterator[Callable[[int], None]]:
        """See `tellapart.progress.Progress.track`."""
        if total == 0:
            yield lambda n: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=stderr(), transient=not stderr().is_terminal) as bars:
            task = bars.add_task(f"{description:<22}", total=total, rate="")

            def advance(n: int) -> None:
                bars.advance(task, n)
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:.1f} {unit}s/s" if speed else "")

            yield advance

    def say(self, message: str) -> None:
        """See `tellapart.progress.Progress.say`."""
        stderr().print(message, markup=False)


def chosen(progress: Progress | bool) -> Progress:
    """Return what shows progress: bars for True, nothing for False, else what was given."""
    if isinstance(progress, bool):
        return Bars() if progress else SILENT
    return progress
