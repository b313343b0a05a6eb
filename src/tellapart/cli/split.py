"""`tellapart split`."""

from pathlib import Path
from typing import Annotated

import typer

from tellapart.cli.options import AllowLeaks, Data, GroupBy, NearDuplicates
from tellapart.cli.terminal import Bars, show_skipped, tell


def split(
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The split file to write.")],
    test_size: Annotated[float, typer.Option(help="Part held out for testing.")] = 0.2,
    group_by: GroupBy = None,
    folds: Annotated[
        int | None, typer.Option(help="Folds of a cross-validation instead of one test set.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    near_duplicates: NearDuplicates = True,
    anew: Annotated[
        bool, typer.Option("--anew", help="Ignore the split that DATA come with, and deal another.")
    ] = False,
    allow_leaks: AllowLeaks = False,
) -> int:
    """Deal DATA into training and test images, or folds, for `tellapart train --split FILE`."""
    from dataclasses import replace

    from tellapart.cli.data import load_data
    from tellapart.errors import ConfigError
    from tellapart.training import account
    from tellapart.training.config import TrainConfig
    from tellapart.training.partition import deal, refuse_leaks, without_split, write_split

    if out.is_dir():
        raise ConfigError(f"{out} is a folder; --out takes the name of a file, such as split.csv")
    config = TrainConfig(test_size=test_size, folds=folds, seed=seed, near_duplicates=near_duplicates)
    dataset = without_split(load_data(data)) if anew else load_data(data)
    dataset = dataset.grouped_by(group_by) if group_by else dataset
    progress = Bars()
    # In this order, because the pass that compares all files leaves little to verify.
    used = dataset.with_near_duplicates(progress=progress) if near_duplicates else replace(dataset, near=())
    used = used.verified(progress=progress)
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
