"""The nearest of many unit vectors, without comparing all with all.

An inverted file: k-means deals the vectors into about as many cells as a cell has vectors, and a query looks
into the few cells whose centres are nearest. The work grows with n ** 1.5, all of it in products of matrices;
trees do not help among vectors of a hundred numbers. Jegou, Douze and Schmid describe the structure in
"Product quantization for nearest neighbor search", IEEE TPAMI 33 (2011).

scikit-learn makes the cells. The search itself is our own, because no library suits all who install this one:
faiss-cpu, which has the same structure and was not faster on two cores, brings 65 MB and its own OpenMP,
beside which torch crashes on macOS (faiss-wheels issue 73); hnswlib has no wheels; the graphs that it and
usearch build on several threads differ from run to run, and a split must not.
"""

import numpy as np
from numpy.typing import NDArray

from tellapart.data.reader import in_parallel

Float = NDArray[np.float32]
Int = NDArray[np.int64]

NEIGHBOURS = 8
"""How many of the nearest vectors are given at most."""

REACH = 0.45
"""Distance beyond which no vector is given. Spectra of unrelated pictures lie near 0.85 from one another, as
do vectors of absolute normal numbers in as many dimensions; those of copies mostly below 0.35."""

CELLS_ASKED = 12
"""Cells that a query looks into."""

FEW = 4096
"""Number of vectors up to which one cell holds all, so that every one is looked at."""

AT_ONCE = 2**22
"""Cosines that one thread holds at a time, which bounds memory where many vectors share a cell."""


class Index:
    """Vectors that can be asked for those near others.

    Parameters
    ----------
    vectors
        float32 of shape (n, n_features), each of length 1.
    """

    def __init__(self, vectors: Float) -> None:
        self.vectors = vectors
        self.centres = _centres(vectors)
        cell_of = self._cells(vectors, np.arange(len(vectors)), 1)[:, 0]
        self.members = np.split(
            np.argsort(cell_of, kind="stable"),
            np.cumsum(np.bincount(cell_of, minlength=len(self.centres)))[:-1],
        )

    def near(self, looks: Float, asking: Int, cluster_of: Int, reach: float = REACH) -> tuple[Int, Int]:
        """Find, for some of the vectors, the nearest of other clusters than their own.

        Parameters
        ----------
        looks
            float32 of shape (n, n_features): what to look for in place of each vector, of length 1.
        asking
            int64 of shape (n_asking,): positions of those to look for.
        cluster_of
            int64 of shape (n,): the cluster of each vector.

        Returns
        -------
        Positions of those that asked and of vectors within reach of each, at most `NEIGHBOURS` of one.
        """
        cells = self._cells(looks, asking, min(CELLS_ASKED, len(self.centres)))
        order = np.argsort(cells, axis=None, kind="stable")
        bounds = np.searchsorted(cells.ravel()[order], np.arange(1, len(self.centres)))
        asking_by_cell = np.split(asking[order // cells.shape[1]], bounds)

        def search(work: tuple[Int, Int]) -> tuple[Int, Int, Float]:
            asking, members = work
            size = max(1, AT_ONCE // max(1, len(members)))
            blocks = [asking[begin : begin + size] for begin in range(0, len(asking), size)]
            return _joined([self._best(looks, one, members, cluster_of, reach) for one in blocks])

        found = in_parallel(search, zip(asking_by_cell, self.members, strict=True))
        first, second, cosine = _joined(list(found))
        order = np.lexsort((-cosine, first))
        first, second = first[order], second[order]
        rank = np.arange(len(first)) - np.searchsorted(first, first)
        return first[rank < NEIGHBOURS], second[rank < NEIGHBOURS]

    def _best(
        self, looks: Float, asking: Int, members: Int, cluster_of: Int, reach: float
    ) -> tuple[Int, Int, Float]:
        """Return who asks, a cell's vectors within reach of each, the best at most, and their cosines."""
        cosine = looks[asking] @ self.vectors[members].T
        cosine[cluster_of[asking][:, None] == cluster_of[members]] = -1
        near = cosine >= 1 - reach**2 / 2
        crowded = np.flatnonzero(near.sum(axis=1) > NEIGHBOURS)
        if len(crowded):
            best = np.argpartition(cosine[crowded], -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:]
            near[crowded] = False
            near[crowded[:, None], best] = True
        row, column = np.nonzero(near)
        return asking[row], members[column], cosine[row, column]

    def _cells(self, looks: Float, asking: Int, n_cells: int) -> Int:
        """Return the cells nearest to each that asks, of shape (n_asking, n_cells)."""
        half_squares = (self.centres**2).sum(axis=1) / 2
        nearest = []
        for begin in range(0, len(asking), FEW):
            score = half_squares - looks[asking[begin : begin + FEW]] @ self.centres.T
            nearest.append(np.argpartition(score, n_cells - 1, axis=1)[:, :n_cells])
        return np.concatenate([np.empty((0, n_cells), np.int64), *nearest])


def _joined(parts: list[tuple[Int, Int, Float]]) -> tuple[Int, Int, Float]:
    nothing = np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
    first, second, cosine = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return first, second, cosine


def _centres(vectors: Float) -> Float:
    """Return the centres of the cells."""
    if len(vectors) <= FEW:
        return np.zeros((1, vectors.shape[1]), np.float32)
    from sklearn.cluster import MiniBatchKMeans

    n_cells = int(len(vectors) ** 0.5)
    sample = vectors[np.random.default_rng(0).permutation(len(vectors))[: 64 * n_cells]]
    means = MiniBatchKMeans(n_cells, batch_size=FEW, n_init=1, max_iter=20, random_state=0).fit(sample)
    centres: Float = means.cluster_centers_.astype(np.float32)
    return centres
