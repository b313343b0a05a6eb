"""Which images are like which, by the features of a network."""

import numpy as np
from numpy.typing import NDArray

Array32 = NDArray[np.float32]
Indices = NDArray[np.int64]


class Neighbours:
    """Images by the cosine similarity of their features.

    For a few queries, or a few images to look at: every one is compared. Near-duplicates, which are looked
    for among all, have an index (`tellapart.data.neighbours`).

    Parameters
    ----------
    features
        float32 of shape (n_samples, n_features).
    """

    def __init__(self, features: Array32) -> None:
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        self.unit: Array32 = features / np.maximum(norms, np.finfo(np.float32).tiny)

    def nearest(self, queries: Indices, k: int, among: Indices | None = None) -> tuple[Indices, Array32]:
        """Find the k images most like each queried one, itself not counted.

        Parameters
        ----------
        queries
            Positions, int64 of shape (n_queries,).
        k
            How many; fewer where there are fewer.
        among
            Positions to look at; None looks at all.

        Returns
        -------
        positions, similarities
            Of shape (n_queries, k), the most similar first; similarities in [-1, 1].
        """
        from sklearn.neighbors import NearestNeighbors

        among = np.arange(len(self.unit)) if among is None else among
        k = max(min(k, len(among) - 1), 0)
        if not (k and len(queries)):
            return np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        search = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(self.unit[among])
        distances, found = search.kneighbors(self.unit[queries])
        positions = among[found]
        # One more was asked for, because a query may be among them; if it is not, the last is too many.
        is_own = positions == queries[:, None]
        is_own[~is_own.any(axis=1), -1] = True
        positions, distances = (values[~is_own].reshape(-1, k) for values in (positions, distances))
        squares = (self.unit**2).sum(axis=1)  # 1, and 0 for an image without features, which is like none
        similarities = (squares[queries][:, None] + squares[positions] - distances**2) / 2
        return positions, similarities.astype(np.float32)
