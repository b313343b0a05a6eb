"""The metadata of image files: what they give away of a person or place."""

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, IptcImagePlugin

from tellapart.data.images import ACCEPTED_FORMATS

_Tag, _Gps = ExifTags.Base, ExifTags.GPS


@dataclass(frozen=True, slots=True)
class _Places:
    """Where files keep one kind of clue: EXIF tags, positions, IPTC fields of record 2, XMP, PNG texts."""

    exif: tuple[int, ...] = ()
    gps: tuple[int, ...] = ()
    iptc: tuple[int, ...] = ()
    xmp: str = "(?!)"
    png: tuple[str, ...] = ()


_CLUES: Mapping[str, _Places] = {
    "place": _Places(
        gps=(
            *(_Gps.GPSLatitude, _Gps.GPSLongitude, _Gps.GPSAreaInformation),
            *(_Gps.GPSDestLatitude, _Gps.GPSDestLongitude),
        ),
        iptc=(90, 92, 95, 101),
        xmp=r"exif:GPSL\w+|photoshop:(City|State)|Iptc4xmp\w+:(Location|City|Sublocation)\w*",
    ),
    "person": _Places(
        exif=(_Tag.Artist, _Tag.Copyright, _Tag.XPAuthor, _Tag.CameraOwnerName),
        iptc=(80, 110, 116, 122),
        xmp=r"dc:(creator|rights)|Iptc4xmpExt:PersonInImage|photoshop:Credit|aux:OwnerName|mwg-rs:Name",
        png=("author", "artist", "copyright"),
    ),
    "device": _Places(
        exif=(_Tag.BodySerialNumber, _Tag.LensSerialNumber, _Tag.CameraSerialNumber, _Tag.HostComputer),
        xmp=r"(aux|exifEX):(Body|Lens)?SerialNumber",
    ),
    "text": _Places(
        exif=(
            *(_Tag.ImageDescription, _Tag.DocumentName, _Tag.UserComment),
            *(_Tag.XPTitle, _Tag.XPSubject, _Tag.XPComment, _Tag.XPKeywords),
        ),
        iptc=(5, 25, 40, 105, 120),
        xmp=r"dc:(title|description|subject)|exif:UserComment",
    ),
    "time": _Places(
        exif=(_Tag.DateTimeOriginal, _Tag.DateTimeDigitized),
        iptc=(55,),
        xmp=r"exif:DateTimeOriginal|photoshop:DateCreated",
        png=("creation time",),
    ),
}

_BY_SOFTWARE = re.compile(
    r"digital camera|^sony dsc|^exif_jpeg|(created|processed|optimi[sz]ed|written) (with|by)|gd-jpeg"
    r"|^screenshot|^imagej|^default$|^lavc|handmade software|lead technologies|^dcim",
    re.IGNORECASE,
)
"""Descriptions that cameras and programs fill in by themselves, and which name nobody."""

_PNG_BY_SOFTWARE = re.compile(r"software|source|warning|disclaimer|date:.*|exif:.*|xml:com\.adobe\.xmp")

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})


def clues(content: bytes) -> tuple[str, ...]:
    """Return which kinds of clues to a person or place an image file's metadata hold, sorted.

    EXIF, IPTC, XMP, comments and PNG texts are read; pixels are not. The kinds are ``"place"``,
    ``"person"``, ``"device"``, ``"text"``, ``"time"``, and ``"unreadable"`` for damaged metadata. Blank
    values, a position of zero and what cameras fill in by themselves do not count.
    """
    found: set[str] = set()
    try:
        if content.startswith(PNG_SIGNATURE):
            content = _with_one_pixel(content)
        with Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS) as header:
            found.update(_from_exif(_exif(header)))
            found.update(_from_iptc(IptcImagePlugin.getiptcinfo(header) or {}))
            found.update(_from_xmp(_xmp(content, header.info)))
            found.update(_from_texts(header))
    except Exception:
        # Pillow raises whatever damaged metadata make it stumble over; the pixels can be good all the same.
        found.add("unreadable")
    return tuple(sorted(found))


def _with_one_pixel(png: bytes) -> bytes:
    """Return a tiny PNG with the same metadata.

    They may follow the pixels, all of which Pillow would decode to get there.
    """
    parts = [PNG_SIGNATURE, png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))]
    parts += (chunk for kind, chunk in png_chunks(png) if kind in _PNG_METADATA)
    return b"".join([*parts, png_chunk(b"IDAT", zlib.compress(b"\0\0")), png_chunk(b"IEND", b"")])


def _exif(header: Image.Image) -> Image.Exif:
    if "exif" not in header.info:
        return header.getexif()
    # Opening a JPEG reads them once, and what fails then fails silently ever after; a second reader tells.
    exif = Image.Exif()
    exif.load(header.info["exif"])
    return exif


def _from_exif(exif: Image.Exif) -> Iterator[str]:
    values: dict[int, Any] = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    position = exif.get_ifd(ExifTags.IFD.GPSInfo)
    for kind, places in _CLUES.items():
        if _is_telling([values.get(tag) for tag in places.exif] + [position.get(tag) for tag in places.gps]):
            yield kind


def _from_iptc(fields: Mapping[tuple[int, int], bytes | list[bytes]]) -> Iterator[str]:
    for kind, places in _CLUES.items():
        if _is_telling([fields.get((2, number)) for number in places.iptc]):
            yield kind


def _xmp(content: bytes, info: Mapping[str | tuple[int, int], Any]) -> str:
    """Return the XMP of any format: it stands in the file as text, unless a PNG has compressed it."""
    known = info.get("xmp", b"")
    unpacked = known if isinstance(known, bytes) else str(known).encode()
    start, end = content.find(b"<x:xmpmeta"), content.rfind(b"</x:xmpmeta>")
    packet = content[start:end] if 0 <= start < end else b""
    return (unpacked + packet).decode("utf-8", "replace")


def _from_xmp(xmp: str) -> Iterator[str]:
    for kind, places in _CLUES.items():
        # Either an attribute, or an element with text somewhere before it closes.
        if re.search(
            rf'(?:{places.xmp})\s*(?:=\s*["\'][^"\']*\w|(?:\s[^>]*[^/])?>(?:\s|<rdf:[^>]*>)*[^<\s])', xmp
        ):
            yield kind


def _from_texts(header: Image.Image) -> Iterator[str]:
    if _is_telling(header.info.get("comment")):
        yield "text"
    if header.format != "PNG":
        return
    for key, value in header.info.items():
        if isinstance(key, str) and isinstance(value, str) and _is_telling(value):
            known = [kind for kind, places in _CLUES.items() if key.lower() in places.png]
            if known or not _PNG_BY_SOFTWARE.fullmatch(key.lower()):
                yield from known or ["text"]


def _is_telling(value: Any) -> bool:
    """Whether a value is there and says something of its own."""
    if isinstance(value, bytes):
        # EXIF comments begin with the name of their character set; Windows writes UTF-16.
        value = re.sub(rb"^(ASCII|UNICODE|JIS)\0+", b"", value).replace(b"\0", b"").decode("utf-8", "replace")
    if isinstance(value, str):
        text = value.strip("\0 \t\r\n")
        return bool(text) and not _BY_SOFTWARE.search(text)
    if isinstance(value, list | tuple):
        return any(map(_is_telling, value))
    if value is None:
        return False
    number = float(value)
    return number != 0 and math.isfinite(number)


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, chunk with its length and checksum)."""
    start = len(PNG_SIGNATURE)
    while start + 12 <= len(content):
        end = start + 12 + struct.unpack_from(">I", content, start)[0]
        yield content[start + 4 : start + 8], content[start:end]
        start = end


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
