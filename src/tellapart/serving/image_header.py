"""What an image file claims of itself, checked before any of it is decoded."""

import io

from PIL import Image
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import TiffImageFile

from tellapart.data.images import ACCEPTED_FORMATS
from tellapart.errors import UnreadableImage

MAX_SCANS = 100
"""Of one JPEG. Cameras write about ten."""

MAX_PASSES = 20
"""Over as many pixels as the largest accepted picture has, all scans of a JPEG together. Each scan is a pass
over the whole picture: 100 of 25 megapixels fit into 150 kB and take 1.4 s, 20 take 0.28 s, and a PNG of that
size takes 0.38 s."""

_SCAN = b"\xff\xda"
"""What begins a scan; inside of one an FF byte is followed by 00."""


class TooManyPixels(UnreadableImage):
    """A picture whose header claims more pixels than the service decodes."""


def check_header(image: bytes, max_pixels: int) -> None:
    """Refuse a file that would take long to decode, by what its header says.

    Raises
    ------
    TooManyPixels
        If width times height is above `max_pixels`.
    UnreadableImage
        If it is a JPEG of very many scans, or of many for its size.
    """
    try:
        with Image.open(io.BytesIO(image), formats=ACCEPTED_FORMATS) as opened:
            (width, height), n_scans = opened.size, _n_scans(opened, image)
    except Image.DecompressionBombError as exc:
        raise TooManyPixels(f"more than {max_pixels:,} pixels: shrink it first") from exc
    except UnreadableImage:
        raise
    except Exception:
        # Whatever is wrong with it, `load_pixels` says so in our own words.
        return
    if width * height > max_pixels:
        raise TooManyPixels(f"{width}x{height} is more than {max_pixels:,} pixels: shrink it first")
    if n_scans > MAX_SCANS or n_scans * width * height > MAX_PASSES * max_pixels:
        raise UnreadableImage(f"a JPEG of {n_scans:g} scans: save it again as an ordinary one")


def _n_scans(opened: Image.Image, image: bytes) -> float:
    """Return how many passes over the whole picture its JPEG data take; 0 where there are none."""
    if opened.format in ("JPEG", "MPO"):
        return image.count(_SCAN)
    if not isinstance(opened, TiffImageFile) or opened.info.get("compression") != "jpeg":
        return 0
    # Each strip or tile is a JPEG of its own. Nothing keeps them from being the same bytes.
    tags = opened.tag_v2
    kind = "Tile" if Base.TileWidth in tags else "Strip"
    starts = tags[Base[f"{kind}Offsets"]]
    sizes = tags[Base[f"{kind}ByteCounts"]]
    if sum(sizes) > len(image):
        raise UnreadableImage("a TIFF whose parts overlap: save it again as an ordinary one")
    parts = zip(starts, sizes, strict=True)
    return sum(image.count(_SCAN, start, start + size) for start, size in parts) / len(starts)
