"""Images like the reference's are near it, others are far; counted over a window of the latest."""

import json

import numpy as np
import pytest

from pictures import class_pixels
from tellapart.drift import MIN_IMAGES, STATISTICS, DriftWindow, image_statistics, summarise
from tellapart.errors import BundleError

CLASSES = ("a", "b")


def images(rng, n):
    pixels = np.stack([class_pixels(rng, index % 2, (64, 64)) for index in range(n)])
    sure = rng.permutation(np.linspace(0.51, 1, n))
    y_prob = np.where(np.arange(n)[:, None] % 2 == [0, 1], sure[:, None], 1 - sure[:, None])
    return pixels, y_prob


@pytest.fixture(scope="module")
def reference():
    return summarise(*images(np.random.default_rng(0), 256), CLASSES, images_from="validation images")


def window_after(reference, pixels, y_prob, **options):
    window = DriftWindow(reference, **options)
    window.add(image_statistics(pixels), y_prob)
    return window


def test_statistics_of_plain_pictures_are_known():
    grey, red = np.full((1, 8, 8, 3), 51, np.uint8), np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 255
    halves = np.zeros((1, 8, 8, 3), np.uint8)
    halves[:, :4] = 255
    found = image_statistics(np.concatenate([grey, red, halves]))
    np.testing.assert_allclose(found, [[0.2, 0, 0], [1 / 3, 0, 1], [0.5, 0.5, 0]], atol=1e-6)


def test_the_reference_is_plain_json_and_counts_every_image(reference):
    assert json.loads(json.dumps(reference)) == reference
    assert (reference["n_images"], reference["images_from"]) == (256, "validation images")
    assert reference["class_mix"] == {"a": 128, "b": 128}
    assert set(reference["measures"]) == {*STATISTICS, "confidence"}
    for measure in reference["measures"].values():
        assert sum(measure["counts"]) == 256
        assert measure["counts"][0] == measure["counts"][-1] == 0  # the bins outside what was seen


def test_images_like_the_reference_are_near_it(reference):
    distances = window_after(reference, *images(np.random.default_rng(1), 400)).distances()
    assert set(distances) == {*STATISTICS, "confidence", "class_mix"}
    assert max(distances.values()) < 0.1


def test_darker_images_are_far_in_brightness_alone(reference):
    pixels, y_prob = images(np.random.default_rng(2), 400)
    distances = window_after(reference, (pixels // 2).astype(np.uint8), y_prob).distances()
    assert distances["brightness"] > 0.25
    assert max(distances["confidence"], distances["class_mix"]) < 0.1


def test_another_class_mix_and_unsure_answers_are_far(reference):
    pixels, _ = images(np.random.default_rng(3), 200)
    distances = window_after(reference, pixels, np.tile([0.51, 0.49], (200, 1))).distances()
    assert distances["class_mix"] > 0.25
    assert distances["confidence"] > 0.25
    assert distances["brightness"] < 0.1


def test_a_few_images_are_not_compared(reference):
    pixels, y_prob = images(np.random.default_rng(4), MIN_IMAGES)
    window = window_after(reference, pixels[1:], y_prob[1:])
    assert window.distances() == {}
    window.add(image_statistics(pixels[:1]), y_prob[:1])
    assert window.distances()


def test_old_images_leave_the_window(reference):
    rng = np.random.default_rng(5)
    pixels, y_prob = images(rng, 100)
    window = window_after(reference, (pixels // 3).astype(np.uint8), y_prob, size=100)
    assert window.distances()["brightness"] > 0.25
    for start in range(0, 100, 7):  # in uneven batches, as they come, around the end of the ring
        window.add(image_statistics(pixels[start : start + 7]), y_prob[start : start + 7])
    assert len(window) == 100
    assert window.distances() == window_after(reference, pixels, y_prob).distances()


def test_images_all_alike_make_a_reference_too():
    pixels, y_prob = np.full((60, 16, 16, 3), 128, np.uint8), np.tile([0.9, 0.1], (60, 1))
    reference = summarise(pixels, y_prob, CLASSES, images_from="validation images")
    assert max(window_after(reference, pixels, y_prob).distances().values()) < 1e-9
    for shade in (100, 150):
        other = np.full_like(pixels, shade)
        assert window_after(reference, other, y_prob).distances()["brightness"] > 0.25


def test_an_older_bundle_without_reference_has_no_distances():
    assert window_after(None, *images(np.random.default_rng(6), 60)).distances() == {}


@pytest.mark.parametrize(
    "damage",
    [
        {"measures": {}},
        {"class_mix": None},
        {"measures": {name: {"edges": [0.1, 0.2], "counts": [1]} for name in (*STATISTICS, "confidence")}},
        {"measures": {name: {"edges": ["x"], "counts": [1, 2]} for name in (*STATISTICS, "confidence")}},
    ],
)
def test_a_damaged_reference_is_told(reference, damage):
    with pytest.raises(BundleError, match="damaged reference"):
        DriftWindow({**reference, **damage})


def test_training_writes_the_reference_of_its_own_images(trained):
    card = trained.model.card
    assert card.reference["images_from"] == "training and test images"
    assert card.reference["n_images"] == card.parity["n_images"]
    assert set(card.reference["class_mix"]) == set(card.class_names)
    DriftWindow(card.reference)
