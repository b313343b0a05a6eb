"""A folder of about a hundred awkward files: every format and mode, and everything that can be wrong.

What is readable shows the stripes of its class (`pictures.class_picture`), so that a model can be trained
on what is left.
"""

import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictures import class_pixels, encode

CLASSES = ("cat", "dog")

NOT_AN_IMAGE = "not an image"
DAMAGED = "damaged"
TOO_LARGE = "pixels: shrink it first"

STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera that writes an EXIF orientation has turned the upright picture."""

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of an interlaced PNG's seven passes."""


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG, with its length and checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(pixels: NDArray[np.uint8] | NDArray[np.uint16], interlaced: bool = False) -> bytes:
    """A PNG of shape (height, width, channels), 1 to 4 channels, 8 or 16 bits: more than Pillow writes."""
    height, width, channels = pixels.shape
    depth, colour = 8 * pixels.dtype.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    stored = pixels.astype(pixels.dtype.newbyteorder(">"))
    lines = (row.tobytes() for x, y, dx, dy in passes for row in stored[y::dy, x::dx] if row.size)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    content = zlib.compress(b"".join(b"\0" + line for line in lines))
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", content) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def png_that_claims(width: int, height: int, content: bytes = bytes(1000)) -> bytes:
    """A small PNG whose header announces a huge black picture of one bit per pixel."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    chunks = header + png_chunk(b"IDAT", zlib.compress(content)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg_that_claims(width: int, height: int, jpeg: bytes) -> bytes:
    """The given baseline JPEG with another size in its frame header."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


def with_orientation(upright: Image.Image, orientation: int, format: str = "JPEG") -> bytes:
    """The file a turned camera writes: pixels turned, and the EXIF orientation that says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = STORED_AS[orientation]
    return encode(upright if turn is None else upright.transpose(turn), format, exif=exif)


class _Shelf:
    """Files go to the two classes in turn; every picture shows the class that its file goes to."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refused: dict[str, str] = {}
        self._rng = np.random.default_rng(7)
        self._turn = 0

    def pixels(self, width: int = 48, height: int = 40) -> NDArray[np.uint8]:
        return class_pixels(self._rng, self._turn, (width, height))

    def picture(self, mode: str = "RGB", width: int = 48, height: int = 40) -> Image.Image:
        return Image.fromarray(self.pixels(width, height)).convert(mode)

    def put(self, name: str, content: bytes, refused: str | None = None) -> None:
        """Write a file below the class whose turn it is; `refused` is a part of the expected reason."""
        label = CLASSES[self._turn]
        path = self.root / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self._turn = 1 - self._turn
        if refused is not None:
            self.refused[f"{label}/{name}"] = refused

    def put_in_both(self, name: str, make: Callable[[], bytes]) -> None:
        for _ in CLASSES:
            self.put(name, make())


def write_hostile_folder(root: Path) -> dict[str, str]:
    """Write ``root/cat`` and ``root/dog``, some 65 files each.

    Returns
    -------
    dict
        For exactly what must stand in the ledger, its POSIX path and a part of the reason. An empty class
        folder stands there with a slash at its end. Everything else must be read; hidden files are
        neither read nor listed.
    """
    shelf = _Shelf(root)
    for write in (
        _jpegs, _pngs, _webps, _tiffs, _bmps_and_gifs, _orientations, _shapes, _names,
        _truncated, _other_things, _bombs, _hidden, _folders, _links,
    ):  # fmt: skip
        write(shelf)
    return shelf.refused


def _jpegs(shelf: _Shelf) -> None:
    for mode in ("L", "RGB", "CMYK"):
        shelf.put(f"jpeg_{mode}.jpg", encode(shelf.picture(mode), "JPEG"))
    shelf.put("jpeg_progressive.jpg", encode(shelf.picture(), "JPEG", progressive=True))
    shelf.put("jpeg_damaged_exif.jpg", encode(shelf.picture(), "JPEG", exif=b"Exif\0\0not a TIFF at all"))
    second = [shelf.picture()]
    shelf.put("phone.jpg", encode(shelf.picture(), "MPO", save_all=True, append_images=second))
    shelf.put("trailing.jpg", encode(shelf.picture(), "JPEG") + b"what a camera put behind the picture")


def _pngs(shelf: _Shelf) -> None:
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        shelf.put(f"png_{mode.replace(';', '_')}.png", encode(_in_mode(shelf.picture(), mode)))
    shelf.put("png_P_transparent.png", encode(shelf.picture("P"), transparency=0))
    shelf.put("png_RGB_transparent.png", encode(shelf.picture(), transparency=(255, 255, 255)))
    shelf.put("png_RGB_16.png", png(shelf.pixels().astype(np.uint16) * 257))
    shelf.put("png_RGBA_16.png", png(np.asarray(shelf.picture("RGBA")).astype(np.uint16) * 257))
    shelf.put("png_interlaced.png", png(shelf.pixels(), interlaced=True))
    shelf.put("png_animated.png", encode(shelf.picture(), save_all=True, append_images=[shelf.picture()]))
    shelf.put("png_damaged_exif.png", encode(shelf.picture(), exif=b"Exif\0\0not a TIFF at all"))


def _webps(shelf: _Shelf) -> None:
    shelf.put("webp_lossy.webp", encode(shelf.picture(), "WEBP"))
    shelf.put("webp_lossless.webp", encode(shelf.picture(), "WEBP", lossless=True))
    shelf.put("webp_alpha.webp", encode(shelf.picture("RGBA"), "WEBP"))
    frames = [shelf.picture()]
    shelf.put("webp_animated.webp", encode(shelf.picture(), "WEBP", save_all=True, append_images=frames))


def _tiffs(shelf: _Shelf) -> None:
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"):
        shelf.put(f"tiff_{mode.replace(';', '_')}.tif", encode(_in_mode(shelf.picture(), mode), "TIFF"))
    lab = Image.merge("LAB", (shelf.picture("L"), *Image.new("RGB", (48, 40), (128, 140, 0)).split()[:2]))
    shelf.put("tiff_LAB.tif", encode(lab, "TIFF"))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        shelf.put(f"{compression}.tiff", encode(shelf.picture(), "TIFF", compression=compression))
    pages = [shelf.picture()]
    shelf.put("tiff_pages.tif", encode(shelf.picture(), "TIFF", save_all=True, append_images=pages))


def _bmps_and_gifs(shelf: _Shelf) -> None:
    for mode in ("1", "L", "P", "RGB"):
        shelf.put(f"bmp_{mode}.bmp", encode(shelf.picture(mode), "BMP"))
    shelf.put("gif_static.gif", encode(shelf.picture("P"), "GIF"))
    shelf.put("gif_transparent.gif", encode(shelf.picture("P"), "GIF", transparency=0))
    frames = [shelf.picture("P")]
    shelf.put("gif_animated.gif", encode(shelf.picture("P"), "GIF", save_all=True, append_images=frames))


def _in_mode(picture: Image.Image, mode: str) -> Image.Image:
    grey = np.asarray(picture.convert("L"))
    if mode == "I;16":
        return Image.fromarray(grey.astype(np.uint16) * 257)
    if mode == "I":
        return Image.fromarray(grey.astype(np.int32) * 257)
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32) / 255)
    return picture.convert(mode)


def _orientations(shelf: _Shelf) -> None:
    for orientation in STORED_AS:
        shelf.put(f"exif_{orientation}.jpg", with_orientation(shelf.picture(), orientation))


def _shapes(shelf: _Shelf) -> None:
    shelf.put_in_both("one_pixel.png", lambda: encode(shelf.picture(width=1, height=1)))
    shelf.put("panorama.jpg", encode(shelf.picture(width=20_000, height=10), "JPEG"))
    shelf.put("tower.png", encode(shelf.picture(width=3, height=5_000)))


def _names(shelf: _Shelf) -> None:
    names = ["M\u00fcller.png", "Mu\u0308hle.png", "\u732b.png", "\U0001f431.png", " two  words .png"]
    names += ["-rf.png", "O'Brien.png", "comma,semi;colon.png", "=1+1.png", "a&b.png", "100%.png"]
    names += ["CAPITALS.JPG", "Mixed.TiFf"]
    if os.name != "nt":
        names += ['"quoted".png', "<b>bold<b>.png", "two\nlines.png", "back\\slash.png"]
    for name in names:
        kind = {".jpg": "JPEG", ".tiff": "TIFF"}.get(Path(name).suffix.lower(), "PNG")
        shelf.put(name, encode(shelf.picture(), kind))
    shelf.put_in_both("same name.png", lambda: encode(shelf.picture()))
    shelf.put("really_a_png.jpg", encode(shelf.picture()))


def _truncated(shelf: _Shelf) -> None:
    """Cut a JPEG at 20 places, from its first bytes to its very last one, and one file of each other kind."""
    length = len(encode(shelf.picture(), "JPEG"))
    places = [3, 30, 120, 250, 400, 560, *np.linspace(630, length - 60, 11).astype(int), -20, -2, -1]
    for number, place in enumerate(places):
        shelf.put(f"cut_{number:02d}.jpg", encode(shelf.picture(), "JPEG")[:place], DAMAGED)
    progressive = encode(shelf.picture(), "JPEG", progressive=True)
    shelf.put("cut_progressive.jpg", progressive[: len(progressive) // 2], DAMAGED)
    for kind in ("PNG", "WEBP", "TIFF", "BMP", "GIF"):
        content = encode(shelf.picture(), kind)
        shelf.put(f"cut.{kind.lower()}", content[: len(content) // 2], DAMAGED)


def _other_things(shelf: _Shelf) -> None:
    shelf.put("zero_bytes.jpg", b"", "empty file")
    shelf.put("zero_bytes.png", b"", "empty file")
    shelf.put("text.jpg", b"This is a text, whatever its name says.\n", NOT_AN_IMAGE)
    shelf.put("page.png", b"<!DOCTYPE html><title>404 Not Found</title>", NOT_AN_IMAGE)
    shelf.put("paper.jpg", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", NOT_AN_IMAGE)
    shelf.put("icon.png", encode(shelf.picture(), "ICO"), NOT_AN_IMAGE)
    shelf.put("noise.jpg", b"\xff\xd8\xff\xe0" + np.random.default_rng(0).bytes(2000), DAMAGED)
    shelf.put("notes.txt", b"seen twice\n", NOT_AN_IMAGE)
    shelf.put("labels.csv", b"path,label\n", NOT_AN_IMAGE)
    shelf.put("README", b"no suffix at all\n", NOT_AN_IMAGE)


def _bombs(shelf: _Shelf) -> None:
    shelf.put("bomb_header.png", png_that_claims(60_000, 60_000), TOO_LARGE)
    shelf.put("bomb_header.jpg", jpeg_that_claims(60_000, 60_000, encode(shelf.picture(), "JPEG")), TOO_LARGE)
    # All 196 million pixels are there, in 24 kB.
    shelf.put("bomb_whole.png", png_that_claims(14_000, 14_000, bytes((1 + 14_000 // 8) * 14_000)), TOO_LARGE)


def _hidden(shelf: _Shelf) -> None:
    for name in (".DS_Store", "Thumbs.db", "._jpeg_RGB.jpg", ".hidden.png"):
        shelf.put(name, b"\0\5\x16\7 not a picture")


def _folders(shelf: _Shelf) -> None:
    shelf.put_in_both("visit 1/left/arm.png", lambda: encode(shelf.picture()))
    shelf.put("folder.jpg/inside.png", encode(shelf.picture()))
    (shelf.root / "cat" / "empty inside").mkdir()
    (shelf.root / "empty").mkdir()
    (shelf.root / "stray.png").write_bytes(encode(shelf.picture()))
    shelf.refused |= {"empty/": "empty folder", "stray.png": "not in a class folder"}


def _links(shelf: _Shelf) -> None:
    """Symbolic links, where the system lets us make them (Windows asks for a privilege)."""
    cat = shelf.root / "cat"
    try:
        (cat / "broken_link.jpg").symlink_to("nowhere.jpg")
    except OSError:
        return
    (cat / "link_to_itself.jpg").symlink_to("link_to_itself.jpg")
    shelf.refused |= {"cat/broken_link.jpg": "broken link", "cat/link_to_itself.jpg": "broken link"}
    (cat / "loop").symlink_to(".", target_is_directory=True)
    (cat / "visit 1" / "up").symlink_to("..", target_is_directory=True)
    if sys.platform == "linux":  # the only one of the three on which a name may be any bytes
        content = encode(Image.fromarray(class_pixels(np.random.default_rng(8), 0)))
        Path(os.fsdecode(os.fsencode(cat) + b"/not utf-8 \xe9.png")).write_bytes(content)
