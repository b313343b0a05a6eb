"""What the terminal shows: results, notes, and one red line for a problem."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.bars import Bars as Bars  # commands know it by this module
from tellapart.bars import stderr
from tellapart.progress import VARIABLE, Progress, ProgressFile

if TYPE_CHECKING:
    from tellapart.records import Skipped

MOST_SKIPPED = 10
"""Skipped files named on the terminal; all of them stand in run.json and the report."""


def tell(text: str) -> None:
    """Print one line of a result on standard output."""
    print(text, flush=True)


def _warn(text: str, style: str = "") -> None:
    stderr().print(text, style=style, markup=False)


def shown_progress() -> Progress:
    """Return what shows progress: bars, or the file that ``$TELLAPART_PROGRESS`` names."""
    file = os.environ.get(VARIABLE)
    return ProgressFile(Path(file), Bars()) if file else Bars()


def complain(message: str) -> None:
    """Print one problem on standard error."""
    _warn(f"error: {message}", "red")


def show_skipped(skipped: Sequence["Skipped"]) -> None:
    """Count and name the files that are not used."""
    if not skipped:
        return
    files = "file is" if len(skipped) == 1 else "files are"
    _warn(f"{len(skipped)} {files} not used:", "yellow")
    for entry in skipped[:MOST_SKIPPED]:
        _warn(f"  {printable(entry.path)}: {entry.reason}")
    if len(skipped) > MOST_SKIPPED:
        _warn(f"  … and {len(skipped) - MOST_SKIPPED} more; all are in the report")


def show_figures(figures: Mapping[str, float], names: Sequence[str]) -> None:
    """Print a table of figures with their intervals."""
    tell(f"{'figure':<18} {'value':>6}  95 % interval")
    for name in names:
        if name not in figures:
            continue
        figure = figures[name]
        interval = getattr(figure, "ci95", None)
        shown = f"{interval[0]:.3f}–{interval[1]:.3f}" if interval else "not estimable"
        tell(f"{name.replace('_', ' ').replace('roc auc', 'ROC AUC'):<18} {figure:6.3f}  {shown}")


def printable(text: str) -> str:
    """Return text that this terminal can show, control characters escaped."""
    encoding = sys.stderr.encoding or "utf-8"
    visible = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return visible.encode(encoding, "backslashreplace").decode(encoding)
