"""Which images are like which, by features that are in the cache already."""

import numpy as np
import pytest

from desks import ask, number
from tellapart.data.cache import ContentCache
from tellapart.studio.alike import N_CANDIDATES, Features
from tellapart.studio.opening import Choices, open_desk


@pytest.fixture
def cache(fresh_cache):
    return ContentCache("features-of-a-test")


def stored(cache, vectors):
    """Keep the vector of each image; return the images' hashes."""
    digests = {i: f"{i:064x}" for i in range(len(vectors))}
    cache.put((digests[i], vector.astype("<f4").tobytes()) for i, vector in enumerate(vectors))
    return digests


def exactly(vectors, i, k):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit[i]
    similarity[i] = -2
    best = np.argsort(-similarity)[:k]
    return best.tolist(), similarity[best]


def test_few_images_are_compared_exactly(cache):
    vectors = np.random.default_rng(0).standard_normal((40, 30))
    features = Features(cache, stored(cache, vectors))
    for i in (0, 7, 39):
        numbers, similarities = zip(*features.nearest(i, 5), strict=True)
        expected, similarity = exactly(vectors, i, 5)
        assert list(numbers) == expected
        assert similarities == pytest.approx(similarity, abs=1e-5)


def test_of_many_images_sketches_miss_hardly_any(cache):
    rng = np.random.default_rng(1)
    kinds = rng.standard_normal((40, 300))
    vectors = np.concatenate([kinds + 0.5 * rng.standard_normal((40, 300)) for _ in range(75)])
    assert len(vectors) > 10 * N_CANDIDATES
    features = Features(cache, stored(cache, vectors))
    asked = range(0, len(vectors), 30)
    hits = [
        len({number for number, _ in features.nearest(i, 5)} & {*exactly(vectors, i, 5)[0]}) for i in asked
    ]
    assert np.mean(hits) > 4.9


def test_images_without_features_are_passed_over(cache):
    vectors = np.eye(4)
    digests = stored(cache, vectors) | {9: "f" * 64}
    features = Features(cache, digests)
    assert len(features) == 4
    assert features.nearest(9, 5) == []
    assert 9 not in {number for number, _ in features.nearest(0, 5)}


def test_a_cache_that_is_emptied_meanwhile_is_as_one_that_knows_nothing(cache):
    features = Features(cache, stored(cache, np.eye(4)))
    cache.path.unlink()
    ContentCache("features-of-a-test")
    assert features.nearest(0, 5) == []


# ---- beside an image in doubt


@pytest.fixture
def desk(trained, tmp_path):
    """A finished run, and one image that it calls otherwise than the label says now."""
    desk, _ = open_desk(trained.folder, Choices("ada", journal=tmp_path / "labels.sqlite"))
    told = ask(desk, "items", correct="right", count=1)["items"][0]
    other = {"benign": "malignant", "malignant": "benign"}[told["label"]]
    ask(desk, "write", items=[told["i"]], field="label", seen=[told["label"]], new=other)
    desk.doubted = told["i"]
    return desk


def test_what_a_run_sees_otherwise_stands_beside_what_is_like_it(desk):
    assert desk.doubted in ask(desk, "queue", reason="disagreement")["images"]
    told = ask(desk, "neighbours", i=desk.doubted)
    assert (told["reason"], told["why_no_neighbours"]) == ("disagreement", "")
    near = told["neighbours"]
    assert len({one["i"] for one in near} - {desk.doubted}) == 5
    assert [one["similarity"] for one in near] == sorted((one["similarity"] for one in near), reverse=True)
    assert {one["label"] for one in near} == {told["suggested"]}  # these two classes are easy to tell apart
    broken = number(desk, "benign/broken.jpg")
    assert ask(desk, "neighbours", i=broken)["neighbours"] == []


def test_without_features_it_is_said_why_nothing_stands_there_and_a_check_mends_it(
    desk, fresh_cache, own_cache
):
    told = ask(desk, "neighbours", i=desk.doubted)
    assert told["neighbours"] == []
    assert "the cache of this machine holds no features" in told["why_no_neighbours"]
    assert not list(fresh_cache.glob("features-*"))
    fresh_cache.mkdir(exist_ok=True)
    for file in own_cache.glob("features-*"):
        (fresh_cache / file.name).write_bytes(file.read_bytes())
    assert ask(desk, "neighbours", i=desk.doubted)["neighbours"]
