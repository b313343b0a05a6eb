"""How many images there are of each class, group and subgroup, and whether that is enough."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from tellapart.audit.findings import Finding
from tellapart.data.dataset import Dataset

MIN_IMAGES = 20
"""Independent images below which a class is small: a fifth of them are at most three test images, and even if
all three are right, the recall's 95 % interval reaches down to 0.3."""

MAX_RATIO = 10
"""Images of the largest class to one of the smallest, from which accuracy is mostly the largest one's."""

MAX_SHARE = 0.5
"""Part of a class that may come from one patient or lesion before figures are about that one."""

MIN_EXPECTED = 10
"""Images of a class expected in a subgroup, from which it is no accident if there are none: if both were
independent, that would happen once in 22,000 times (Poisson)."""

_MAX_VALUES = 12
"""Different values up to which a metadata column makes subgroups; numbers of more are cut at quartiles."""


def counts(dataset: Dataset) -> dict[str, Any]:
    """Return counts ready for JSON.

    Returns
    -------
    ``n_images``; ``classes`` (class -> images); ``groups`` (class -> number of groups, or None if there are
    no groups); ``subgroups`` (metadata column -> value -> class -> images).
    """
    return {
        "n_images": len(dataset),
        "classes": dataset.counts,
        "groups": _independent(dataset) if dataset.groups is not None else None,
        "subgroups": {
            column: {value: dict(_of_classes(dataset, values, value)) for value in _distinct(values)}
            for column, values in subgroups(dataset)
        },
    }


def findings(dataset: Dataset) -> list[Finding]:
    """Return classes that are too small or too unequal, and subgroups that are small or lack a class.

    A group (patient, lesion) counts as one image here, however many it has.
    """
    found = [*_classes(dataset), *_large_groups(dataset)]
    for column, values in subgroups(dataset):
        found += _small_subgroups(dataset, column, values)
        found += _one_sided_subgroups(dataset, column, values)
    return found


def _classes(dataset: Dataset) -> Iterator[Finding]:
    independent = {name: n for name, n in _independent(dataset).items() if n}
    if len(independent) < 2:
        only = ", ".join(independent) or "none"
        message = f"a classifier needs images of at least two classes; found: {only}"
        yield Finding("single class", "warning", message, details={"classes": dataset.counts})
        return
    unit = "images" if dataset.groups is None else "groups"
    ordered = sorted(independent, key=lambda name: (independent[name], name))
    small = [name for name in ordered if independent[name] < MIN_IMAGES]
    if small:
        listed = ", ".join(f"{name} ({independent[name]})" for name in small)
        message = (
            f"fewer than {MIN_IMAGES} {unit} of {listed}: what a test set says of so few is uncertain; add "
            "images, join classes with --merge NEW=OLD,OLD, or look at the intervals"
        )
        yield Finding("small class", "warning", message, details={unit: {c: independent[c] for c in small}})
    images = {name: n for name, n in dataset.counts.items() if n}
    least, most = min(images, key=lambda c: (images[c], c)), max(images, key=lambda c: (images[c], c))
    ratio = images[most] / images[least]
    if ratio >= MAX_RATIO:
        message = (
            f"{ratio:.0f} images of {most} for each one of {least}: read the balanced accuracy and each "
            "class's recall rather than the accuracy, and train with --balance"
        )
        yield Finding("imbalance", "warning", message, details={"ratio": ratio, "images": images})


def _independent(dataset: Dataset) -> dict[str, int]:
    """Return the number of groups per class; images without one count as one each."""
    groups = dataset.groups or tuple(sample.id for sample in dataset.samples)
    distinct: dict[str, set[str]] = defaultdict(set)
    for sample, group in zip(dataset.samples, groups, strict=True):
        distinct[sample.label].add(group)
    return {name: len(distinct[name]) for name in dataset.class_names}


def _large_groups(dataset: Dataset) -> Iterator[Finding]:
    groups = dataset.groups or ()
    sizes = Counter((s.label, group) for s, group in zip(dataset.samples, groups, strict=bool(groups)))
    for (label, group), n in sorted(sizes.items()):
        share = n / dataset.counts[label]
        if share >= MAX_SHARE and dataset.counts[label] >= MIN_IMAGES:
            ids = tuple(s.id for s in dataset.samples if s.label == label and s.group == group)
            message = (
                f"the group {group} holds {n} of the {dataset.counts[label]} images of {label}: the figures "
                "will be about that one; add images of others"
            )
            yield Finding("large group", "warning", message, ids, {"group": group, "class": label, "n": n})


_NO_SUBGROUP = re.compile(r"diagnosis_\d|fetched_at")
"""Columns of a fetched manifest that say the label once more, or when a file came."""


def subgroups(dataset: Dataset) -> Iterator[tuple[str, list[str]]]:
    """Yield each metadata column that makes subgroups, and its value for each sample, blank if unknown."""
    for column in sorted({key for sample in dataset.samples for key in sample.metadata}):
        if _NO_SUBGROUP.fullmatch(column):
            continue
        values = [sample.metadata.get(column, "") for sample in dataset.samples]
        if len(_distinct(values)) > _MAX_VALUES:
            values = _quartiles(values)
        if 2 <= len(_distinct(values)) <= _MAX_VALUES:
            yield column, values


def _distinct(values: list[str]) -> list[str]:
    return sorted(set(values) - {""})


def _quartiles(values: list[str]) -> list[str]:
    """Return numbers as the quartile they lie in, such as ``40 to 55``; blanks where they are no numbers.

    Numbers that hardly ever come twice are rather a serial number than a measurement; they are left out.
    """
    known = [value for value in values if value]
    try:
        numbers = np.array([float(value) for value in known])
    except ValueError:
        return []
    if not np.isfinite(numbers).all() or 2 * np.unique(numbers).size > numbers.size:
        return []
    edges = np.unique(np.quantile(numbers, [0, 0.25, 0.5, 0.75, 1], method="nearest"))
    names = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    bins = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, len(names) - 1)
    of_known = iter(bins.tolist())
    return [names[next(of_known)] if value else "" for value in values]


def _of_classes(dataset: Dataset, values: list[str], value: str) -> Counter[str]:
    found = Counter(dict.fromkeys(dataset.class_names, 0))
    found.update(s.label for s, own in zip(dataset.samples, values, strict=True) if own == value)
    return found


def _small_subgroups(dataset: Dataset, column: str, values: list[str]) -> Iterator[Finding]:
    sizes = {value: n for value, n in sorted(Counter(values).items()) if value and n < MIN_IMAGES}
    if sizes:
        listed = ", ".join(f"{value} ({n})" for value, n in sizes.items())
        ids = tuple(s.id for s, value in zip(dataset.samples, values, strict=True) if value in sizes)
        message = (
            f"fewer than {MIN_IMAGES} images where {column} is {listed}: nobody can say how good a model is "
            "for them; add images, or say so where the model is used"
        )
        yield Finding("small subgroup", "note", message, ids, {"column": column, "images": sizes})


def _one_sided_subgroups(dataset: Dataset, column: str, values: list[str]) -> Iterator[Finding]:
    known = [s.label for s, value in zip(dataset.samples, values, strict=True) if value]
    share = {name: n / len(known) for name, n in Counter(known).items()}
    missing: dict[str, list[str]] = {}
    for value in _distinct(values):
        found = _of_classes(dataset, values, value)
        lacks = [name for name in share if not found[name] and share[name] * found.total() >= MIN_EXPECTED]
        if lacks:
            missing[value] = sorted(lacks)
    if missing:
        listed = "; ".join(f"{value} has no {', '.join(names)}" for value, names in missing.items())
        message = (
            f"{column} rules out classes ({listed}): a model that sees it in the picture need not look at "
            "anything else; add the missing images, or test on them alone"
        )
        yield Finding("one-sided subgroup", "note", message, details={"column": column, "missing": missing})
