"""`tellapart demo`."""

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli.terminal import Bars, tell


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder.")] = Path("tellapart-demo"),
    difficulty: Annotated[float, typer.Option(help="0 (easy) to 1 (hopeless).")] = 0.5,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> int:
    """Run the whole pipeline on images that it draws itself, offline."""
    from tellapart.cli.train import show_run
    from tellapart.demo import run_demo

    run, planted = run_demo(out, difficulty=difficulty, seed=seed, progress=Bars())
    show_run(run)
    tell(
        f"planted {len(planted.duplicates)} duplicates, {len(planted.mislabelled)} wrong label, "
        f"{len(planted.broken)} broken file: find them in the report"
    )
    example = next(iter(sorted((out / "images" / "malignant").glob("*.jpg"))))
    tell(f"next    tellapart predict {run.folder} {example}")
    return 0
