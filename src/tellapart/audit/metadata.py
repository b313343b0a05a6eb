"""The metadata of image files: what they give away of a person or place, and files without them."""

import io
import math
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, IptcImagePlugin

from tellapart.data.images import ACCEPTED_FORMATS, decode
from tellapart.errors import UnreadableImage

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

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_METADATA = frozenset({b"eXIf", b"tEXt", b"zTXt", b"iTXt"})
_PNG_PICTURE = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP sBIT bKGD pHYs".split()  # what decoding needs
)

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""In a JPEG's compressed data, where 0xff 0x00 is a byte and 0xd0 to 0xd7 mark restarts."""


def clues(content: bytes) -> tuple[str, ...]:
    """Return which kinds of clues to a person or place an image file's metadata hold, sorted.

    EXIF, IPTC, XMP, comments and PNG texts are read; pixels are not. The kinds are ``"place"``,
    ``"person"``, ``"device"``, ``"text"``, ``"time"``, and ``"unreadable"`` for damaged metadata. Blank
    values, a position of zero and what cameras fill in by themselves do not count.
    """
    found: set[str] = set()
    try:
        if content.startswith(_PNG_SIGNATURE):
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
    parts = [_PNG_SIGNATURE, _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))]
    parts += (chunk for kind, chunk in _png_chunks(png) if kind in _PNG_METADATA)
    return b"".join([*parts, _png_chunk(b"IDAT", zlib.compress(b"\0\0")), _png_chunk(b"IEND", b"")])


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


def clean(content: bytes) -> tuple[str, bytes]:
    """Return a file without metadata, and the suffix to add to its name: ``".png"`` if it became one.

    Raises
    ------
    UnreadableImage
        If it cannot be decoded.
    """
    picture = decode(content)
    orientation = _orientation(content)
    for signature, without_metadata in ((b"\xff\xd8", _clean_jpeg), (_PNG_SIGNATURE, _clean_png)):
        if content.startswith(signature):
            try:
                cleaned = without_metadata(content, orientation)
                if not clues(cleaned) and decode(cleaned).tobytes() == picture.tobytes():
                    return "", cleaned
            except (UnreadableImage, LookupError, struct.error):
                break  # Pillow forgives oddities that we cannot follow
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return ".png", buffer.getvalue()


def _orientation(content: bytes) -> bytes:
    """Return EXIF that holds nothing but the picture's orientation; empty if it is upright."""
    exif = Image.Exif()
    try:
        with Image.open(io.BytesIO(content), formats=ACCEPTED_FORMATS) as header:
            exif[_Tag.Orientation] = int(header.getexif().get(_Tag.Orientation, 1))
    except Exception:
        return b""  # damaged metadata, as in `decode`
    return exif.tobytes() if 1 < exif[_Tag.Orientation] <= 8 else b""


def _clean_jpeg(content: bytes, orientation: bytes) -> bytes:
    parts = [b"\xff\xd8"]
    if orientation:
        parts.append(b"\xff\xe1" + struct.pack(">H", 2 + len(orientation)) + orientation)
    for marker, segment in _jpeg_segments(content):
        is_application = 0xE0 <= marker <= 0xEF or marker == 0xFE
        is_profile = marker == 0xE2 and segment[4:].startswith(b"ICC_PROFILE\0")
        if not is_application or marker in (0xE0, 0xEE) or is_profile:
            parts.append(segment)
    return b"".join(parts)


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, segment with its marker) up to the end of the first picture."""
    start = 2
    while (found := _NEXT_MARKER.search(content, start)) is not None:
        marker = found[1][0]
        if marker == 0xD9:
            yield marker, b"\xff\xd9"
            return
        end = found.end() + struct.unpack_from(">H", content, found.end())[0]
        if marker == 0xDA:  # compressed data follow the header of a scan
            following = _NEXT_MARKER.search(content, end)
            end = following.start() if following else len(content)
        yield marker, b"\xff" + content[found.end() - 1 : end]
        start = end


def _clean_png(content: bytes, orientation: bytes) -> bytes:
    parts = [_PNG_SIGNATURE]
    for kind, chunk in _png_chunks(content):
        if kind in _PNG_PICTURE:
            parts.append(chunk)
        if kind == b"IHDR" and orientation:
            parts.append(_png_chunk(b"eXIf", orientation.removeprefix(b"Exif\0\0")))
    return b"".join(parts)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, chunk with its length and checksum)."""
    start = len(_PNG_SIGNATURE)
    while start + 12 <= len(content):
        end = start + 12 + struct.unpack_from(">I", content, start)[0]
        yield content[start + 4 : start + 8], content[start:end]
        start = end


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
