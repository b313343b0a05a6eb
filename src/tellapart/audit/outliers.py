"""Images that are like no others, by the features of a network."""

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.findings import Finding
from tellapart.audit.neighbours import Indices, Neighbours
from tellapart.data.dataset import Dataset

MAX_REFERENCE = 2000
"""Images that outliers are measured against, so that the work grows with n and not with its square."""

N_NEAREST = 10
"""The neighbour whose distance counts: up to nine foreign pictures that are alike still stand out."""

OUTLIER_DEVIATIONS = 4.5
"""Robust standard deviations above the median log distance from which an image is an outlier.

Of `ham10000` (5,984 skin lesions) and `recycling` (63 photographs of tableware) no image reaches 4.4. Five
photographs of tableware among all lesions, or three among 300, reach 5.0 and more; one lesion among the
tableware 4.7.
"""

MIN_FOR_OUTLIERS = 30
"""Images below which nothing is called an outlier: too few to know what is usual."""

_LEAST_DISTANCE = 1e-6
"""Cosine distance below which images count as equal: what float32 can tell of features of this length."""


def outliers(neighbours: Neighbours, y: Indices, *, seed: int = 0) -> tuple[Indices, NDArray[np.float64]]:
    """Find images that are like no others.

    An image's distance is that to its tenth nearest among at most 2,000 images, each class having its share
    (after Sugiyama and Borgwardt, "Rapid distance-based outlier detection via sampling", NIPS 2013). A class
    most of whose images are so distant is a rare one rather than foreign, and none of it is named.

    Returns
    -------
    found
        int64 of shape (n_outliers,): positions, the most distant first.
    deviations
        float64 of the same shape: how far above the median, in robust standard deviations.
    """
    if len(y) < MIN_FOR_OUTLIERS:
        return np.empty(0, np.int64), np.empty(0)
    _, similarity = neighbours.nearest(np.arange(len(y)), N_NEAREST, _sample(y, MAX_REFERENCE, seed))
    distance = np.log(np.maximum(1.0 - similarity[:, -1].astype(np.float64), _LEAST_DISTANCE))
    median = np.median(distance)
    deviation = (distance - median) / max(1.4826 * float(np.median(np.abs(distance - median))), 1e-3)
    is_far = deviation > OUTLIER_DEVIATIONS
    share = np.bincount(y, is_far) / np.maximum(np.bincount(y), 1)
    found = np.flatnonzero(is_far & (share[y] <= 0.5))
    found = found[np.argsort(-deviation[found], kind="stable")]
    return found, deviation[found]


def _sample(y: Indices, most: int, seed: int) -> Indices:
    """Choose at most so many positions, as many of a class as of any other where it has as many."""
    order = np.random.default_rng(seed).permutation(len(y))
    rank = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        of_class = order[y[order] == label]
        rank[of_class] = np.arange(len(of_class))
    return np.sort(order[np.argsort(rank[order], kind="stable")][:most])


def findings(dataset: Dataset, neighbours: Neighbours) -> list[Finding]:
    """Say which images are outliers, the most distant first."""
    found, deviations = outliers(neighbours, dataset.targets)
    if not len(found):
        return []
    ids = tuple(dataset.samples[i].id for i in found)
    images = "1 image is" if len(ids) == 1 else f"{len(ids)} images are"
    return [
        Finding(
            "outlier",
            "warning",
            f"{images} like no other, first {ids[0]}: see whether such pictures belong here, and leave "
            "them out if they do not",
            ids,
            {"deviations": [round(float(d), 1) for d in deviations]},
        )
    ]
