import random
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchvision.transforms as v1
from PIL import Image, ImageOps
from torchvision.transforms import v2

from tellapart.data.pipelines import as_pipeline, pipeline_name
from tellapart.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
MIRRORED = PIXELS[:, ::-1]


def mirror(pixels):
    return pixels[:, ::-1]


def make_fake(library, **members):
    """A class that says it comes from a library which is not installed here."""
    return type("Transform", (), {"__module__": f"{library}.somewhere", **members})()


class RemembersSeed:
    """Like the transforms of Albumentations and imgaug: draws from a generator of its own."""

    def seed(self, seed):
        self.generator = np.random.default_rng(seed)

    def noisy(self, image):
        return self.generator.integers(0, 256, image.shape, dtype=np.uint8)


ALBUMENTATIONS = make_fake("albumentations", __call__=lambda self, *, image: {"image": mirror(image)})
IMGAUG = make_fake("imgaug", __call__=lambda self, *, image: mirror(image))


@pytest.mark.parametrize(
    "transform",
    [
        mirror,
        ALBUMENTATIONS,
        IMGAUG,
        v2.RandomHorizontalFlip(p=1),
        v2.Compose([v2.ToImage(), v2.RandomHorizontalFlip(p=1), v2.ToDtype(torch.float32, scale=True)]),
        v2.Compose([v2.RandomHorizontalFlip(p=1), v2.ToPILImage()]),
        v1.Compose([v1.RandomHorizontalFlip(p=1), v1.ToTensor()]),
        lambda pixels: ImageOps.mirror(Image.fromarray(pixels)),
        lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).flip(2),
        lambda pixels: mirror(pixels) / 255,
        lambda pixels: mirror(pixels).astype(np.float32) / 255,
    ],
    ids=pipeline_name,
)
def test_every_kind_of_transform_becomes_a_function_of_pixels(transform):
    result = as_pipeline(transform)(PIXELS)

    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    np.testing.assert_array_equal(result, MIRRORED)


def test_a_torch_module_gets_a_channels_first_tensor():
    class Darker(torch.nn.Module):
        def forward(self, pixels):
            assert pixels.shape == (3, 6, 8)
            return pixels // 2

    np.testing.assert_array_equal(as_pipeline(Darker())(PIXELS), PIXELS // 2)


def test_transforms_are_applied_in_turn_and_pipelines_are_taken_apart():
    pipeline = as_pipeline(mirror, as_pipeline(lambda pixels: pixels // 2, lambda pixels: pixels + 1))

    assert len(pipeline.steps) == 3
    np.testing.assert_array_equal(pipeline(PIXELS), MIRRORED // 2 + 1)


def test_a_transform_that_writes_into_its_argument_leaves_the_original_alone():
    def blacken(pixels):
        pixels[:] = 0
        return pixels

    original = PIXELS.copy()
    original.flags.writeable = False
    assert as_pipeline(blacken)(original).max() == 0
    np.testing.assert_array_equal(original, PIXELS)


@pytest.mark.parametrize(
    ("transform", "returned"),
    [
        (lambda pixels: None, "NoneType of shape ()"),
        (lambda pixels: pixels[..., 0], "ndarray of shape (6, 8)"),
        (lambda pixels: pixels[..., :1], "ndarray of shape (6, 8, 1)"),
        (lambda pixels: pixels[:0], "ndarray of shape (0, 8, 3)"),
        (lambda pixels: pixels.astype(np.int64), "ndarray of type int64"),
        (lambda pixels: (pixels - 127.5) / 60, "floats from -2.1"),
        (lambda pixels: pixels * np.nan, "floats from nan to nan"),
        (v2.Grayscale(), "Tensor of shape torch.Size([1, 6, 8])"),
    ],
)
def test_anything_but_a_picture_is_refused(transform, returned):
    with pytest.raises(ConfigError) as caught:
        as_pipeline(transform)(PIXELS)
    assert returned in str(caught.value)
    assert pipeline_name(transform) in str(caught.value)


def test_something_that_cannot_be_called_is_refused():
    with pytest.raises(ConfigError, match="'flip' is no pipeline"):
        as_pipeline("flip")


def python_noise(pixels):
    return np.full_like(pixels, random.randrange(256))


def numpy_noise(pixels):
    return np.random.randint(0, 256, pixels.shape).astype(np.uint8)


@pytest.mark.parametrize(
    "transform",
    [
        python_noise,
        numpy_noise,
        v2.ColorJitter(brightness=0.5, contrast=0.5),
        make_fake(
            "albumentations",
            set_random_seed=RemembersSeed.seed,
            __call__=lambda self, *, image: {"image": RemembersSeed.noisy(self, image)},
        ),
        make_fake(
            "imgaug",
            seed_=RemembersSeed.seed,
            __call__=lambda self, *, image: RemembersSeed.noisy(self, image),
        ),
    ],
    ids=["python", "numpy", "torch", "albumentations", "imgaug"],
)
def test_a_seeded_result_depends_on_the_key_alone(transform):
    pipeline = as_pipeline(transform)
    first = pipeline.seeded(PIXELS, 0, 1, 2)
    others = [pipeline.seeded(PIXELS, 0, 1, index) for index in range(3, 9)]

    np.testing.assert_array_equal(pipeline.seeded(PIXELS, 0, 1, 2), first)
    assert any(not np.array_equal(first, other) for other in others)


def test_seeding_leaves_the_global_generators_as_they_were():
    def draw():
        return random.random(), np.random.random(), torch.rand(1).item()

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = draw()
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])

    as_pipeline(python_noise, numpy_noise, v2.ColorJitter(0.5)).seeded(PIXELS, 7)

    assert draw() == expected


def test_names_are_the_same_in_every_process():
    assert pipeline_name(mirror) == "mirror"
    assert "0x" not in pipeline_name(ALBUMENTATIONS)
    assert pipeline_name(v2.Resize(3)) == pipeline_name(v2.Resize(3))


def test_torch_is_not_needed():
    code = (
        "import sys, numpy as np\n"
        "from tellapart.data.pipelines import as_pipeline\n"
        "pixels = np.zeros((2, 2, 3), np.uint8)\n"
        "assert as_pipeline(lambda p: p + 1).seeded(pixels, 3).max() == 1\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
