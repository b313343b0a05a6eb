"""A picture: what arrived, decoded to its end, held against what was announced, and made smaller."""

import io
import math
from dataclasses import dataclass

from PIL import Image

from tellapart.data.images import ACCEPTED_FORMATS, MAX_PIXELS, decode
from tellapart.errors import UnreadableImage
from tellapart.sources.network import Refused

JPEG_QUALITY = 95
"""Of JPEGs that were resized on arrival."""

_SUFFIXES = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "WEBP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "GIF": ".gif",
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A file that was decoded: what to keep of it, its suffix, and its width and height in pixels."""

    content: bytes
    suffix: str
    size_px: tuple[int, int]


def look(content: bytes, announced_px: tuple[int, int] | None, resize_px: int | None) -> Picture:
    """Decode a file, hold it against its announced size, and shrink it if it is to be.

    Raises
    ------
    UnreadableImage
        If it is no image of a format that we take, or damaged.
    Refused
        If it is another size than announced, or has too many pixels.
    """
    size_px, kind = _probe(content, resize_px)
    # Whether the orientation in a photograph's EXIF data is counted in differs from source to source.
    if announced_px is not None and sorted(announced_px) != sorted(size_px):
        raise Refused(
            f"the image is {size_px[0]}x{size_px[1]}, not {announced_px[0]}x{announced_px[1]} as announced"
        )
    if resize_px is None or min(size_px) <= resize_px:
        return Picture(content, _SUFFIXES[kind], size_px)
    image = decode(content, target_px=resize_px)
    scale = resize_px / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    shrunk = io.BytesIO()
    if kind in ("JPEG", "MPO", "WEBP"):
        image.save(shrunk, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        return Picture(shrunk.getvalue(), ".jpg", image.size)
    image.save(shrunk, "PNG")
    return Picture(shrunk.getvalue(), ".png", image.size)


def _probe(content: bytes, resize_px: int | None) -> tuple[tuple[int, int], str]:
    """Return width and height, and Pillow's name of the format; read to the end what stays as it is."""
    try:
        with Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS) as image:
            size_px, kind = image.size, image.format or ""
            is_small_enough = math.prod(size_px) <= MAX_PIXELS
            if is_small_enough and (resize_px is None or min(size_px) <= resize_px):
                # A JPEG's bytes are all read even so, and an eighth of its pixels is much less work.
                image.draft(None, (1, 1))
                image.load()
    except Exception as exc:
        # Pillow raises whatever it stumbles over. `decode` stumbles too, and has words for it.
        decode(content)
        raise UnreadableImage(f"damaged ({type(exc).__name__}: {exc})") from exc
    if not is_small_enough:
        raise Refused(
            f"{size_px[0]}x{size_px[1]} is more than {MAX_PIXELS:,} pixels, the most that are taken"
        )
    return size_px, kind
