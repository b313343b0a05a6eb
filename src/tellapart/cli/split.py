"""`tellapart split`."""

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli.terminal import Bars, show_skipped, tell


def split(
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="Folder per class, or a CSV/Parquet manifest.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The split file to write.")],
    test_size: Annotated[float, typer.Option(help="Part held out for testing.")] = 0.2,
    group_by: Annotated[
        str | None,
        typer.Option(help="Manifest column (patient, lesion) kept on one side."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds of a cross-validation instead of one test set.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    near_duplicates: Annotated[
        bool,
        typer.Option(
            "--near-duplicates/--no-near-duplicates", help="Look for near-duplicates; keep them on one side."
        ),
    ] = True,
    allow_leaks: Annotated[
        bool,
        typer.Option("--allow-leaks", help="Write the split that the data come with even if it leaks."),
    ] = False,
) -> int:
    """Deal DATA into training and test images, or folds, for `tellapart train --split FILE`."""
    from dataclasses import replace

    from tellapart.cli.data import load_data
    from tellapart.errors import ConfigError
    from tellapart.training import account
    from tellapart.training.config import TrainConfig
    from tellapart.training.partition import deal, refuse_leaks, write_split

    if out.is_dir():
        raise ConfigError(f"{out} is a folder; --out takes the name of a file, such as split.csv")
    config = TrainConfig(test_size=test_size, folds=folds, seed=seed, near_duplicates=near_duplicates)
    dataset = load_data(data)
    dataset = dataset.grouped_by(group_by) if group_by else dataset
    progress = Bars()
    used = dataset.verified(progress=progress)
    used = used.with_near_duplicates(progress=progress) if config.near_duplicates else replace(used, near=())
    partitions = deal(used, config, needs_val=False)
    if not allow_leaks:
        refuse_leaks(used, partitions)
    for finding in account.findings(used, partitions, config):
        progress.say(f"note: {finding}")
    write_split(out, partitions)
    show_skipped(used.ledger)
    for row in account.partition_rows(partitions):
        counts = ", ".join(f"{name} {row[name]}" for name in used.class_names)
        tell(f"{row['split']:<10} {row['images']:>7} images  {counts}")
    tell(f"split      {out}")
    return 0
