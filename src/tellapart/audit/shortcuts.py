"""Signals that give the label away to who does not look at what is in the picture.

A network learns whatever tells the classes apart: if one class came as PNG from one microscope and the other
as JPEG from another, that is enough, and no test set from the same collection will show it. So each signal
that has nothing to do with the subject gets a small classifier of its own. If it does better than guessing
on images that it has not seen, so may a network, for the wrong reason.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.balance import subgroups
from tellapart.audit.findings import Finding, Severity
from tellapart.audit.looks import Look
from tellapart.data import splits
from tellapart.data.dataset import Dataset

N_FOLDS = 5
"""And so many independent images a class must have to take part."""

_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Signal:
    """Something that could give the label away.

    Attributes
    ----------
    name
        As it is called in a sentence.
    columns
        Its figures of one image, numbers or words, by name.
    margin
        How much better than guessing it must be, of the way from guessing to perfection, in (0, 1): more
        for what can also come from the subject itself.
    severity
        Of the finding.
    advice
        What to do about it.
    """

    name: str
    columns: Callable[[Look], Mapping[str, float | str]]
    margin: float
    severity: Severity
    advice: str


_ALIKE = "a network may learn this instead of the subject; bring all images into one form, or collect anew"
_LOOK = "if that is not what makes the classes what they are, collect images under the same conditions"

SIGNALS = (
    Signal(
        "image size",
        lambda look: {"width": look.width, "height": look.height, "aspect ratio": look.width / look.height},
        0.1,
        "warning",
        _ALIKE,
    ),
    Signal(
        "file format",
        lambda look: {"format": look.format, "mode": look.mode, "quantisation": look.quantisation},
        0.1,
        "warning",
        _ALIKE,
    ),
    Signal(
        "border",
        lambda look: dict(zip(("left", "top", "right", "bottom"), look.border, strict=True)),
        0.1,
        "warning",
        "a network may learn this instead of the subject; cut the borders off",
    ),
    Signal(
        "metadata",
        lambda look: {
            kind: str(kind in look.clues) for kind in ("device", "person", "place", "text", "time")
        },
        0.1,
        "warning",
        "the classes come from different cameras or hands, which pictures can show too; mix the origins",
    ),
    Signal(
        "mean colour",
        lambda look: dict(zip(("red", "green", "blue"), look.colour, strict=True)),
        0.5,
        "note",
        _LOOK,
    ),
    Signal(
        "light",
        lambda look: {"brightness": look.brightness, "contrast": look.contrast},
        0.5,
        "note",
        _LOOK,
    ),
    Signal(
        "sharpness",
        lambda look: {"blur": look.blur, "bytes per pixel": look.n_bytes / (look.width * look.height)},
        0.5,
        "note",
        _LOOK,
    ),
)
"""The margins were chosen on 5,984 dermoscopic images of seven diagnoses, all of one size and format."""

_COLUMN = Signal(
    "",
    lambda look: {},
    0.5,
    "note",
    "if it says where or by whom pictures were taken, a network may learn that instead of the subject",
)
"""Any metadata column that makes subgroups (see `tellapart.audit.balance`), whatever its values mean."""


def findings(
    dataset: Dataset, looks: Sequence[Look], groups: Sequence[Hashable], *, seed: int = 0
) -> list[Finding]:
    """Return the signals that alone predict the label: of `SIGNALS`, and metadata columns.

    For each a small decision tree predicts every image from images of other groups (5 folds). It
    is reported if the lower end of the 95 % interval of its balanced accuracy lies above 1 / n_classes by the
    signal's margin.

    Parameters
    ----------
    looks
        One per sample, in the dataset's order.
    groups
        One per sample, as from `Dataset.tied`: samples that share one stay in one fold.
    seed
        Decides how folds are dealt.
    """
    independent: dict[str, set[Hashable]] = {name: set() for name in dataset.class_names}
    for sample, group in zip(dataset.samples, groups, strict=True):
        independent[sample.label].add(group)
    names = [name for name in dataset.class_names if len(independent[name]) >= N_FOLDS]
    if len(names) < 2:
        message = (
            f"shortcuts cannot be looked for: that needs {N_FOLDS} independent images in each of two classes"
        )
        return [Finding("shortcut", "note", message)]
    chosen = [i for i, sample in enumerate(dataset.samples) if sample.label in names]
    part = replace(dataset.subset(chosen), class_names=tuple(names))
    own_looks, own_groups = [looks[i] for i in chosen], [groups[i] for i in chosen]
    shares = [1 / N_FOLDS] * N_FOLDS
    fold_of = splits.deal(part.targets, own_groups, shares, seed=seed, every_class=False)
    told = [_tell(signal, _figures(signal, own_looks), part, own_groups, fold_of) for signal in SIGNALS]
    for name, values in subgroups(part):
        signal = replace(_COLUMN, name=f"the manifest's column {name}")
        told.append(_tell(signal, {name: values}, part, own_groups, fold_of))
    return [finding for finding in told if finding is not None]


def _figures(signal: Signal, looks: Sequence[Look]) -> dict[str, list[float | str]]:
    rows = [signal.columns(look) for look in looks]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _tell(
    signal: Signal,
    columns: Mapping[str, Sequence[float | str]],
    dataset: Dataset,
    groups: Sequence[Hashable],
    fold_of: NDArray[np.int64],
) -> Finding | None:
    features = np.column_stack([_as_numbers(values) for values in columns.values()])
    if (features == features[0]).all():
        return None
    y, names = dataset.targets, dataset.class_names
    y_pred = _predict(features, y, fold_of)
    accuracy, error = balanced_accuracy(y, y_pred, groups)
    chance = 1 / len(names)
    if accuracy - _Z95 * error < chance + signal.margin * (1 - chance):
        return None
    interval = (max(0.0, accuracy - _Z95 * error), min(1.0, accuracy + _Z95 * error))
    recalls = {name: float((y_pred[y == c] == c).mean()) for c, name in enumerate(names)}
    message = (
        f"{signal.name} alone tells the classes apart: balanced accuracy {accuracy:.2f} "
        f"({interval[0]:.2f} to {interval[1]:.2f}; guessing {chance:.2f}), most surely "
        f"{max(recalls, key=lambda name: recalls[name])}; {signal.advice}"
    )
    details = {
        "signal": signal.name,
        "balanced_accuracy": {"value": accuracy, "ci95": list(interval)},
        "chance": chance,
        "recall": recalls,
        "typical": {
            name: {
                column: _typical([v for v, own in zip(values, y, strict=True) if own == c])
                for column, values in columns.items()
            }
            for c, name in enumerate(names)
        },
    }
    return Finding("shortcut", signal.severity, message, details=details)


def _as_numbers(values: Sequence[float | str]) -> NDArray[np.float64]:
    """Return numbers as they are, and words numbered in their order."""
    if isinstance(values[0], str):
        return np.unique(values, return_inverse=True)[1].astype(np.float64)
    return np.asarray(values, dtype=np.float64)


def _typical(values: Sequence[float | str]) -> float | str:
    """Return the value that is there most often, or of figures that hardly repeat the middle one."""
    value, n = Counter(values).most_common(1)[0]
    return value if isinstance(value, str) or 2 * n >= len(values) else float(np.median(np.array(values)))


def _predict(
    features: NDArray[np.float64], y: NDArray[np.int64], fold_of: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the class of each sample as told by a tree that learned from the other folds."""
    from sklearn.tree import DecisionTreeClassifier

    n_leaves = 8 * int(np.unique(y).size)  # few: a shortcut that is worth taking is simple
    y_pred = np.empty_like(y)
    for fold in np.unique(fold_of):
        tree = DecisionTreeClassifier(
            class_weight="balanced", max_leaf_nodes=n_leaves, min_samples_leaf=3, random_state=0
        )
        held_out = fold_of == fold
        y_pred[held_out] = tree.fit(features[~held_out], y[~held_out]).predict(features[held_out])
    return y_pred


def balanced_accuracy(
    y_true: NDArray[np.int64], y_pred: NDArray[np.int64], groups: Sequence[Hashable]
) -> tuple[float, float]:
    """Return the mean recall and its standard error when whole groups are drawn, not images.

    The error is that of a sum of ratios, linearised (Taylor), with groups as clusters (Cochran, Sampling
    Techniques, 1977, chapters 6 and 11).

    Parameters
    ----------
    y_true, y_pred
        int64 of shape (n_samples,): class indices; every class occurs.
    groups
        One per sample.
    """
    classes, n = np.unique(y_true, return_counts=True)
    correct = y_true == y_pred
    recall = np.array([correct[y_true == c].mean() for c in classes])
    own = np.searchsorted(classes, y_true)
    # What each image adds to the mean recall beyond its expectation, summed per group.
    surplus = (correct - recall[own]) / n[own] / len(classes)
    numbers = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    per_group = np.bincount([numbers[group] for group in groups], weights=surplus)
    n_groups = len(numbers)
    variance = n_groups / max(1, n_groups - 1) * float((per_group**2).sum())
    return float(recall.mean()), float(np.sqrt(variance))
