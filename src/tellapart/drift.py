"""Do the images that come in still look like those the model was checked on? NumPy alone.

At training a few statistics of held-out images, and of the answers to them, are counted into bins and
kept in ``model.json``. A service counts the same over its latest images and compares the counts by the
population stability index: sum of (p - q) ln(p / q) over the bins. As a rule of thumb, below 0.1 nothing
has changed, above 0.25 much has.
"""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import BundleError

STATISTICS = ("brightness", "contrast", "saturation")
"""The columns of `image_statistics`."""

MIN_IMAGES = 50
"""Fewer recent images than this are compared with nothing: chance alone would look like drift."""

N_BINS = 5
"""Between the smallest and the largest value of the reference; few, because references are small: without
any drift the index of n reference images and m recent ones is about (bins - 1) (1/n + 1/m)."""

_GRID = 32
"""Pixels per edge that are looked at, at least: enough for means, at a hundredth of the network's time."""


def image_statistics(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Describe images by a few numbers.

    Parameters
    ----------
    pixels
        uint8 RGB of shape (n, size, size, 3), as the model takes them.

    Returns
    -------
    ndarray of shape (n, 3), float64 in [0, 1]: mean of the grey values, their standard deviation, and the
    mean of the largest minus the smallest of the three channels.
    """
    step = max(1, pixels.shape[1] // _GRID)
    # Channels first, in which NumPy reduces them three times as fast as with three values side by side.
    channels = np.ascontiguousarray(np.moveaxis(pixels[:, ::step, ::step], 3, 0))
    seen = channels.astype(np.float32) / 255
    grey = seen.mean(axis=0)
    chroma = seen.max(axis=0) - seen.min(axis=0)
    columns = (grey.mean(axis=(1, 2)), grey.std(axis=(1, 2)), chroma.mean(axis=(1, 2)))
    return np.stack(columns, axis=1).astype(np.float64)


def summarise(
    pixels: NDArray[np.uint8], y_prob: NDArray[np.float64], class_names: Sequence[str], *, images_from: str
) -> dict[str, Any]:
    """Return the reference that goes into a bundle's card.

    Parameters
    ----------
    pixels, y_prob
        Images, uint8 of shape (n, size, size, 3), n at least 1, and the model's answers to them,
        float64 of shape (n, n_classes).
    images_from
        Which images they are, in words.

    Returns
    -------
    ``n_images``, ``images_from``, ``class_mix`` (class -> how often it was the most probable) and
    ``measures`` (name -> ``edges`` and ``counts``, one more than there are edges).
    """
    columns = np.column_stack([image_statistics(pixels), y_prob.max(axis=1)])
    measures = {}
    for name, values in zip((*STATISTICS, "confidence"), columns.T, strict=True):
        inner = np.quantile(values, np.linspace(0, 1, N_BINS + 1)[1:-1])
        # And a bin on either side, for what the reference never saw.
        edges = np.unique([values.min() - 1e-6, *inner, values.max() + 1e-6])
        counts = np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)
        measures[name] = {"edges": edges.tolist(), "counts": counts.tolist()}
    answered = np.bincount(y_prob.argmax(axis=1), minlength=len(class_names)).tolist()
    return {
        "n_images": len(pixels),
        "images_from": images_from,
        "class_mix": dict(zip(class_names, answered, strict=True)),
        "measures": measures,
    }


class DriftWindow:
    """The latest images that a model answered, beside the reference in its card; safe between threads.

    Parameters
    ----------
    reference
        As from `summarise`; with None (an older bundle) there are no distances.
    size
        How many images count as recent.

    Raises
    ------
    BundleError
        If the reference is damaged.
    """

    def __init__(self, reference: Mapping[str, Any] | None, size: int = 1000) -> None:
        self._lock = Lock()
        self._size, self._seen = size, 0
        self._edges: list[NDArray[np.float64]] = []
        self._expected: dict[str, NDArray[np.float64]] = {}
        if reference is not None:
            try:
                self._read(reference)
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                raise BundleError(
                    f"model.json has a damaged reference for drift: {exc!r}; train again"
                ) from exc
        # Which bin of each measure each recent image falls into.
        self._bins = np.zeros((size, len(self._expected)), np.int32)

    def _read(self, reference: Mapping[str, Any]) -> None:
        for name in (*STATISTICS, "confidence"):
            measure = reference["measures"][name]
            edges = np.asarray(measure["edges"], np.float64)
            counts = np.asarray(measure["counts"], np.float64)
            if edges.ndim != 1 or counts.shape != (len(edges) + 1,) or not counts.sum() > 0:
                raise ValueError(f"{name} has {edges.shape} edges and {counts.shape} counts")
            self._edges.append(edges)
            self._expected[name] = counts
        self._expected["class_mix"] = np.asarray(list(reference["class_mix"].values()), np.float64)

    def __len__(self) -> int:
        return min(self._seen, self._size)

    def add(self, statistics: NDArray[np.float64], y_prob: NDArray[np.float64]) -> None:
        """Count images: their `image_statistics`, shape (n, 3), and answers, shape (n, n_classes)."""
        if not self._expected:
            return
        columns = np.column_stack([statistics, y_prob.max(axis=1)])
        bins = [np.searchsorted(edges, values) for edges, values in zip(self._edges, columns.T, strict=True)]
        rows = np.column_stack([*bins, y_prob.argmax(axis=1)])
        with self._lock:
            self._bins[(self._seen + np.arange(len(rows))) % self._size] = rows
            self._seen += len(rows)

    def distances(self) -> dict[str, float]:
        """Return the stability index per measure; empty before `MIN_IMAGES` images."""
        with self._lock:
            n_images = len(self)
            recent = self._bins[:n_images].copy()
        if not self._expected or n_images < min(MIN_IMAGES, self._size):
            return {}
        return {
            name: _stability_index(expected, np.bincount(bins, minlength=len(expected)).astype(np.float64))
            for (name, expected), bins in zip(self._expected.items(), recent.T, strict=True)
        }


def _stability_index(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    # Half an image is added to each bin, so that an empty one gives a large figure and not infinity.
    p = (found + 0.5) / (found + 0.5).sum()
    q = (expected + 0.5) / (expected + 0.5).sum()
    return float(((p - q) * np.log(p / q)).sum())
