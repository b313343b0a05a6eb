"""Options that several commands read alike."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tellapart.errors import ConfigError, EmptyDataset

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


def image_paths(given: str) -> list[str]:
    """Return what was given, or for a folder the paths of the images below it.

    Raises
    ------
    EmptyDataset
        If the folder holds none.
    """
    from tellapart.data.scan import images_below

    if not os.path.isdir(given):  # noqa: PTH112 - Path.is_dir raises for a text too long to be a path
        return [given]
    found = images_below(Path(given))
    if not found:
        raise EmptyDataset(f"no images in the folder {given}")
    return [os.fspath(path) for path in found]


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
