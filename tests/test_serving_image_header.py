"""Files that would take long to decode are refused by what they claim."""

import struct
import time

import pytest
from PIL import TiffImagePlugin, TiffTags

from hostile import jpeg_that_claims, png_that_claims
from pictures import encode, solid
from tellapart.data.images import Resize, load_pixels
from tellapart.errors import UnreadableImage
from tellapart.serving.image_header import TooManyPixels, check_header

MAX_PIXELS = 25_000_000


@pytest.mark.parametrize(
    "image",
    [
        png_that_claims(20_000, 20_000),  # attack 22
        png_that_claims(9_000, 9_000),  # attack 23
        jpeg_that_claims(13_000, 13_000, encode(solid(), "JPEG")),  # attack 24
        png_that_claims(2**31 - 1, 2**31 - 1),
    ],
)
def test_bombs_are_refused_by_their_header(image):
    with pytest.raises(TooManyPixels, match="shrink it first"):
        check_header(image, MAX_PIXELS)


def of_scans(n: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are n."""
    jpeg = encode(solid(size=size), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * (n - jpeg.count(b"\xff\xda") + 1) + b"\xff\xd9"


def test_ordinary_progressive_jpegs_of_any_size_are_accepted():
    check_header(of_scans(10), 10_000)
    check_header(of_scans(10, (5000, 5000)), MAX_PIXELS)


def test_a_jpeg_of_very_many_scans_is_refused():
    """Attack 32: each scan costs a pass over the whole picture."""
    check_header(of_scans(100), MAX_PIXELS)
    with pytest.raises(UnreadableImage, match="of 101 scans"):
        check_header(of_scans(101), MAX_PIXELS)


def test_the_larger_a_jpeg_the_fewer_scans_it_may_have():
    """Attack 32: a hundred scans of 25 megapixels are 150 kB, and 1.4 seconds of work."""
    check_header(of_scans(20, (5000, 5000)), MAX_PIXELS)
    bomb = of_scans(21, (5000, 5000))
    started = time.process_time()
    with pytest.raises(UnreadableImage, match="scans"):
        check_header(bomb, MAX_PIXELS)
    assert time.process_time() - started < 0.1


def tiff_of(jpeg: bytes, size: tuple[int, int], n_parts: int = 1) -> bytes:
    """A TIFF whose strips are all the one JPEG."""
    tiff = TiffImagePlugin.ImageFileDirectory_v2()
    width, height = size
    tiff.tagtype[273] = tiff.tagtype[279] = TiffTags.LONG
    fields = {256: width, 257: height, 258: (8, 8, 8), 259: 7, 262: 6, 277: 3, 278: -(-height // n_parts)}
    for tag, value in {**fields, 273: (0,) * n_parts, 279: (len(jpeg),) * n_parts}.items():
        tiff[tag] = value
    # Pillow adds to the offsets where the data begin.
    return b"II*\0" + struct.pack("<I", 8) + tiff.tobytes(8) + jpeg


def test_a_jpeg_inside_a_tiff_is_counted_too():
    """Attack 32, in disguise."""
    size = (5000, 5000)
    fine, bomb = tiff_of(of_scans(10, size), size), tiff_of(of_scans(90, size), size)
    check_header(fine, MAX_PIXELS)
    assert load_pixels(fine, Resize(8)).mean(axis=(0, 1)) == pytest.approx(solid().getpixel((0, 0)), abs=3)
    with pytest.raises(UnreadableImage, match="90 scans"):
        check_header(bomb, MAX_PIXELS)


def test_strips_that_are_all_the_same_bytes_are_counted_each():
    size = (5000, 5000)
    strips = tiff_of(of_scans(90, (5000, 50)), size, n_parts=100)
    with pytest.raises(UnreadableImage, match="overlap"):
        check_header(strips, MAX_PIXELS)
    with pytest.raises(UnreadableImage, match="90 scans"):
        check_header(strips + bytes(100 * len(strips)), MAX_PIXELS)


def test_an_ordinary_tiff_of_jpeg_tiles_is_accepted():
    check_header(encode(solid(size=(3000, 3000)), "TIFF", compression="jpeg"), MAX_PIXELS)
