"""What a classifier's out-of-sample probabilities say of the labels: likely errors, classes that look alike.

Label errors are found by confident learning (Northcutt, Jiang and Chuang, "Confident learning: estimating
uncertainty in dataset labels", JAIR 70, 2021). A class's threshold is the mean probability of the class
among the images that carry its label; images of which another class than their own passes its threshold say
how many labels are wrong. That many are named: those whose own label is least probable, which finds more
planted errors than the very images that passed (benchmarks/label_errors.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from tellapart.audit.findings import Finding
from tellapart.audit.neighbours import Neighbours
from tellapart.data.dataset import Dataset

N_NEIGHBOURS = 5
"""Neighbours named with each suspect label."""

LOOK_ALIKE_AUC = 0.65
"""Two classes with a smaller area under their ROC curve count as not told apart, if chance explains it."""

MIN_FOR_PAIR = 8
"""Images of each of two classes below which nothing is said about telling them apart: with eight each, chance
alone spreads the area by 0.15."""

Array64 = NDArray[np.float64]


def suspects(y: NDArray[np.int64], y_prob: Array64) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the labels that are likely wrong.

    Parameters
    ----------
    y
        int64 of shape (n_samples,): labels as given, indices of the columns of `y_prob`.
    y_prob
        float64 of shape (n_samples, n_classes): probabilities from models that did not learn from the
        image; rows sum to 1.

    Returns
    -------
    found
        int64 of shape (n_suspects,): positions, the least probable label first.
    suggested
        int64 of shape (n_suspects,): the most probable class of each.
    """
    present = np.unique(y)
    threshold = np.full(y_prob.shape[1], np.inf)  # a class without labels is never suggested
    threshold[present] = [y_prob[y == label, label].mean() for label in present]
    # The mean of equal numbers may come out a last digit above them.
    confident = np.where(y_prob >= threshold - 1e-9, y_prob, -1.0)
    likely = y_prob.argmax(axis=1)
    doubted = likely != y
    n_suspects = np.count_nonzero((confident.max(axis=1) > 0) & (confident.argmax(axis=1) != y) & doubted)
    order = np.argsort(self_confidence(y, y_prob), kind="stable")
    found = order[doubted[order]][:n_suspects]
    return found, likely[found]


def self_confidence(y: NDArray[np.int64], y_prob: Array64) -> Array64:
    """Return the probability of the label as given, float64 of shape (n_samples,): the lower, the odder."""
    confidence: Array64 = y_prob[np.arange(len(y)), y]
    return confidence


def findings(dataset: Dataset, y_prob: Array64, neighbours: Neighbours) -> list[Finding]:
    """Say which labels are likely wrong, the most suspicious first, and which classes look alike.

    Parameters
    ----------
    dataset
        The images in the order of `y_prob`.
    y_prob
        Out-of-sample probabilities, float64 of shape (n_samples, n_classes).
    neighbours
        Of the same images; those of each suspect are named in ``details["neighbours"]``.
    """
    y, names = dataset.targets, dataset.class_names
    found, suggested = suspects(y, y_prob)
    near, similarity = neighbours.nearest(found, N_NEIGHBOURS)
    told = [
        _label_error(dataset, i, names[j], y_prob[i], _named(dataset, near[row], similarity[row]))
        for row, (i, j) in enumerate(zip(found.tolist(), suggested.tolist(), strict=True))
    ]
    return [*told, *_look_alikes(names, y, y_prob)]


def _label_error(
    dataset: Dataset, index: int, suggested: str, y_prob: Array64, neighbours: list[dict[str, Any]]
) -> Finding:
    sample = dataset.samples[index]
    probability = dict(zip(dataset.class_names, y_prob, strict=True))
    agree = sum(neighbour["label"] == suggested for neighbour in neighbours)
    return Finding(
        "suspected label",
        "warning",
        f"{sample.id} is labelled {sample.label} and looks like {suggested} "
        f"({probability[suggested]:.0%} against {probability[sample.label]:.0%}; {agree} of its "
        f"{len(neighbours)} nearest images are {suggested}): look at it; `tellapart label` corrects it",
        (sample.id,),
        {
            "label": sample.label,
            "suggested": suggested,
            "probability": {name: round(float(p), 4) for name, p in probability.items()},
            "neighbours": neighbours,
        },
    )


def _named(
    dataset: Dataset, indices: NDArray[np.int64], similarity: NDArray[np.float32]
) -> list[dict[str, Any]]:
    samples = [dataset.samples[i] for i in indices]
    return [
        {"id": sample.id, "label": sample.label, "similarity": round(float(s), 4)}
        for sample, s in zip(samples, similarity, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Contrast:
    """How well two classes are told apart.

    Attributes
    ----------
    first, second
        Class indices.
    auc
        Chance that of two images, one of each class, the right one has the higher share of probability.
    ci95
        By Hanley and McNeil ("The meaning and use of the area under a ROC curve", Radiology 143, 1982).
    """

    first: int
    second: int
    auc: float
    ci95: tuple[float, float]

    @property
    def is_none(self) -> bool:
        """Whether chance explains what difference there is."""
        return self.auc < LOOK_ALIKE_AUC and self.ci95[0] <= 0.5


def contrasts(y: NDArray[np.int64], y_prob: Array64) -> list[Contrast]:
    """Return how well each two classes with images enough are told apart, the worst first."""
    counts = np.bincount(y, minlength=y_prob.shape[1])
    pairs = combinations(np.flatnonzero(counts >= MIN_FOR_PAIR).tolist(), 2)
    return sorted((_contrast(i, j, y, y_prob) for i, j in pairs), key=lambda contrast: contrast.auc)


def _contrast(first: int, second: int, y: NDArray[np.int64], y_prob: Array64) -> Contrast:
    of_two = (y == first) | (y == second)
    is_second = y[of_two] == second
    both = y_prob[of_two][:, [first, second]]
    share = both[:, 1] / np.maximum(both.sum(axis=1), np.finfo(np.float64).tiny)
    n, m = int(is_second.sum()), int((~is_second).sum())
    auc = float((rankdata(share)[is_second].sum() - n * (n + 1) / 2) / (n * m))
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = (auc * (1 - auc) + (n - 1) * (q1 - auc**2) + (m - 1) * (q2 - auc**2)) / (n * m)
    half = float(ndtri(0.975)) * float(np.sqrt(max(variance, 0.0)))
    return Contrast(first, second, auc, (max(auc - half, 0.0), min(auc + half, 1.0)))


def _look_alikes(names: Sequence[str], y: NDArray[np.int64], y_prob: Array64) -> list[Finding]:
    return [
        Finding(
            "classes alike",
            "warning",
            f"{names[one.first]} and {names[one.second]} cannot be told apart (AUROC {one.auc:.2f}, 95 % "
            f"interval {one.ci95[0]:.2f}–{one.ci95[1]:.2f}; 0.5 is chance): join them with --merge, or see "
            "whether their labels are mixed up",
            (),
            {"classes": [names[one.first], names[one.second]], "auc": one.auc, "ci95": list(one.ci95)},
        )
        for one in contrasts(y, y_prob)
        if one.is_none
    ]
