import numpy as np
import pytest

from tellapart.data.images import Resize
from tellapart.errors import ConfigError
from tellapart.training.augmentation import pipeline_for, policy

SIZE = 48
PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def draws(name, pixels=PIXELS, n=24):
    pipeline = policy(name, SIZE)
    return [pipeline.seeded(pixels, 0, 1, index) for index in range(n)]


def test_none_changes_nothing():
    for result in draws("none", n=4):
        np.testing.assert_array_equal(result, PIXELS)


def test_light_mirrors_about_half():
    results = draws("light")
    as_they_were = sum(np.array_equal(result, PIXELS) for result in results)
    mirrored = sum(np.array_equal(result, PIXELS[:, ::-1]) for result in results)

    assert as_they_were + mirrored == len(results)
    assert 5 < mirrored < 19


@pytest.mark.parametrize("name", ["standard", "strong"])
def test_policies_keep_shape_and_differ_between_samples_and_epochs(name):
    results = draws(name)

    assert all(result.shape == (SIZE, SIZE, 3) and result.dtype == np.uint8 for result in results)
    assert len({result.tobytes() for result in results}) == len(results)
    assert not np.array_equal(policy(name, SIZE).seeded(PIXELS, 0, 2, 0), results[0])


def dark_top():
    pixels = np.full((SIZE, SIZE, 3), 200, dtype=np.uint8)
    pixels[: SIZE // 3] = 20
    return pixels


def darkest_edge(pixels):
    edges = {"top": pixels[0], "bottom": pixels[-1], "left": pixels[:, 0], "right": pixels[:, -1]}
    return min(edges, key=lambda edge: edges[edge].mean())


def test_standard_keeps_the_upright_and_strong_does_not():
    assert {darkest_edge(result) for result in draws("standard", dark_top())} == {"top"}
    turned = {darkest_edge(result) for result in draws("strong", dark_top(), n=40)}
    assert turned == {"top", "bottom", "left", "right"}


def test_standard_changes_brightness_by_a_fifth_at_most():
    grey = np.full((SIZE, SIZE, 3), 100, dtype=np.uint8)
    levels = [result.mean() for result in draws("standard", grey)]

    assert 79 <= min(levels) < 95
    assert 105 < max(levels) <= 121


def test_own_pipelines_are_applied_one_after_another():
    pipeline = pipeline_for([lambda pixels: pixels // 2, lambda pixels: pixels + 1], Resize(SIZE))
    np.testing.assert_array_equal(pipeline(PIXELS), PIXELS // 2 + 1)


def test_an_unusable_pipeline_is_refused_before_training():
    with pytest.raises(ConfigError, match="three channels"):
        pipeline_for([lambda pixels: pixels[..., 0]], Resize(SIZE))
