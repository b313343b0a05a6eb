"""What the terminal shows: progress bars, notes, and one red line for a problem."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from tellapart.records import Skipped

out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True)

MOST_SKIPPED = 10
"""Skipped files named on the terminal; all of them stand in run.json and the report."""


class Bars:
    """Progress on standard error: bars with rate and time left, or plain lines where it is no terminal."""

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
        with Progress(*columns, console=err, transient=not err.is_terminal) as bars:
            task = bars.add_task(f"{description:<22}", total=total, rate="")

            def advance(n: int) -> None:
                bars.advance(task, n)
                speed = bars.tasks[0].speed
                bars.update(task, rate=f"{speed:.1f} {unit}s/s" if speed else "")

            yield advance

    def say(self, message: str) -> None:
        """See `tellapart.progress.Progress.say`."""
        err.print(escape(message))


def complain(message: str) -> None:
    """Print one problem on standard error."""
    err.print(f"[bold red]error:[/] {escape(message)}")


def show_skipped(skipped: Sequence["Skipped"]) -> None:
    """Count and name the files that are not used."""
    if not skipped:
        return
    files = "file is" if len(skipped) == 1 else "files are"
    err.print(f"[yellow]{len(skipped)} {files} not used:[/]")
    for entry in skipped[:MOST_SKIPPED]:
        err.print(f"  {escape(printable(entry.path))}: {escape(entry.reason)}")
    if len(skipped) > MOST_SKIPPED:
        err.print(f"  … and {len(skipped) - MOST_SKIPPED} more; all are in the report")


def show_figures(figures: Mapping[str, float], names: Sequence[str]) -> None:
    """Print a table of figures with their intervals."""
    table = Table(box=None, pad_edge=False)
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    for name in names:
        if name not in figures:
            continue
        figure = figures[name]
        interval = getattr(figure, "ci95", None)
        shown = f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else "not estimable"
        table.add_row(name.replace("_", " ").replace("roc auc", "ROC AUC"), f"{figure:.3f}", shown)
    out.print(table)


def printable(text: str) -> str:
    """Return text that this terminal can show, control characters escaped."""
    encoding = sys.stderr.encoding or "utf-8"
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return visible.encode(encoding, "backslashreplace").decode(encoding)
