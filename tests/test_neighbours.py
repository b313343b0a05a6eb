"""The nearest of many vectors are found as by looking at all of them, in bounded memory."""

import tracemalloc

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from tellapart.data.neighbours import FEW, NEIGHBOURS, REACH, Index


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def dozens():
    """Five hundred dozens of vectors near one another: more than one cell holds."""
    rng = np.random.default_rng(4)
    vectors = unit(np.repeat(rng.normal(size=(500, 24)), 12, axis=0) + rng.normal(0, 0.15, (6000, 24)))
    assert len(vectors) > FEW
    return vectors


def test_nearest_neighbours_are_those_of_scikit_learn(dozens):
    alone = np.arange(6000)
    ours = set(zip(*(found.tolist() for found in Index(dozens).near(dozens, alone, alone)), strict=True))
    distance, near = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(dozens).kneighbors()
    theirs = {
        (i, j)
        for i in range(6000)
        for d, j in zip(distance[i][:NEIGHBOURS], near[i].tolist(), strict=False)
        if d < REACH
    }
    assert len(theirs) > 10_000
    assert len(ours & theirs) > 0.99 * len(theirs)
    assert len(ours - theirs) < 0.01 * len(theirs)


def test_a_cluster_of_its_own_is_left_out(dozens):
    cluster_of = np.arange(6000) // 6  # each dozen is two clusters
    asking = np.array([0, 7, 1203])
    first, second = Index(dozens).near(dozens, asking, cluster_of)
    found = [second[first == i] for i in asking]
    dozen = np.arange(12)
    for numbers, (first, own) in zip(found, ((0, 0), (0, 1), (1200, 200)), strict=True):
        assert len(numbers)
        assert set(numbers) <= set((first + dozen)[cluster_of[first + dozen] != own])


def test_vectors_that_are_all_alike_take_little_memory():
    rng = np.random.default_rng(5)
    vectors = unit(rng.normal(size=32) + rng.normal(0, 0.1, (20_000, 32)))
    alone = np.arange(len(vectors))
    index = Index(vectors)
    tracemalloc.start()
    query, _ = index.near(vectors, alone, alone)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (np.bincount(query) == NEIGHBOURS).all()
    assert peak < 400e6  # every pair within reach would be 34 million, of 20 bytes, and twice to sort them


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_vectors_have_few_neighbours(n):
    vectors = np.tile(np.array([[1, 0]], np.float32), (n, 1))
    query, vector = Index(vectors).near(vectors, np.arange(n), np.arange(n))
    assert len(query) == len(vector) == n * (n - 1)
