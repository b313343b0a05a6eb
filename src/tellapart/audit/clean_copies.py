"""Copies of image files without metadata: of one file, and of a whole dataset."""

import csv
import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from PIL import ExifTags, Image

from tellapart.audit.metadata import PNG_SIGNATURE, clues, png_chunk, png_chunks
from tellapart.data.dataset import Dataset
from tellapart.data.files import write_atomically
from tellapart.data.images import ACCEPTED_FORMATS, decode
from tellapart.data.reader import fetch, in_parallel
from tellapart.errors import ConfigError, UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample

_PNG_PICTURE = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP cICP sBIT bKGD pHYs".split()  # what decoding needs
)

_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
"""In a JPEG's compressed data, where 0xff 0x00 is a byte and 0xd0 to 0xd7 mark restarts."""


def strip(dataset: Dataset, out: Path, *, progress: Progress = SILENT) -> Dataset:
    """Write copies without metadata, whose pixels are the same bit by bit, and return them as a dataset.

    JPEG and PNG files are not encoded again: everything but the picture is cut out, second pictures and
    what is hidden behind the end included; only the orientation stays, and the colour profile. Other
    formats, and files too odd for that, become PNG files, named ``NAME.SUFFIX.png``.

    Besides the pictures, laid out like their ids, `out` gets a ``manifest.csv`` with the labels, splits,
    groups and metadata columns of the dataset as they are; it can be loaded by itself.

    Parameters
    ----------
    out
        A new or empty folder.

    Returns
    -------
    Dataset
        The copies; files that cannot be read are in its ledger.

    Raises
    ------
    ConfigError
        If `out` exists and is not an empty folder.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; clean copies go into a new folder")
    copies: list[Sample] = []
    bad: dict[str, str] = {}
    with progress.track("stripping", len(dataset)) as advance:
        for sample, (suffix, content, reason) in zip(
            dataset.samples, in_parallel(_clean_file, dataset.samples), strict=True
        ):
            advance(1)
            if reason is None:
                copies.append(_write_copy(sample, sample.id + suffix, content, out))
            else:
                bad[sample.id] = reason
    copies.sort(key=lambda sample: sample.id)
    _write_manifest(copies, out)
    ledger = dataset.without(bad).ledger
    return replace(dataset, samples=tuple(copies), ledger=ledger, root=out)


def _clean_file(sample: Sample) -> tuple[str, bytes, str | None]:
    """Return what to add to the name, the clean content, and None or why there is none."""
    _, content, reason = fetch(sample)
    if reason is not None:
        return "", b"", reason
    try:
        return *clean(content), None
    except UnreadableImage as exc:
        return "", b"", str(exc)


def _write_copy(sample: Sample, id: str, content: bytes, out: Path) -> Sample:
    place = PurePath(id)
    # A manifest may name images above its folder or anywhere: their copies stay in `out` all the same.
    parts = tuple("_" if part in ("..", place.anchor) else part for part in place.parts)
    copy = PurePath(*parts)
    while (out / copy).exists():  # two names may become one, or be one to this file system
        copy = copy.with_stem(f"{copy.stem}_")
    write_atomically(out / copy, content)
    return replace(sample, id=copy.as_posix(), path=out / copy, sha256=None)


def _write_manifest(samples: Sequence[Sample], out: Path) -> None:
    columns = sorted({column for sample in samples for column in sample.metadata})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label", "split", "group", *columns])
    for s in samples:
        row = [s.id, s.label, s.split or "", s.group or "", *(s.metadata.get(c, "") for c in columns)]
        writer.writerow(row)
    write_atomically(out / "manifest.csv", text.getvalue().encode())


def clean(content: bytes) -> tuple[str, bytes]:
    """Return a file without metadata, and the suffix to add to its name: ``".png"`` if it became one.

    Raises
    ------
    UnreadableImage
        If it cannot be decoded.
    """
    picture = decode(content)
    orientation = _orientation(content)
    for signature, without_metadata in ((b"\xff\xd8", _clean_jpeg), (PNG_SIGNATURE, _clean_png)):
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
            exif[ExifTags.Base.Orientation] = int(header.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return b""  # damaged metadata, as in `decode`
    return exif.tobytes() if 1 < exif[ExifTags.Base.Orientation] <= 8 else b""


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
    parts = [PNG_SIGNATURE]
    for kind, chunk in png_chunks(content):
        if kind in _PNG_PICTURE:
            parts.append(chunk)
        if kind == b"IHDR" and orientation:
            parts.append(png_chunk(b"eXIf", orientation.removeprefix(b"Exif\0\0")))
    return b"".join(parts)
