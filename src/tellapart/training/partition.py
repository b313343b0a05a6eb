"""Who trains, who validates, who tests: given by the data or a file, or dealt here; never leaking."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tellapart.data.dataset import Dataset
from tellapart.data.files import write_atomically
from tellapart.data.scan import SPLIT_FOLDERS
from tellapart.errors import SplitError
from tellapart.records import Sample
from tellapart.training.config import TrainConfig

FOLD = "fold"
"""Metadata column that a k-fold's split file fills."""


@dataclass(frozen=True)
class Partition:
    """One way of using the data.

    Attributes
    ----------
    train, val, test
        Disjoint; `val` and `test` are None where there is none.
    """

    train: Dataset
    val: Dataset | None
    test: Dataset | None

    @property
    def parts(self) -> dict[str, Dataset]:
        """The parts there are, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}


def partition(dataset: Dataset, config: TrainConfig, *, needs_val: bool) -> Partition:
    """Split once: as the data say where they say so, else hold out `config.test_size`.

    `needs_val` deals a validation set from the training images where none is given.
    """
    if any(sample.split for sample in dataset.samples):
        train, val, test = (dataset.where_split(name) for name in ("train", "val", "test"))
        if not len(train):
            raise SplitError("the given split has no training images; mark some as train")
    else:
        train, test = dataset.split(config.test_size, seed=config.seed)
        val = dataset.subset(())
    if needs_val and not len(val):
        train, val = train.split(config.val_size, seed=config.seed)
    return Partition(
        _marked(train, "train"),
        _marked(val, "val") if len(val) else None,
        _marked(test, "test") if len(test) else None,
    )


def folds(dataset: Dataset, config: TrainConfig, *, needs_val: bool) -> list[Partition]:
    """Split k times, so that every image is tested once.

    Raises
    ------
    SplitError
        If the data come with a split of their own.
    """
    if any(sample.split for sample in dataset.samples):
        raise SplitError("the data come with their own train/test split; leave out --folds to honour it")
    k = config.folds or 0
    given = [sample.metadata.get(FOLD, "") for sample in dataset.samples]
    if all(given):
        names = sorted(set(given))
        if len(names) != k:
            raise SplitError(f"the split file has {len(names)} folds, --folds says {k}")
        fold_of = np.array([names.index(name) for name in given])
    else:
        fold_of = dataset.deal([1 / k] * k, seed=config.seed)
    result = []
    for fold in range(k):
        test = dataset.subset(np.flatnonzero(fold_of == fold))
        train = dataset.subset(np.flatnonzero(fold_of != fold))
        val = None
        if needs_val:
            train, val = train.split(config.val_size, seed=config.seed)
        result.append(Partition(train, val, test))
    return result


def leaks(parts: Sequence[Dataset]) -> list[str]:
    """Say which groups and identical files lie in more than one part; empty when nothing leaks."""
    where: dict[tuple[str, str], set[int]] = defaultdict(set)
    first: dict[tuple[str, str], Sample] = {}
    for number, part in enumerate(parts):
        for sample in part.samples:
            keys = [("identical file", sample.sha256), ("group", sample.group)]
            for kind, value in keys:
                if value:
                    where[kind, value].add(number)
                    first.setdefault((kind, value), sample)
    findings = []
    for kind in ("group", "identical file"):
        straddling = [key for key, numbers in where.items() if key[0] == kind and len(numbers) > 1]
        if straddling:
            example = first[straddling[0]].id if kind != "group" else straddling[0][1]
            findings.append(f"{len(straddling)} × {kind} on two sides of the split, for example {example}")
    return findings


def write_split(path: Path, partitions: Sequence[Partition]) -> None:
    """Write ``split.csv``: path, label, split, group, fold (from 1, for a k-fold) and sha256."""
    k_fold = len(partitions) > 1
    rows: list[tuple[str, ...]] = []
    for fold, one in enumerate(partitions, start=1):
        for name, part in one.parts.items():
            if k_fold and name != "test":
                continue
            rows += [
                (
                    sample.id,
                    sample.label,
                    "" if k_fold else name,
                    sample.group or "",
                    str(fold) if k_fold else "",
                    sample.sha256 or "",
                )
                for sample in part.samples
            ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group", "fold", "sha256"])
    writer.writerows(sorted(rows))
    write_atomically(path, text.getvalue().encode("utf-8"))


def apply_split(dataset: Dataset, path: Path) -> Dataset:
    """Return the dataset with each sample's split (and group) as a ``split.csv`` says.

    Raises
    ------
    SplitError
        If the file is missing, lacks a column, or does not cover the dataset.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = {row["path"]: row for row in csv.DictReader(file)}
    except FileNotFoundError as exc:
        raise SplitError(f"no split file at {path}") from exc
    except (KeyError, UnicodeDecodeError, csv.Error) as exc:
        raise SplitError(f"{path} is not a split file: it needs the columns path and split") from exc
    missing = [sample.id for sample in dataset.samples if sample.id not in rows]
    if missing:
        raise SplitError(
            f"{path} does not mention {len(missing)} of {len(dataset)} images, the first being {missing[0]}"
        )
    samples = []
    for sample in dataset.samples:
        row = rows[sample.id]
        split = (row.get("split") or "").lower()
        group = sample.group or row.get("group") or None
        if not split and row.get("fold"):
            samples.append(replace(sample, group=group, metadata={**sample.metadata, FOLD: row["fold"]}))
            continue
        if split not in SPLIT_FOLDERS:
            raise SplitError(
                f"{path} gives {sample.id} the split {split!r}; accepted: {', '.join(SPLIT_FOLDERS)}"
            )
        samples.append(replace(sample, split=SPLIT_FOLDERS[split], group=group))
    return replace(dataset, samples=tuple(samples))


def _marked(part: Dataset, split: str) -> Dataset:
    return replace(part, samples=tuple(replace(sample, split=split) for sample in part.samples))
