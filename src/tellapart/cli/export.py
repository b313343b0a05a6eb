"""`tellapart export`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from tellapart.cli.terminal import Bars, tell


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A bundle or a run folder.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")],
    precision: Annotated[Literal["fp32", "int8"], typer.Option()] = "fp32",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Images to calibrate int8 with; default the run's own."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Keep an int8 model that agrees on under 98 %.")
    ] = False,
) -> int:
    """Write a portable copy of MODEL, quantised to int8 if asked."""
    from tellapart import api
    from tellapart.cli.data import load_data

    dataset = load_data(data) if data else None
    bundle = api.export(model, out, precision=precision, data=dataset, force=force, progress=Bars())
    figures = bundle.card.quantisation
    if figures:
        change = figures["accuracy_int8"] - figures["accuracy_fp32"]
        tell(
            f"on {figures['n_checked']} {figures['checked_on']}: the same class on "
            f"{figures['top1_agreement']:.1%}, accuracy {figures['accuracy_fp32']:.1%} → "
            f"{figures['accuracy_int8']:.1%} ({change:+.1%})"
        )
    size = bundle.model_path.stat().st_size / 1e6
    tell(f"model   {bundle.folder} ({bundle.card.precision}, {size:.1f} MB)")
    return 0
