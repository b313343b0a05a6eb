"""The studio's split: dealing the images anew, so that no copy is on two sides; and on which side each is."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tellapart.errors import ConfigError
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.shelf import read_split

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

SPLIT = "split.csv"
"""Name of the split that the studio makes, in the folder of runs."""

MOST_PAIRS = 100
"""Pairs of images that one answer names."""

Sides = Callable[[int], str | None]
"""Gives an image's part of the split, or None where it is in none."""


def split(desk: "Desk", arguments: Arguments) -> Json:
    """Deal the images anew, with the corrections in force, so that no copy is on two sides; write the file.

    A split that the data come with gives the parts' sizes, and is not used otherwise. Looks at every image,
    unless a check or a training has done so before.
    """
    from tellapart.training import account
    from tellapart.training.config import TrainConfig
    from tellapart.training.partition import deal, kept_apart, leaks, straddling, write_split

    path = desk.runs / _file_name(arguments.text("name", SPLIT))
    current = desk.catalog.current().verified().with_near_duplicates()
    n_given = {name: len(current.where_split(name)) for name in ("train", "val", "test")}
    n, n_rest = sum(n_given.values()), n_given["train"] + n_given["val"]
    default = n_given["test"] / n if n_given["test"] else 0.2
    config = TrainConfig(
        test_size=arguments.number("test_size", default, low=0, high=1),
        val_size=n_given["val"] / n_rest if n_given["val"] else TrainConfig().val_size,
        folds=arguments.integer("folds", low=2) if arguments.has("folds") else None,
        seed=arguments.integer("seed", 0),
    )
    before = straddling([current.where_split(name) for name in n_given]) if n else {}
    fresh = replace(current, samples=tuple(replace(sample, split=None) for sample in current.samples))
    partitions = deal(fresh, config, needs_val=bool(n_given["val"]) and not config.folds)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_split(path, partitions)
    told = {
        "path": str(path),
        "rows": account.partition_rows(partitions),
        "class_names": list(current.class_names),
        "joined": {kind: [list(pair) for pair in pairs[:MOST_PAIRS]] for kind, pairs in before.items()},
        "n_joined": {kind: len(pairs) for kind, pairs in before.items()},
        "kept_together": len(fresh) - len(set(fresh.tied())),
        "leaks": list(leaks(kept_apart(partitions)).values()),
        "n_excluded": len(desk.given) - len(current),
    }
    return {**told, "facts": _facts(told)}


OPERATIONS: dict[str, Operation] = {"split": Operation(split, writes=True)}


def sides_of(desk: "Desk", name: str) -> Sides:
    """Return what gives an image's part: the studio's split, if one was made, else what the data say."""
    path, samples = desk.runs / _file_name(name), desk.given.samples
    if path.is_file():
        dealt = _dealt(path, path.stat().st_mtime_ns)
        return lambda i: dealt.get(samples[i].id)
    return lambda i: samples[i].split


@lru_cache(maxsize=2)
def _dealt(path: Path, written: int) -> Mapping[str, str]:
    """Return image id -> part or fold; `written` makes a changed file be read anew."""
    return {name: split or fold for name, (split, fold) in read_split(path, "split", "fold").items()}


def _facts(told: Json) -> list[str]:
    """Say what a new split has mended, and whether a leak is left."""
    mended = [
        f"{n:,} × {kind} lay on two sides, now on one; for example {' = '.join(told['joined'][kind][0])}"
        for kind, n in told["n_joined"].items()
    ]
    together = (
        f"{told['kept_together']:,} images are copies of another or of its group, and go where that goes"
    )
    return [*mended, together, *(told["leaks"] or ["No leak is left"])]


def _file_name(name: str) -> str:
    if Path(name).name != name or not name.endswith(".csv") or name.startswith("."):
        raise ConfigError(f"{name!r} is no name for a split; accepted: a file's name such as {SPLIT}")
    return name
