"""A look at one image file: figures of its picture, its format and its metadata."""

import io
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.audit.metadata import clues
from tellapart.data.images import ACCEPTED_FORMATS
from tellapart.data.survey import Reading
from tellapart.errors import CacheError

LOOK_VERSION = 2
"""Goes up whenever `look` gives other figures: part of the name of a cache that keeps them."""

EDGE_PX = 256
"""Long edge, in pixels, of the copy that figures are taken from."""

_COLOUR_PX = 64
"""Long edge, about, of the copy that colours are averaged over."""

_BORDER_NOISE = 10
"""Grey levels by which a JPEG's plain border may waver."""

_BORDER_STAINS = 0.02
"""Part of a line that may differ and the line still be border: a date, a ruler's end."""

_BORDER_STEP = 25
"""Grey levels between a border and the picture; less is a soft shadow."""

_BORDER_EDGE = 0.5
"""Part of a line that must step where a border ends."""


@dataclass(frozen=True, slots=True)
class Look:
    """Figures of one image file, cheap enough to take of every one.

    Attributes
    ----------
    width, height
        In pixels, upright, as the file says (not as it was decoded).
    format, mode
        Pillow's names, as stored, such as ``"JPEG"`` and ``"RGB"``.
    n_bytes
        Length of the file.
    quantisation
        How coarsely a JPEG was stored: the mean of its luminance table, 1 (best) to 255; 0 for others.
    brightness, contrast
        Mean and standard deviation of the grey values, in [0, 1].
    shadows, highlights
        Their 5th and 95th percentiles, in [0, 1].
    entropy
        Of the histogram of grey values, in bits, in [0, 8].
    blur
        In [0, 1]: 0 is sharp, 1 has no detail at all; see `_blur`.
    colourfulness
        0 for grey pictures, up to about 1; see `_colourfulness`.
    colour
        Mean red, green and blue, in [0, 1].
    border
        Parts of the width or height taken by a plain border on the left, top, right and bottom.
    clues
        What the file's metadata say of a person or place; see `tellapart.audit.metadata.clues`.
    """

    width: int
    height: int
    format: str
    mode: str
    n_bytes: int
    quantisation: float
    brightness: float
    contrast: float
    shadows: float
    highlights: float
    entropy: float
    blur: float
    colourfulness: float
    colour: tuple[float, float, float]
    border: tuple[float, float, float, float]
    clues: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Return all figures as JSON, for a cache."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Look":
        """Read what `to_bytes` wrote in the same `LOOK_VERSION`.

        Raises
        ------
        CacheError
            If it is anything else.
        """
        try:
            values: dict[str, Any] = json.loads(content)
            tuples: dict[str, Any] = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
            return cls(**(values | tuples))
        except (ValueError, TypeError, AttributeError) as exc:
            raise CacheError(
                f"the cache of figures of images is damaged ({exc}); delete looks-{LOOK_VERSION}.sqlite"
            ) from exc


def look(content: bytes, image: Image.Image) -> Look:
    """Take the figures of one file.

    Brightness, blur and the rest are taken from a copy whose long edge has at most `EDGE_PX` pixels: what
    is not seen at that size, a network does not see either.

    Parameters
    ----------
    content
        The whole file; only its header and metadata are read from it.
    image
        What `tellapart.data.images.decode` made of it: upright RGB, at full size or reduced, but its long
        edge not below `EDGE_PX` pixels unless the file's is.
    """
    with Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS) as header:
        width, height = header.size
        # A phone's JPEG with a second picture in it is still a JPEG.
        format = "JPEG" if header.format == "MPO" else header.format or ""
        mode = header.mode
        table = getattr(header, "quantization", {}).get(0, ())
    if (width - height) * (image.width - image.height) < 0:  # stored lying on its side
        width, height = height, width
    small = _reduced(image, EDGE_PX)
    colours = np.asarray(_reduced(small, _COLOUR_PX)).reshape(-1, 3) / 255.0
    grey = _shrunk(small.convert("L"))
    shares = np.asarray(grey.histogram()) / (grey.width * grey.height)
    levels = np.arange(256) / 255
    brightness = float(shares @ levels)
    shadows, highlights = np.searchsorted(shares.cumsum(), (0.05, 0.95)) / 255
    seen = shares[shares > 0]
    pixels = np.asarray(grey, dtype=np.float32)
    return Look(
        width=width,
        height=height,
        format=format,
        mode=mode,
        n_bytes=len(content),
        quantisation=sum(table) / len(table) if table else 0.0,
        brightness=brightness,
        contrast=float(np.sqrt(shares @ (levels - brightness) ** 2)),
        shadows=float(shadows),
        highlights=float(highlights),
        entropy=max(0.0, float(-(seen * np.log2(seen)).sum())),
        blur=_blur(pixels),
        colourfulness=_colourfulness(colours),
        colour=tuple(colours.mean(axis=0).tolist()),
        border=_border(pixels),
        clues=clues(content),
    )


LOOK = Reading(f"looks-{LOOK_VERSION}", lambda content, image: look(content, image).to_bytes())
"""What a pass over the files keeps of how each looks."""


def _reduced(image: Image.Image, edge_px: int) -> Image.Image:
    """Return a copy whose long edge is between one and two times `edge_px`, if it was longer: quick means."""
    factor = max(image.size) // edge_px
    return image.reduce(factor) if factor > 1 else image


def _shrunk(grey: Image.Image) -> Image.Image:
    scale = EDGE_PX / max(grey.size)
    if scale >= 1:
        return grey
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    return grey.resize(size, Image.Resampling.BILINEAR)


def _blur(grey: NDArray[np.float32]) -> float:
    """Return how little is lost when a picture is blurred once more, in [0, 1]; 0 if it is too small to say.

    A sharp picture loses most of the differences between neighbouring pixels to a mean over nine of them,
    a blurred one keeps them. The larger value of the two directions counts, so that motion shows (Crété et
    al., The blur effect, SPIE Human Vision and Electronic Imaging 2007). Unlike there, differences of one
    grey level count as noise: in smooth pictures, such as of skin, rounding would pass for sharpness.
    """
    kept = 0.0
    for lines in (grey, np.ascontiguousarray(grey.T)):
        if len(lines) <= 9:
            continue
        # The means over nine lines around i and around i - 1 have eight in common.
        sharp = np.abs(lines[5:-4] - lines[4:-5])
        sharp *= sharp > 1
        lost = sharp - np.abs(lines[9:] - lines[:-9]) / 9
        total = float(sharp.sum())
        kept = max(kept, 1 - float(np.maximum(lost, 0, out=lost).sum()) / total if total else 1.0)
    return kept


def _colourfulness(colours: NDArray[np.float64]) -> float:
    """Return Hasler and Suesstrunk's measure for colours in [0, 1] of shape (n, 3).

    From the spread and the distance from grey of red minus green and of yellow minus blue (Measuring
    colourfulness in natural images, SPIE Human Vision and Electronic Imaging 2003).
    """
    red, green, blue = colours.T
    opponents = np.stack([red - green, (red + green) / 2 - blue])
    return float(np.hypot(*opponents.std(axis=1)) + 0.3 * np.hypot(*opponents.mean(axis=1)))


def _border(grey: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """Return which part of the picture is plain border on the left, top, right and bottom."""
    left, top, right, bottom = (_plain_lines(side) for side in (grey.T, grey, grey.T[::-1], grey[::-1]))
    return left, top, right, bottom


def _plain_lines(grey: NDArray[np.float32]) -> float:
    """Return which part of the lines, from the first on, are plain border.

    A border is of one shade and ends in a straight edge, where most of the line turns into picture. A
    plain background behind an object does not, nor does the dark ring of a dermatoscope.
    """
    shade = float(np.median(grey[0]))
    if (np.abs(grey[0] - shade) > _BORDER_NOISE).mean() > _BORDER_STAINS:
        return 0.0
    differs = (np.abs(grey - shade) > _BORDER_NOISE).mean(axis=1)
    n_plain = int(np.argmax(differs > _BORDER_STAINS))  # 0 where every line is plain: no picture inside
    # The line after the edge may be a mixture of both, from shrinking.
    steps = (np.abs(grey[n_plain : n_plain + 3] - shade) > _BORDER_STEP).mean(axis=1)
    return n_plain / len(grey) if steps.max() >= _BORDER_EDGE else 0.0
