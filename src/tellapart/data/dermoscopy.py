"""Synthetic skin lesions: pictures that look like dermoscopy at a glance and mean nothing medically.

One number, `malignant`, moves four traits after the ABCD rule of dermatoscopy (asymmetry, border, colour,
diameter), each with its own noise; everything else (skin, light, hair, ruler, bubbles) is independent
of it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Field = NDArray[np.float32]
"""One value per pixel, shape (edge, edge)."""

Pixels = NDArray[np.float32]
"""RGB in 0-255, shape (edge, edge, 3)."""

_MELANIN = np.array([0.75, 1.25, 1.55], np.float32)
"""How strongly pigment absorbs red, green and blue: why lesions are brown."""

_MARGIN = 1.5
"""Edge of the painted skin over the edge of the photograph, so that any rotation finds skin everywhere."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """One lesion and the skin around it; photograph it as often as you like.

    Attributes
    ----------
    skin
        RGB image, larger than its photographs.
    size_px
        Edge of a photograph.
    """

    skin: Image.Image
    size_px: int

    def photograph(self, rng: np.random.Generator) -> Image.Image:
        """Return an RGB picture of shape (size_px, size_px) with its own angle, zoom, light and hair."""
        image = _frame(rng, self.skin, self.size_px)
        image = _add_hair(rng, image, int(rng.choice([0, 0, 0, 3, 7, 16]) * rng.uniform(0.5, 1.5)))
        for probability, add in ((0.15, _add_bubbles), (0.15, _add_ruler)):
            if rng.random() < probability:
                image = add(rng, image)
        return _expose(rng, image)


def draw_lesion(rng: np.random.Generator, malignant: float, size_px: int = 256) -> Image.Image:
    """Draw one photograph of a new lesion.

    Parameters
    ----------
    rng
        All randomness; the same state draws the same picture.
    malignant
        From 0 (round, even, small) to 1 (irregular, many-coloured, large).
    size_px
        Edge of the square.
    """
    return invent_lesion(rng, malignant, size_px).photograph(rng)


def invent_lesion(rng: np.random.Generator, malignant: float, size_px: int = 256) -> Lesion:
    """Make up a lesion whose four traits scatter around `malignant`, in [0, 1]."""
    traits = np.clip(malignant + rng.normal(0, 0.12, 4), 0, 1)
    asymmetry, border, colour, diameter = (float(trait) for trait in traits)
    edge = round(size_px * _MARGIN)
    inside, depth = _outline(rng, edge, asymmetry, border, diameter)
    pigment = _pigment(rng, inside, depth, colour)
    pixels = _bare_skin(rng, edge) * np.exp(-pigment[..., None] * _MELANIN)
    pixels = _tint(rng, pixels, inside, depth, colour)
    return Lesion(_to_image(pixels), size_px)


def _outline(
    rng: np.random.Generator, edge: int, asymmetry: float, border: float, diameter: float
) -> tuple[Field, Field]:
    """Return how far each pixel is inside (0 to 1, soft) and its depth (1 in the centre, 0 at the rim)."""
    y, x = np.mgrid[-1 : 1 : edge * 1j, -1 : 1 : edge * 1j].astype(np.float32)
    waves = np.arange(1, 19)
    strength = np.where(waves <= 3, 0.03 + 0.2 * asymmetry / waves, (0.03 + 0.1 * border) / waves)
    strength[0] *= 0.5
    angles = np.linspace(-np.pi, np.pi, 721)
    strength *= rng.uniform(0.4, 1.1, 18)
    ripples = np.cos(np.outer(angles, waves) + rng.uniform(0, 2 * np.pi, 18)) @ strength
    radius = (0.2 + 0.16 * diameter + rng.normal(0, 0.03)) * np.exp(ripples)
    at_angle = np.interp(np.arctan2(y, x), angles, radius).astype(np.float32)
    depth = 1 - np.hypot(x, y) / at_angle + (0.04 + 0.09 * border) * _clouds(rng, 9, edge, octaves=4)
    softness = (0.085 - 0.05 * border) * np.exp(0.5 * _clouds(rng, 3, edge))
    inside: Field = 1 / (1 + np.exp(np.clip(-depth / softness, -30, 30)))
    return inside, np.clip(depth, 0, 1)


def _pigment(rng: np.random.Generator, inside: Field, depth: Field, colour: float) -> Field:
    """Return the density of melanin: an even body, patches, a network and dots."""
    edge = inside.shape[0]
    body = rng.uniform(0.35, 0.75) + rng.uniform(-0.1, 0.35) * depth
    patches: Field = 1 + (0.12 + 0.5 * colour) * _clouds(rng, 5, edge, octaves=3)
    lines = np.exp(-((_mosaic(rng, 72, edge) / 0.24) ** 2)) * np.exp(0.6 * _clouds(rng, 5, edge))
    network = rng.uniform(0.0, 0.32) * lines * (1 - 0.7 * depth)
    dots = _spots(rng, inside, count=int(rng.integers(0, 14) + 12 * colour), radius=(0.006, 0.016))
    blotches = _spots(rng, inside, count=int(rng.integers(0, 2) + 5 * colour), radius=(0.04, 0.10))
    density: Field = (
        body * np.clip(patches, 0.25, 2.5) + network + 0.5 * dots + (0.2 + 0.9 * colour) * blotches
    )
    return inside * density


def _tint(rng: np.random.Generator, pixels: Pixels, inside: Field, depth: Field, colour: float) -> Pixels:
    """Blend a blue-grey veil, red and whitish scar into the lesion, more of each with `colour`."""
    for tone in ((104, 112, 132), (176, 84, 80), (222, 196, 190)):
        amount = min(colour * rng.uniform(-0.4, 1.1), 0.6)
        if amount > 0:
            patch = 1 / (1 + np.exp((0.7 - _clouds(rng, 6, inside.shape[0], octaves=3)) / 0.15))
            alpha = (amount * patch * inside * np.minimum(1, 4 * depth))[..., None]
            pixels += alpha * (np.array(tone, np.float32) - pixels)
    return pixels


def _bare_skin(rng: np.random.Generator, edge: int) -> Pixels:
    """Return RGB of shape (edge, edge, 3): a tone, blotches, fine furrows and reddish vessels."""
    fair, tan = np.array([232, 190, 172]), np.array([196, 142, 112])
    tone = fair + (tan - fair) * rng.beta(1.2, 2.2) + rng.normal(0, [4, 5, 6])
    redness = _clouds(rng, 4, edge, octaves=4)[..., None] * np.array([2, 7, 6], np.float32)
    furrows = np.exp(-((_mosaic(rng, 40, edge) / 0.12) ** 2)) * rng.uniform(2, 9)
    pores = 3.5 * _clouds(rng, edge // 3, edge)
    skin: Pixels = tone.astype(np.float32) - redness - (furrows + pores)[..., None]
    return skin


def _frame(rng: np.random.Generator, skin: Image.Image, size_px: int) -> Image.Image:
    """Cut a turned, zoomed and slightly off-centre square out of the painted skin."""
    turn, scale = rng.uniform(0, 2 * np.pi), rng.uniform(0.8, 1.04)
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    (x, y), half = skin.width / 2 + rng.normal(0, 0.03, 2) * size_px, size_px / 2
    matrix = (cos, -sin, x - half * (cos - sin), sin, cos, y - half * (sin + cos))
    return skin.transform((size_px, size_px), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _add_hair(rng: np.random.Generator, image: Image.Image, count: int) -> Image.Image:
    """Lay `count` dark curved hairs, combed roughly one way, over the picture."""
    if not count:
        return image
    width, fine = image.width, 3
    mask = Image.new("L", (fine * width, fine * width))
    draw = ImageDraw.Draw(mask)
    combed, along = rng.uniform(0, np.pi), np.linspace(0, 1, 20)[:, None]
    for _ in range(count):
        heading = combed + rng.normal(0, 0.5)
        step = np.array([np.cos(heading), np.sin(heading)]) * rng.uniform(0.4, 1.0)
        start, bend = rng.uniform(-0.1, 1.1, 2) - step / 2, step[::-1] * [1, -1] * rng.normal(0, 0.25)
        curve = (start + step * along + bend * along * (1 - along) * 2) * fine * width
        thickness = max(1, round(fine * width / 256 * rng.uniform(0.5, 1.6)))
        draw.line([tuple(point) for point in curve], fill=int(rng.integers(150, 235)), width=thickness)
    tone = (np.array([62, 44, 36]) * rng.uniform(0.5, 1.6)).astype(int)
    hair = Image.new("RGB", image.size, tuple(int(v) for v in tone))
    return Image.composite(hair, image, mask.resize(image.size, Image.Resampling.BOX))


def _add_bubbles(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Trap a few air bubbles in the immersion oil: bright rims and a glint."""
    light = Image.new("L", image.size)
    draw = ImageDraw.Draw(light)
    for _ in range(int(rng.integers(2, 9))):
        x, y = rng.uniform(0, image.width, 2)
        r = image.width * rng.uniform(0.01, 0.05)
        draw.ellipse((x - r, y - r, x + r, y + r), outline=110, width=max(1, image.width // 170))
        draw.ellipse((x - 0.6 * r, y - 0.6 * r, x - 0.2 * r, y - 0.2 * r), fill=230)
    light = light.filter(ImageFilter.GaussianBlur(image.width / 300))
    return Image.composite(Image.new("RGB", image.size, (255, 250, 246)), image, light)


def _add_ruler(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Print millimetre marks along one edge."""
    turn = int(rng.integers(4)) * 90
    image = image.rotate(turn)
    draw, step, start = ImageDraw.Draw(image), image.width / 24, rng.uniform(0, 0.04) * image.width
    for mark in range(24):
        length = image.width * (0.06 if mark % 5 == 0 else 0.035)
        x = start + mark * step
        draw.line((x, 0, x, length), fill=(58, 54, 60), width=max(1, image.width // 200))
    return image.rotate(-turn)


def _expose(rng: np.random.Generator, image: Image.Image) -> Image.Image:
    """Light the scene: falling off to the corners, a colour cast, defocus and sensor noise."""
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.9) * image.width / 256))
    y, x = np.mgrid[-1 : 1 : image.width * 1j, -1 : 1 : image.width * 1j].astype(np.float32)
    light = 1 - rng.uniform(0.05, 0.3) * (x * x + y * y) / 2 + rng.uniform(-0.06, 0.06) * x
    if rng.random() < 0.2:  # the tube of a contact dermatoscope
        rim = rng.uniform(1.02, 1.2) - np.hypot(x, y)
        light *= np.clip(rim / 0.04, 0.04, 1)
    cast = rng.normal(1, [0.025, 0.02, 0.035]) * rng.uniform(0.88, 1.08)
    pixels = np.asarray(image, np.float32) * light[..., None] * cast.astype(np.float32)
    noise = rng.standard_normal(pixels.shape, np.float32) * rng.uniform(0.5, 2.5)
    return _to_image(pixels + noise)


def _spots(rng: np.random.Generator, inside: Field, count: int, radius: tuple[float, float]) -> Field:
    """Return soft round spots, of density 1 at most, whose centres lie inside the lesion."""
    edge = inside.shape[0]
    layer = Image.new("L", (edge, edge))
    draw = ImageDraw.Draw(layer)
    rows, columns = np.nonzero(inside[::4, ::4] > 0.5)
    for _ in range(count if len(rows) else 0):
        pick, r = rng.integers(len(rows)), edge * rng.uniform(*radius) / 2
        x, y, squash = 4 * columns[pick], 4 * rows[pick], rng.uniform(0.7, 1.3)
        draw.ellipse((x - r, y - r * squash, x + r, y + r * squash), fill=int(rng.integers(120, 256)))
    blurred = layer.filter(ImageFilter.GaussianBlur(edge * sum(radius) / 12))
    return np.asarray(blurred, np.float32) / np.float32(255)


def _clouds(rng: np.random.Generator, cells: int, edge: int, octaves: int = 1) -> Field:
    """Return smooth random noise of mean 0 and deviation of about 0.6, `cells` bumps across."""
    total = np.zeros((edge, edge), np.float32)
    for octave in range(octaves):
        n = cells * 2**octave
        grid = Image.fromarray(0.5**octave * rng.standard_normal((n + 4, n + 4), np.float32))
        smooth = grid.resize((edge, edge), Image.Resampling.BICUBIC, box=(2, 2, n + 2, n + 2))
        total += np.asarray(smooth)
    return total


def _mosaic(rng: np.random.Generator, cells: int, edge: int) -> Field:
    """Return the distance to the borders of a mosaic of `cells` x `cells` stones, randomly shifted."""
    shift = (int(rng.integers(edge)), int(rng.integers(edge)))
    return np.roll(_fixed_mosaic(cells, edge), shift, (0, 1))


@lru_cache(maxsize=8)
def _fixed_mosaic(cells: int, edge: int) -> Field:
    """Return second-nearest minus nearest distance to jittered seeds (cellular noise); it tiles."""
    seeds = np.random.default_rng(cells).uniform(0.05, 0.95, (2, cells, cells)).astype(np.float32)
    y, x = np.mgrid[0:edge, 0:edge].astype(np.float32) * np.float32(cells / edge)
    nearest = np.full((2, edge, edge), np.inf, np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            row, column = np.floor(y) + down, np.floor(x) + right
            stone = seeds[:, row.astype(int) % cells, column.astype(int) % cells]
            distance = np.hypot(row + stone[0] - y, column + stone[1] - x)
            nearest[1] = np.minimum(nearest[1], np.maximum(nearest[0], distance))
            nearest[0] = np.minimum(nearest[0], distance)
    gap: Field = nearest[1] - nearest[0]
    return gap


def _to_image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
