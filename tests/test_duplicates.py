"""Near-duplicates are found however a copy was made; pictures that only resemble one another are not."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from pictures import class_picture, corner, encode, scene, solid
from tellapart.data.alignment import similarity
from tellapart.data.duplicates import (
    DESCRIPTOR_LENGTH,
    THRESHOLD,
    Duplicates,
    NearPair,
    clusters_by_id,
    describe,
    find,
    find_once,
)
from tellapart.data.spectra import WINDOWS, invariant, spectra, turned


@pytest.fixture(scope="module")
def scenes():
    """Thirty pictures of 180 by 140 pixels with structure of every size, and no two alike."""
    rng = np.random.default_rng(0)
    return [scene(rng) for _ in range(30)]


def described(images):
    return np.stack([describe(image) for image in images])


def reencoded(image, quality=30):
    return Image.open(io.BytesIO(encode(image, "JPEG", quality=quality)))


def cropped(image):
    width, height = image.size
    return image.crop((width // 20, 0, width, height - height // 20))


COPIES = {
    "re-encoded": reencoded,
    "smaller": lambda image: image.resize((63, 49)),
    "larger, other shape": lambda image: image.resize((400, 280)),
    "cropped": cropped,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned left": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "turned right and cropped": lambda image: cropped(image.transpose(Image.Transpose.ROTATE_270)),
    "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "less contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "soft": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


@pytest.mark.parametrize("name", COPIES)
def test_every_copy_is_found_and_nothing_else(scenes, name):
    found = find(described([*scenes, *map(COPIES[name], scenes)]))
    assert found.pairs.tolist() == [[i, i + 30] for i in range(30)]
    assert (found.similarity >= THRESHOLD).all()
    assert (found.similarity <= 1).all()
    assert found.clusters == [(i, i + 30) for i in range(30)]


def test_an_object_that_was_moved_makes_another_picture(scenes):
    moved = []
    for image, place in zip(scenes[:2] * 2, ((20, 20), (100, 60), (90, 20), (20, 80)), strict=True):
        image = image.copy()
        image.paste("white", (*place, place[0] + 50, place[1] + 40))
        moved.append(image)
    assert len(find(described(moved)).pairs) == 0


def test_pictures_of_one_class_are_no_copies():
    rng = np.random.default_rng(1)
    pictures = [class_picture(rng, index) for index in (0, 1) for _ in range(40)]
    assert len(find(described(pictures)).pairs) == 0


def test_equal_pictures_are_connected_however_many_there_are(scenes):
    found = find(described([scenes[0]] * 30 + [scenes[1]] * 2 + [cropped(scenes[1])]))
    assert found.clusters == [tuple(range(30)), (30, 31, 32)]
    assert found.similarity[found.pairs[:, 1] < 32].tolist() == [1.0] * 30


def test_what_shows_nothing_is_like_nothing():
    nothing = np.zeros((2, DESCRIPTOR_LENGTH), np.uint8)
    found = find(np.concatenate([nothing, described([solid("white"), solid("white"), solid("red")])]))
    assert len(found.pairs) == 0
    assert found.cluster_of.tolist() == list(range(5))


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_images_are_no_pair(scenes, n):
    found = find(described(scenes[:1])[:n])
    assert (len(found.pairs), found.clusters, len(found.cluster_of)) == (0, [], n)


def test_the_order_of_the_images_does_not_matter(scenes):
    rows = described([*scenes, *map(cropped, scenes)])
    order = np.random.default_rng(2).permutation(len(rows))
    found = find(rows[order])
    assert sorted(sorted(pair) for pair in order[found.pairs].tolist()) == [[i, i + 30] for i in range(30)]


def test_embeddings_propose_pairs_that_pictures_alone_do_not(scenes):
    rows = described([*scenes, *map(corner, scenes)])
    rng = np.random.default_rng(3)
    of_scene = rng.normal(size=(30, 64))
    embeddings = np.concatenate([of_scene, of_scene + rng.normal(0, 0.05, (30, 64))]).astype(np.float32)
    found = find(rows, embeddings=embeddings)
    assert found.pairs.tolist() == [[i, i + 30] for i in range(30)]
    assert len(find(rows).pairs) < 6


def test_pictures_that_differ_are_no_pair_however_alike_their_embeddings(scenes):
    alike = np.random.default_rng(4).normal(0, 0.01, (30, 16)).astype(np.float32)
    alike[:15] += 1
    assert len(find(described(scenes), embeddings=alike).pairs) == 0


@pytest.mark.parametrize("n_copies", [5, 12])
def test_two_crowds_of_copies_are_one_cluster(scenes, n_copies):
    """Each copy has more copies near it than a search gives, all of its own crowd."""
    images = []
    for image in scenes[:4]:
        for form in (image, image.filter(ImageFilter.GaussianBlur(2)), image.resize((60, 46))):
            images += [reencoded(form, quality) for quality in range(60, 60 + n_copies)]
    rows = described(images)
    assert len(np.unique(rows, axis=0)) > 4 * 2 * n_copies
    n = 3 * n_copies
    assert find(rows).clusters == [tuple(range(i * n, (i + 1) * n)) for i in range(4)]


def test_the_same_question_is_answered_once(scenes, fresh_cache, monkeypatch):
    rows = described([*scenes[:3], cropped(scenes[1])])
    first = find_once(rows)
    monkeypatch.setattr("tellapart.data.duplicates.find", None)
    again = find_once(rows)
    assert again.pairs.tolist() == first.pairs.tolist() == [[1, 3]]
    assert again.similarity.tolist() == first.similarity.tolist()
    assert (again.n_images, again.clusters) == (4, [(1, 3)])


# ---- clusters -------------------------------------------------------------------------------------------


def test_clusters_are_what_pairs_connect():
    pairs = np.array([[0, 3], [1, 2], [3, 5]])
    found = Duplicates(6, pairs, np.ones(3, np.float32))
    assert found.cluster_of.tolist() == [0, 1, 1, 0, 4, 0]
    assert found.clusters == [(0, 3, 5), (1, 2)]
    near = [NearPair(f"{chr(97 + i)}", f"{chr(97 + j)}", 1.0) for i, j in pairs]
    assert clusters_by_id(near) == {"a": "a", "b": "b", "c": "b", "d": "a", "f": "a"}
    assert clusters_by_id([]) == {}


# ---- what finds and compares ----------------------------------------------------------------------------


@given(st.integers(0, 2**32), st.integers(0, 7))
@settings(max_examples=25)
def test_a_spectrum_is_the_same_whichever_way_a_picture_is_turned(seed, way):
    picture = np.random.default_rng(seed).normal(size=(1, 32, 32)).astype(np.float32)
    same = turned(picture, np.array([way]))
    np.testing.assert_allclose(invariant(spectra(same)), invariant(spectra(picture)), atol=1e-5)


def test_the_eight_ways_are_those_of_numpy():
    picture = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    ours = {turned(picture, np.array([way])).tobytes() for way in range(8)}
    sides = (picture, picture[:, :, ::-1])
    theirs = {np.rot90(side, k, axes=(1, 2)).tobytes() for k in range(4) for side in sides}
    assert ours == theirs
    assert len(ours) == 8


def test_a_window_has_the_spectrum_of_the_part_that_it_shows():
    y, x = np.mgrid[0:32, 0:32] / 32
    whole = np.sin(5 * x + 3 * y**2)
    (top, bottom), (left, right) = WINDOWS[4]
    grid = (np.arange(32) + 0.5) / 32 - 0.5 / 32
    part = np.sin(
        5 * (left + (right - left) * grid)[None] + 3 * ((top + (bottom - top) * grid) ** 2)[:, None]
    )
    ours = spectra(whole[None].astype(np.float32), 4)[0]
    theirs = spectra(part[None].astype(np.float32))[0]
    assert (ours * theirs).sum() > 0.99


def test_an_alignment_finds_a_picture_that_was_moved():
    scene_ = np.asarray(scene(np.random.default_rng(5)).convert("L").resize((40, 40)), np.float32)
    still = np.broadcast_to(np.eye(2, 3, dtype=np.float32), (2, 2, 3))
    fixed = np.stack([scene_[4:36, 4:36]] * 2)
    moving = np.stack([scene_[3:35, 6:38], scene_[::-1][3:35, 6:38]])
    value = similarity(moving, fixed, still)
    assert value[0] > 0.97
    assert value[1] < 0.5
