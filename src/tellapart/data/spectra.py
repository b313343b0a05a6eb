"""Which of many small pictures may show the same, whichever way each is turned or mirrored.

A picture's low frequencies (its discrete cosine transform) only change signs when it is mirrored, and swap
axes when it is turned: their absolute values, with each frequency and its transpose put in order, are the
same for all eight ways, and no further apart than the pictures themselves. So one search over them finds
what any of the eight would. Slight crops are searched for as windows of the larger picture.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tellapart.data.neighbours import Index

Float = NDArray[np.float32]

EDGE = 32
"""Height and width of the small pictures, in pixels."""

N_FREQUENCIES = 10
"""Frequencies kept along each axis."""

_NEAR, _FAR = (0.0, 0.92), (0.08, 1.0)
WINDOWS = (
    ((0.0, 1.0), (0.0, 1.0)),
    ((0.05, 0.95), (0.05, 0.95)),
    (_NEAR, _NEAR),
    (_NEAR, _FAR),
    (_FAR, _NEAR),
    (_FAR, _FAR),
)
"""What of a picture is looked for as a whole picture: top and bottom, left and right, as parts of its edges.
The first is all of it."""

LIKELY = 0.75
"""Least correlation of two spectra, signs included, that is worth aligning the pictures for. Of crops by a
tenth, which are the hardest, 99 % have 0.8."""

EMBEDDING_REACH = 0.6
"""Distance of unit embeddings, less their mean, up to which a pair is proposed: a cosine of 0.82."""

LIKELY_IF_PROPOSED = 0.4
"""`LIKELY` for what embeddings propose."""

CHUNK = 65536
"""Pairs correlated at a time, which bounds memory."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs of pictures that may show the same.

    Attributes
    ----------
    first, second
        int64 of shape (n_pairs,): positions.
    window
        int64 of shape (n_pairs,): the part of `first`, of `WINDOWS`, that looks like all of `second`.
    symmetry
        int64 of shape (n_pairs,): what turns `second` as `first` is, of the eight of `turned`.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    window: NDArray[np.int64]
    symmetry: NDArray[np.int64]


def turned(pictures: Float, symmetry: NDArray[np.int64]) -> Float:
    """Return pictures of shape (n, edge, edge), each turned or mirrored one of eight ways.

    Bit 2 of `symmetry` swaps the axes; then bit 1 turns it upside down, bit 0 swaps left and right.
    """
    result = pictures.copy()
    for bit, change in ((4, _swapped), (2, _upside_down), (1, _mirrored)):
        chosen = (symmetry & bit) > 0
        result[chosen] = change(result[chosen])
    return result


def _swapped(pictures: Float) -> Float:
    return pictures.transpose(0, 2, 1)


def _upside_down(pictures: Float) -> Float:
    return pictures[:, ::-1]


def _mirrored(pictures: Float) -> Float:
    return pictures[:, :, ::-1]


def spectra(pictures: Float, window: int = 0) -> Float:
    """Return the low frequencies of a window of each picture, as unit vectors without the mean.

    Parameters
    ----------
    pictures
        float32 of shape (n, EDGE, EDGE).
    window
        Index into `WINDOWS`.

    Returns
    -------
    float32 of shape (n, N_FREQUENCIES, N_FREQUENCIES). Higher frequencies weigh more, which makes up for the
    steep fall of natural pictures' spectra.
    """
    rows, columns = (_transform(*bounds) for bounds in WINDOWS[window])
    found = rows @ pictures @ columns.T
    height = np.arange(N_FREQUENCIES, dtype=np.float32)
    found = found * np.hypot(height[:, None], height) ** 1.5
    unit: Float = found / np.maximum(np.linalg.norm(found, axis=(1, 2), keepdims=True), 1e-6)
    return unit


def _transform(start: float, stop: float) -> Float:
    """Return the cosine transform of a linear resampling of [start, stop], of shape (N_FREQUENCIES, EDGE)."""
    centres = (np.arange(EDGE) + 0.5) / EDGE
    places = np.clip((start + (stop - start) * centres) * EDGE - 0.5, 0, EDGE - 1)
    below = np.minimum(places.astype(int), EDGE - 2)
    resample = np.zeros((EDGE, EDGE))
    resample[np.arange(EDGE), below] = below + 1 - places
    resample[np.arange(EDGE), below + 1] = places - below
    cosines = np.cos(np.pi * np.outer(np.arange(N_FREQUENCIES), centres))
    return (cosines @ resample).astype(np.float32)


def invariant(spectrum: Float) -> Float:
    """Return what the eight ways of turning a picture leave of its spectrum: shape (n, N_FREQUENCIES**2)."""
    size = np.abs(spectrum)
    swapped = size.transpose(0, 2, 1)
    rows, columns = np.triu_indices(N_FREQUENCIES)
    strict = rows < columns
    larger = np.maximum(size, swapped)[:, rows, columns]
    smaller = np.minimum(size, swapped)[:, rows[strict], columns[strict]]
    return np.concatenate([larger, smaller], axis=1)


class Search:
    """Proposes pairs of pictures that may show the same, without comparing all with all.

    Parameters
    ----------
    pictures
        float32 of shape (n, EDGE, EDGE).
    embeddings
        float32 of shape (n, n_features): those near one another are proposed too, with less proof.
    """

    def __init__(self, pictures: Float, embeddings: Float | None = None) -> None:
        self.pictures = pictures
        self.whole = spectra(pictures)
        self.index = Index(invariant(self.whole))
        self.embedded = None if embeddings is None else Index(_centred(embeddings))

    def candidates(self, asking: NDArray[np.int64], cluster_of: NDArray[np.int64]) -> Candidates:
        """Return pairs of pictures of two clusters, one of which is asked for.

        Parameters
        ----------
        asking
            int64 of shape (n_asking,): positions of pictures for which others are looked for.
        cluster_of
            int64 of shape (n,): what is known to belong together already.
        """
        proposed = self._by_embedding(asking, cluster_of)
        found = []
        for window in range(len(WINDOWS)):
            part = spectra(self.pictures, window)
            near = self.index.near(invariant(part), asking, cluster_of)
            found.append(_likely(*near, window, part, self.whole, LIKELY))
            found.append(_likely(*proposed, window, part, self.whole, LIKELY_IF_PROPOSED))
        columns = (np.concatenate(column) for column in zip(*found, strict=True))
        first, second, windows, symmetry, correlation = columns
        # Of a pair that was found in several windows, or from both sides, the one that fits best.
        best_first = np.lexsort((-correlation, np.maximum(first, second), np.minimum(first, second)))
        names = np.stack([np.minimum(first, second), np.maximum(first, second)], axis=1)[best_first]
        _, chosen = np.unique(names, axis=0, return_index=True)
        chosen = best_first[chosen]
        return Candidates(first[chosen], second[chosen], windows[chosen], symmetry[chosen])

    def _by_embedding(
        self, asking: NDArray[np.int64], cluster_of: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return both orders of pairs whose embeddings point the same way."""
        if self.embedded is None:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        index = self.embedded
        first, second = index.near(index.vectors, asking, cluster_of, reach=EMBEDDING_REACH)
        return np.concatenate([first, second]), np.concatenate([second, first])


def _centred(embeddings: Float) -> Float:
    """Return embeddings as directions seen from their mean."""
    centred: Float = embeddings - embeddings.mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    return centred


def _likely(
    first: NDArray[np.int64], second: NDArray[np.int64], window: int, part: Float, whole: Float, least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Float]:
    """Return first, second, window, symmetry and correlation of pairs that agree in their signs, too."""
    symmetry = np.empty(len(first), np.int64)
    correlation = np.empty(len(first), np.float32)
    for begin in range(0, len(first), CHUNK):
        chosen = slice(begin, begin + CHUNK)
        by_way = _correlations(part[first[chosen]], whole[second[chosen]])
        symmetry[chosen] = by_way.argmax(axis=1)
        correlation[chosen] = by_way.max(axis=1)
    kept = correlation >= least
    windows = np.full(len(first), window)
    return first[kept], second[kept], windows[kept], symmetry[kept], correlation[kept]


def _correlations(first: Float, second: Float) -> Float:
    """Return the correlation of spectra with each of the eight ways of turning `second`: shape (n, 8)."""
    odd = np.where(np.arange(N_FREQUENCIES) % 2, -1, 1).astype(np.float32)
    plain = np.ones_like(odd)
    signs = np.stack([np.outer(rows, columns) for rows in (plain, odd) for columns in (plain, odd)])
    columns = signs.reshape(4, -1).T
    ways = [
        (first * other).reshape(len(first), -1) @ columns for other in (second, second.transpose(0, 2, 1))
    ]
    return np.concatenate(ways, axis=1)
