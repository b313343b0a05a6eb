"""Nearest images by cosine."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from tellapart.audit.neighbours import Neighbours


@given(st.integers(2, 40), st.integers(1, 50), st.integers(0, 99))
def test_neighbours_are_those_of_all_distances(n, k, seed):
    features = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    queries = np.arange(0, n, 2)
    positions, similarity = Neighbours(features).nearest(queries, k)
    k = min(k, n - 1)
    assert positions.shape == (len(queries), k)
    all_of_them = 1 - cdist(features, features, "cosine")
    for query, ours, values in zip(queries, positions, similarity, strict=True):
        others = np.delete(all_of_them[query], query)
        np.testing.assert_allclose(values, np.sort(others)[::-1][:k], atol=1e-5)
        np.testing.assert_allclose(values, all_of_them[query, ours], atol=1e-5)
        assert query not in ours
        assert len(set(ours)) == k


def test_only_the_images_named_are_looked_at():
    features = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    positions, _ = Neighbours(features).nearest(np.array([3, 7]), 5, np.array([1, 3, 9]))
    assert sorted(positions[0]) == [1, 9]
    assert positions.shape == (2, 2)


def test_an_image_without_features_is_like_none():
    features = np.zeros((3, 4), np.float32)
    _, similarity = Neighbours(features).nearest(np.array([0]), 2)
    np.testing.assert_array_equal(similarity, 0)


def test_copies_of_a_query_are_its_neighbours_and_not_itself():
    positions, similarity = Neighbours(np.ones((20, 4), np.float32)).nearest(np.arange(20), 3)
    assert all(query not in row for query, row in enumerate(positions))
    np.testing.assert_allclose(similarity, 1, atol=1e-6)
