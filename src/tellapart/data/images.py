"""From a file, or its bytes, to 8-bit RGB pixels: one path for training, evaluation and serving.

What becomes of each kind of image is documented in docs/images.md and fixed here, so that an exported
model can never disagree with the trained one about pixels.
"""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from tellapart.errors import UnreadableImage

ACCEPTED_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
"""Pillow's names. MPO, the JPEG of phones with a second picture behind the first, opens as JPEG."""

ACCEPTED_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
)

MAX_PIXELS = 178_956_970
"""Width times height above which a file is refused from its header, before any pixel is decoded."""

Fit = Literal["squash", "crop"]

# Pillow warns of 89 to 178 million pixels, where our own limit decides, and of damaged metadata.
# Not `catch_warnings` around each decode: on threads that can silence every warning for good.
warnings.filterwarnings("ignore", module=r"PIL\.")

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns a picture of each EXIF orientation upright; 1 and anything else are upright already."""


@dataclass(frozen=True, slots=True)
class Resize:
    """How an image of any shape becomes the square that a network takes.

    Attributes
    ----------
    size
        Edge of the square, in pixels.
    fit
        ``"squash"`` scales both edges to `size` and loses nothing at the borders;
        ``"crop"`` scales the short edge to `size` / `crop_fraction` and cuts the centre out.
    crop_fraction
        Part of the short edge that the centre crop keeps, in (0, 1].
    """

    size: int
    fit: Fit = "squash"
    crop_fraction: float = 0.875

    def __call__(self, image: Image.Image) -> NDArray[np.uint8]:
        """Return uint8 pixels of shape (size, size, 3) from an RGB image."""
        if self.fit == "squash":
            box = (0.0, 0.0, float(image.width), float(image.height))
        else:
            edge = min(image.size) * self.crop_fraction
            left, top = (image.width - edge) / 2, (image.height - edge) / 2
            box = (left, top, left + edge, top + edge)
        if image.size != (self.size, self.size) or box != (0.0, 0.0, *map(float, image.size)):
            image = image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box)
        return np.asarray(image)


def load_pixels(source: Path | bytes, resize: Resize) -> NDArray[np.uint8]:
    """Decode a file, or a file's bytes, and resize it.

    Returns
    -------
    ndarray of shape (size, size, 3), dtype uint8, RGB.

    Raises
    ------
    UnreadableImage
        If the source is missing, empty, truncated, not an accepted format or too large.
    """
    return resize(decode(source, target_px=resize.size))


def thumbnail(source: Path | bytes, edge_px: int) -> bytes:
    """Return a JPEG of the whole picture, its long edge at most `edge_px`."""
    image = decode(source, target_px=edge_px)
    image.thumbnail((edge_px, edge_px))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def decode(source: Path | bytes, target_px: int | None = None) -> Image.Image:
    """Decode an image to upright 8-bit RGB.

    Parameters
    ----------
    source
        A path, or the bytes of a file.
    target_px
        The edge to which the caller will shrink the picture. JPEGs more than four times as large are
        then decoded at a half, a quarter or an eighth (libjpeg's own scaling), which is much faster.

    Raises
    ------
    UnreadableImage
        With the reason; the path is not part of the message.
    """
    try:
        return _decode(source if isinstance(source, Path) else io.BytesIO(source), target_px)
    except UnreadableImage:
        raise
    except FileNotFoundError as exc:
        raise UnreadableImage("no such file") from exc
    except PermissionError as exc:
        raise UnreadableImage("permission denied") from exc
    except IsADirectoryError as exc:
        raise UnreadableImage("a folder, not a file") from exc
    except Image.DecompressionBombError as exc:
        raise UnreadableImage(f"more than {MAX_PIXELS:,} pixels: shrink it first") from exc
    except UnidentifiedImageError as exc:
        raise UnreadableImage(_why_unidentified(source)) from exc
    except Exception as exc:
        # Pillow's decoders raise OSError, ValueError, SyntaxError, struct.error, zlib.error, IndexError …
        # for damaged files; whatever they raise, this one file cannot become pixels.
        raise UnreadableImage(f"damaged or truncated ({type(exc).__name__}: {exc})") from exc


def _decode(source: Path | io.BytesIO, target_px: int | None) -> Image.Image:
    with Image.open(source, formats=ACCEPTED_FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImage(
                f"{image.width}x{image.height} is more than {MAX_PIXELS:,} pixels: shrink it first"
            )
        _draft(image, target_px)
        image.load()
        turn = _UPRIGHT.get(_orientation(image))
        return to_rgb(image if turn is None else image.transpose(turn))


def _draft(image: Image.Image, target_px: int | None) -> None:
    """Set a JPEG that was opened and not loaded to be decoded no larger than wanted."""
    if target_px is not None and image.format in ("JPEG", "MPO"):
        image.draft(None, (4 * target_px, 4 * target_px))


def are_decoded_alike(content: bytes, one_px: int, other_px: int) -> bool:
    """Return whether `decode` makes the same picture of a file for both edges; reads its header only."""
    if one_px == other_px:
        return True
    sizes = []
    for edge in (one_px, other_px):
        with Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS) as header:
            _draft(header, edge)
            sizes.append(header.size)
    return sizes[0] == sizes[1]


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        # Damaged metadata, for which Pillow raises whatever it stumbles over, leave the pixels as good
        # as they were.
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB: transparency over white, 16-bit scaled to 8-bit."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        rgb = Image.new("RGB", rgba.size, "white")
        rgb.paste(rgba, mask=rgba)
        return rgb
    return image.convert("RGB")


def _to_eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale high-bit grey to 0-255 by its own type: 16-bit by 257, floats of 0-1 by 255, else clip."""
    scale = 1.0
    if np.issubdtype(values.dtype, np.floating):
        scale = 255.0 if np.nanmax(values, initial=0) <= 1 else 1.0
    elif values.dtype.itemsize == 2 or values.max(initial=0) > 255:
        scale = 1 / 257
    grey = np.empty(values.shape, np.uint8)
    for row, line in enumerate(values):  # one at a time: a large scan must not be held in float64
        grey[row] = np.clip(np.rint(np.nan_to_num(line.astype(np.float64) * scale)), 0, 255)
    return grey


def _why_unidentified(source: Path | bytes) -> str:
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(16)
    if not source:
        return "empty file"
    return f"not an image, or damaged in its header (accepted: {', '.join(ACCEPTED_FORMATS)})"
