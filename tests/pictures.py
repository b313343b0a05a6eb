"""Tiny pictures for tests: each class has its own colour and stripes, each picture its own spots and noise.

Nothing is downloaded. The spots keep two pictures of a class from being near-duplicates.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colour = tuple[int, int, int]


def solid(colour: str | Colour = "white", size: tuple[int, int] = (48, 40)) -> Image.Image:
    """One RGB colour; `size` is (width, height), as everywhere in Pillow."""
    return Image.new("RGB", size, colour)


def class_pixels(rng: np.random.Generator, index: int, size: tuple[int, int] = (48, 40)) -> NDArray[np.uint8]:
    """Noisy, spotted stripes of shape (height, width, 3); hue and direction belong to class `index`."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width] / 40
    angle = 2.4 * index
    wave = np.sin(2 * np.pi * (3 * (x * np.cos(angle) + y * np.sin(angle)) + rng.random()))
    colour = 128 + 70 * np.cos(angle + 2 * np.pi * np.arange(3) / 3) + rng.normal(0, 8, 3)
    pixels = colour + (35 * wave + spots(rng, x, y))[..., None] + rng.normal(0, 12, (height, width, 3))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def spots(rng: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Twelve round spots, dark or bright, anywhere."""
    total = np.zeros_like(x)
    for _ in range(12):
        distance = np.hypot(x - rng.random() * x.max(), y - rng.random() * y.max())
        total += rng.choice((-60, 60)) * np.exp(-0.5 * (distance / 0.07) ** 2)
    return total


def class_picture(rng: np.random.Generator, index: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """`class_pixels` as a Pillow image."""
    return Image.fromarray(class_pixels(rng, index, size))


def scene(rng: np.random.Generator, size: tuple[int, int] = (180, 140)) -> Image.Image:
    """A picture with structure of every size: like that of photographs, the weaker the finer it is."""
    noise = sum(
        strength * np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
        for n, strength in ((3, 1.0), (6, 0.7), (12, 0.4))
        for picture in [Image.fromarray(rng.normal(0, 1, (n, n)))]
    )
    grey = 128 + 40 * noise[..., None] + rng.normal(0, 5, 3)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def corner(image: Image.Image, part: float = 0.14) -> Image.Image:
    """The picture less a part of each edge; of a seventh, only embeddings propose to look at the pair."""
    return image.crop((round(image.width * part), round(image.height * part), *image.size))


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The bytes of the file that Pillow would write."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def write_class_folders(
    root: Path,
    counts: dict[str, int],
    *,
    size: tuple[int, int] = (48, 40),
    seed: int = 0,
    suffix: str = ".png",
) -> Path:
    """Write ``root/CLASS/000.png`` and so on, `counts[CLASS]` different pictures each; return `root`."""
    rng = np.random.default_rng(seed)
    for index, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            class_picture(rng, index, size).save(folder / f"{number:03d}{suffix}")
    return root
