"""Options that several commands read alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tellapart.errors import ConfigError

Data = Annotated[Path, typer.Argument(metavar="DATA", help="Folder per class, or a CSV/Parquet manifest.")]
GroupBy = Annotated[str | None, typer.Option(help="Manifest column (patient, lesion) kept on one side.")]
NearDuplicates = Annotated[
    bool,
    typer.Option(
        "--near-duplicates/--no-near-duplicates", help="Look for near-duplicates; keep them on one side."
    ),
]
AllowLeaks = Annotated[
    bool, typer.Option("--allow-leaks", help="Take a given split even if it has the same on two sides.")
]

SMALLEST_PX = 32
"""The least short edge to which images are scaled on arrival."""


def listed(options: Sequence[str] | None) -> list[str]:
    """Return the values of an option that may be repeated, or hold several with commas between them."""
    return [value.strip() for option in options or () for value in option.split(",") if value.strip()]


def short_edge_px(size: str, names: Sequence[str]) -> int | None:
    """Read --size: None for one of `names`, else the short edge in pixels.

    Raises
    ------
    ConfigError
        If it is neither.
    """
    if size in names:
        return None
    if not (size.isascii() and size.isdecimal() and int(size) >= SMALLEST_PX):
        raise ConfigError(
            f"--size {size!r} is not understood; give {', '.join(names)}, "
            f"or the short edge in pixels (at least {SMALLEST_PX})"
        )
    return int(size)
