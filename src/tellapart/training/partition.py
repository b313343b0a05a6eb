"""Who trains, who validates, who tests: given by the data or a file, or dealt here; never leaking."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tellapart.data.dataset import Dataset
from tellapart.data.duplicates import clusters_by_id
from tellapart.data.files import write_atomically
from tellapart.data.scan import SPLIT_FOLDERS, portable_id
from tellapart.errors import DataError, SplitError
from tellapart.records import Sample
from tellapart.training.config import TrainConfig

FOLD = "fold of split.csv"
"""Metadata column that a k-fold's split file fills: named so that no column of the user's is taken for it."""

MOST_NAMED = 5
"""Leaking pairs of a kind that an error names."""


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

    Groups, identical files and the near-duplicates that the dataset knows of stay on one side.
    `needs_val` deals a validation set from the training images where none is given.

    Raises
    ------
    SplitError
        If the given split has no training images, or is one of folds.
    """
    if any(FOLD in sample.metadata for sample in dataset.samples):
        raise SplitError("the split file is of a k-fold; add --folds with its number of folds")
    if any(sample.split for sample in dataset.samples):
        train, val, test = (dataset.where_split(name) for name in ("train", "val", "test"))
        if not len(train):
            raise SplitError("the given split has no training images; mark some as train")
    else:
        train, test = dataset.split(config.test_size, near_duplicates=False, seed=config.seed)
        val = dataset.subset(())
    if needs_val and not len(val):
        train, val = train.split(config.val_size, near_duplicates=False, seed=config.seed)
    return Partition(
        _marked(train, "train"),
        _marked(val, "val") if len(val) else None,
        _marked(test, "test") if len(test) else None,
    )


def folds(dataset: Dataset, config: TrainConfig, *, needs_val: bool) -> list[Partition]:
    """Split k times, so that every image is tested once.

    Data that are all marked as training images, as the first part of `Dataset.split` is, may be folded.

    Raises
    ------
    SplitError
        If the data come with validation or test images of their own, or a split file with other folds.
    """
    if any(sample.split in ("val", "test") for sample in dataset.samples):
        raise SplitError("the data come with their own train/test split; leave out --folds to honour it")
    k = config.folds or 0
    given = [sample.metadata.get(FOLD, "") for sample in dataset.samples]
    if any(given):
        names = sorted(set(given), key=lambda name: (len(name), name))
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
            train, val = train.split(config.val_size, near_duplicates=False, seed=config.seed)
        result.append(Partition(train, val, test))
    return result


def check_classes(partitions: Sequence[Partition], *, needs_val: bool) -> None:
    """Raise before hours of training rather than after: dealt parts have every class, given ones may not.

    Raises
    ------
    TooFewImages
        If a class has too few images to learn from, or one of two classes none to choose a threshold on.
    """
    for one in partitions:
        one.train.check_trainable(1 if needs_val else 2, "training")
        if one.val is not None and len(one.train.class_names) == 2:
            one.val.check_trainable(1, "validation")
        if one.val is not None and needs_val:  # the baseline's head learns from both
            union(one.train, one.val).check_trainable(2, "training and validation")


def union(*parts: Dataset) -> Dataset:
    """Return the samples of several disjoint parts as one dataset, in the order of their ids."""
    samples = sorted((sample for part in parts for sample in part.samples), key=lambda sample: sample.id)
    return replace(parts[0], samples=tuple(samples))


def straddling(parts: Sequence[Dataset]) -> dict[str, list[tuple[str, str]]]:
    """Return what lies in more than one part, as ids of two images of different parts.

    By ``"group"`` and ``"identical file"``, one pair for each group and content that does, and by
    ``"near-duplicate"``, the most similar first. A kind that does not is left out.
    """
    first: dict[tuple[str, str], tuple[int, Sample]] = {}
    across: dict[tuple[str, str], tuple[str, str]] = {}
    for number, part in enumerate(parts):
        for sample in part.samples:
            for kind, value in (("group", sample.group), ("identical file", sample.sha256)):
                if value:
                    there, other = first.setdefault((kind, value), (number, sample))
                    if there != number:
                        across.setdefault((kind, value), (other.id, sample.id))
    found: dict[str, list[tuple[str, str]]] = {}
    for kind in ("group", "identical file"):
        found[kind] = [pair for (its_kind, _), pair in across.items() if its_kind == kind]
    part_of = {sample.id: number for number, part in enumerate(parts) for sample in part.samples}
    near = (pair for part in parts[:1] for pair in part.near or ())
    found["near-duplicate"] = [
        (pair.first, pair.second)
        for pair in sorted(near, key=lambda pair: -pair.similarity)
        if pair.first in part_of and pair.second in part_of
        if part_of[pair.first] != part_of[pair.second]
    ]
    return {kind: pairs for kind, pairs in found.items() if pairs}


def leaks(parts: Sequence[Dataset]) -> dict[str, str]:
    """Say, by the kinds of `straddling`, what lies in more than one part; empty when nothing does."""
    return {
        kind: f"{len(pairs)} × {kind} on two sides of the split, for example {_named(pairs[:1])}"
        for kind, pairs in straddling(parts).items()
    }


def kept_apart(partitions: Sequence[Partition]) -> list[Dataset]:
    """Return datasets that must share nothing: the one partition's parts, or a k-fold's test parts."""
    if len(partitions) == 1:
        return list(partitions[0].parts.values())
    return [one.test for one in partitions if one.test is not None]


def refuse_leaks(dataset: Dataset, partitions: Sequence[Partition]) -> None:
    """Raise if a split that the data or a file gave leaks; one that was dealt here cannot.

    Raises
    ------
    SplitError
        Naming pairs of images on two sides.
    """
    if not is_given(dataset):
        return
    found = straddling(kept_apart(partitions))
    if found:
        told = "; ".join(f"{len(pairs)} × {kind} ({_named(pairs)})" for kind, pairs in found.items())
        raise SplitError(
            f"the given split has the same on two sides: {told}. Move each pair to one side, deal a new "
            "split with `tellapart split DATA --anew --out FILE`, or accept the leak with --allow-leaks"
        )


def is_given(dataset: Dataset) -> bool:
    """Return whether the data or a split file say who trains and who tests."""
    return any(sample.split or FOLD in sample.metadata for sample in dataset.samples)


def without_split(dataset: Dataset) -> Dataset:
    """Return the dataset as if nobody had said who trains and who tests."""
    samples = (
        replace(sample, split=None, metadata={k: v for k, v in sample.metadata.items() if k != FOLD})
        for sample in dataset.samples
    )
    return replace(dataset, samples=tuple(samples))


def deal(dataset: Dataset, config: TrainConfig, *, needs_val: bool) -> list[Partition]:
    """Return the folds where there are to be some, else the one partition."""
    if config.folds:
        return folds(dataset, config, needs_val=needs_val)
    return [partition(dataset, config, needs_val=needs_val)]


def clusters_parted_blindly(dataset: Dataset, partitions: Sequence[Partition], config: TrainConfig) -> int:
    """Return how many clusters of near-duplicates the same seed parts where nobody looks for them."""
    try:
        blind = deal(replace(dataset, near=()), config, needs_val=partitions[0].val is not None)
    except DataError:  # no split of that kind to compare with
        return 0
    cluster_of = clusters_by_id(dataset.near or ())
    sides: dict[str, set[int]] = defaultdict(set)
    for number, part in enumerate(kept_apart(blind)):
        for sample in part.samples:
            if sample.id in cluster_of:
                sides[cluster_of[sample.id]].add(number)
    return sum(len(numbers) > 1 for numbers in sides.values())


def _named(pairs: Sequence[tuple[str, str]]) -> str:
    """Name the first pairs and count the others."""
    shown = "; ".join(f"{first} = {second}" for first, second in pairs[:MOST_NAMED])
    return shown if len(pairs) <= MOST_NAMED else f"{shown}; and {len(pairs) - MOST_NAMED} more"


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

    Files that cannot be read were no part of the run that wrote it; here they move to the ledger.

    Raises
    ------
    SplitError
        If the file is missing, lacks a column, or does not cover the dataset.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = {portable_id(row["path"] or ""): row for row in csv.DictReader(file)}
    except FileNotFoundError as exc:
        raise SplitError(f"no split file at {path}") from exc
    except (KeyError, UnicodeDecodeError, csv.Error) as exc:
        raise SplitError(f"{path} is not a split file: it needs the columns path and split") from exc
    missing = dataset.subset(i for i, s in enumerate(dataset.samples) if s.id not in rows).verified()
    if len(missing):
        raise SplitError(
            f"{path} does not mention {len(missing)} of {len(dataset)} images, "
            f"the first being {missing.samples[0].id}; "
            "`tellapart split DATA --out FILE` deals all of them anew"
        )
    covered = dataset.without({entry.path: entry.reason for entry in missing.ledger})
    samples = []
    for sample in covered.samples:
        row = rows[sample.id]
        split = (row.get("split") or "").lower()
        group = sample.group or row.get("group") or None
        if not split and row.get("fold"):
            metadata = {**sample.metadata, FOLD: row["fold"]}
            samples.append(replace(sample, split=None, group=group, metadata=metadata))
            continue
        if split not in SPLIT_FOLDERS:
            raise SplitError(
                f"{path} gives {sample.id} the split {split!r}; accepted: {', '.join(SPLIT_FOLDERS)}"
            )
        samples.append(replace(sample, split=SPLIT_FOLDERS[split], group=group))
    return replace(covered, samples=tuple(samples))


def _marked(part: Dataset, split: str) -> Dataset:
    return replace(part, samples=tuple(replace(sample, split=split) for sample in part.samples))
