"""What metadata give away, whatever format and place they hide in, and files without them."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from hostile import STORED_AS, png_chunk, with_orientation
from pictures import class_picture, encode
from tellapart.audit.metadata import clean, clues
from tellapart.data.images import decode
from tellapart.errors import UnreadableImage

TAG, GPS, IFD = ExifTags.Base, ExifTags.GPS, ExifTags.IFD
PICTURE = class_picture(np.random.default_rng(0), 0)
PARIS = {GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 51.0, 24.0)}


def exif(main=(), sub=(), gps=()) -> Image.Exif:
    """EXIF with these tags in its main, its camera's and its position's directory."""
    made = Image.Exif()
    made.update(dict(main))
    made.get_ifd(IFD.Exif).update(dict(sub))
    made.get_ifd(IFD.GPSInfo).update(dict(gps))
    return made


def xmp(body: str) -> bytes:
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{body}</rdf:RDF></x:xmpmeta>'.encode()


def with_iptc(number: int, value: bytes) -> bytes:
    """A JPEG with one field of IPTC's second record, as press agencies write it."""
    field = bytes([0x1C, 2, number]) + struct.pack(">H", len(value)) + value
    resource = b"8BIM" + struct.pack(">HHL", 0x0404, 0, len(field)) + field + b"\0" * (len(field) % 2)
    segment = b"Photoshop 3.0\0" + resource
    jpeg = encode(PICTURE, "JPEG")
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", 2 + len(segment)) + segment + jpeg[2:]


def with_text(key: str, value: str, *, at_the_end: bool = False) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text(key, value)
    if not at_the_end:
        return encode(PICTURE, pnginfo=text)
    png = encode(PICTURE)
    return png[:-12] + png_chunk(b"tEXt", f"{key}\0{value}".encode()) + png[-12:]


IN_PARIS = "<photoshop:City>Paris</photoshop:City>"
EVERYTHING = exif({TAG.Artist: "Jane Doe"}, {TAG.BodySerialNumber: "12345"}, PARIS)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_is_found_in_every_format_that_can_hold_it(format):
    content = encode(PICTURE, format, exif=EVERYTHING)
    # Pillow writes only the main directory into a TIFF.
    assert clues(content) == (("person",) if format == "TIFF" else ("device", "person", "place"))
    assert clues(encode(PICTURE, format)) == ()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (exif({TAG.Copyright: "Jane Doe"}), ("person",)),
        (exif({TAG.XPAuthor: "Jane".encode("utf-16-le")}), ("person",)),
        (exif({TAG.ImageDescription: "Jane's arm"}), ("text",)),
        (exif({}, {TAG.UserComment: b"ASCII\0\0\0left arm"}), ("text",)),
        (exif({}, {TAG.DateTimeOriginal: "2024:05:06 07:08:09"}), ("time",)),
        (exif({}, {}, {GPS.GPSAreaInformation: b"ASCII\0\0\0Ward 3"}), ("place",)),
        # What says nothing of anybody.
        (exif({TAG.Make: "Canon", TAG.Model: "EOS", TAG.Orientation: 6, TAG.Software: "9.1"}), ()),
        (exif({TAG.ImageDescription: "OLYMPUS DIGITAL CAMERA         "}), ()),
        (exif({TAG.Artist: "   ", TAG.Copyright: ""}), ()),
        (exif({}, {TAG.UserComment: b"ASCII\0\0\0" + b" " * 40}), ()),
        (exif({}, {}, {GPS.GPSVersionID: b"\2\3\0\0", GPS.GPSAltitude: 0.0}), ()),
        (exif({}, {}, {GPS.GPSLatitude: (0.0, 0.0, 0.0), GPS.GPSLongitude: (0.0, 0.0, 0.0)}), ()),
    ],
)
def test_only_tags_that_say_something_count(made, expected):
    assert clues(encode(PICTURE, "JPEG", exif=made)) == expected


@pytest.mark.parametrize(
    ("number", "kind"), [(90, "place"), (101, "place"), (80, "person"), (120, "text"), (55, "time")]
)
def test_iptc_fields(number, kind):
    assert clues(with_iptc(number, b"something")) == (kind,)
    assert clues(with_iptc(number, b"  ")) == ()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('<rdf:Description exif:GPSLatitude="48,51.4N"/>', ("place",)),
        (IN_PARIS, ("place",)),
        ("<dc:creator><rdf:Seq><rdf:li>Jane</rdf:li></rdf:Seq></dc:creator>", ("person",)),
        (
            '<dc:description><rdf:Alt><rdf:li a="x">An arm</rdf:li></rdf:Alt></dc:description>',
            ("text",),
        ),
        ('<rdf:Description aux:SerialNumber="12"/>', ("device",)),
        ("<photoshop:City/><dc:creator></dc:creator>", ()),
        ('<rdf:Description xmp:CreatorTool="Some Tool" photoshop:City=""/>', ()),
    ],
)
@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", "PNG", "GIF"])
def test_xmp_as_attribute_or_element(format, body, expected):
    if format == "TIFF":
        content = encode(PICTURE, format, tiffinfo={700: xmp(body)})
    elif format == "PNG":
        content = with_compressed_xmp(xmp(body))
    elif format == "GIF":
        content = encode(PICTURE, format) + xmp(body)
    else:
        content = encode(PICTURE, format, xmp=xmp(body))
    assert clues(content) == expected


def with_compressed_xmp(packet: bytes) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
    return encode(PICTURE, pnginfo=text)


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Author", ("person",)),
        ("Comment", ("text",)),
        ("Patient", ("text",)),
        ("Creation Time", ("time",)),
        ("Software", ()),
        ("date:create", ()),
    ],
)
def test_texts_of_a_png_before_and_after_its_pixels(key, expected, at_the_end):
    assert clues(with_text(key, "something", at_the_end=at_the_end)) == expected


@pytest.mark.parametrize("format", ["JPEG", "GIF"])
def test_comments(format):
    assert clues(encode(PICTURE, format, comment="Jane's arm")) == ("text",)
    assert clues(encode(PICTURE, format, comment="Created with GIMP")) == ()


def test_metadata_that_cannot_be_read_are_a_clue_themselves():
    content = encode(PICTURE, "JPEG", exif=EVERYTHING)
    broken = content.replace(b"Exif\0\0II*\0", b"Exif\0\0II*\1").replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\1*")
    assert broken != content
    assert clues(broken) == ("unreadable",)


@given(st.binary(max_size=200), st.integers(20, 400))
def test_damage_is_never_more_than_a_clue(garbage, at):
    content = encode(PICTURE, "JPEG", exif=EVERYTHING)
    found = clues(content[:at] + garbage + content[at + len(garbage) :])
    assert set(found) <= {"device", "person", "place", "text", "time", "unreadable"}


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(decode(content))


@pytest.mark.parametrize(
    "content",
    [
        encode(
            PICTURE, "JPEG", exif=EVERYTHING, comment="Jane", xmp=xmp("<photoshop:City>P</photoshop:City>")
        ),
        encode(PICTURE, "JPEG", exif=EVERYTHING, progressive=True),
        encode(PICTURE, "JPEG", exif=EVERYTHING, restart_marker_blocks=1),
        encode(PICTURE.convert("CMYK"), "JPEG", exif=EVERYTHING),
        encode(PICTURE.convert("L"), "JPEG", exif=EVERYTHING),
        with_iptc(90, b"Paris"),
        encode(PICTURE, exif=EVERYTHING),
        with_text("Author", "Jane", at_the_end=True),
        encode(PICTURE.convert("P"), transparency=3, exif=EVERYTHING),
    ],
)
def test_clean_jpegs_and_pngs_keep_format_and_pixels(content):
    suffix, cleaned = clean(content)
    assert suffix == ""
    assert cleaned[:3] == content[:3]
    assert clues(cleaned) == ()
    assert len(cleaned) < len(content)
    assert b"Jane" not in cleaned
    np.testing.assert_array_equal(pixels(cleaned), pixels(content))


@pytest.mark.parametrize("format", ["WEBP", "TIFF", "GIF", "BMP"])
def test_other_formats_become_pngs_with_the_same_pixels(format):
    content = encode(PICTURE, format, **({} if format in ("GIF", "BMP") else {"exif": EVERYTHING}))
    suffix, cleaned = clean(content)
    assert (suffix, Image.open(io.BytesIO(cleaned)).format, clues(cleaned)) == (".png", "PNG", ())
    np.testing.assert_array_equal(pixels(cleaned), pixels(content))


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_clean_copy_stays_upright(format, orientation):
    content = with_orientation(PICTURE, orientation, format)
    suffix, cleaned = clean(content)
    assert suffix == ""
    np.testing.assert_array_equal(pixels(cleaned), pixels(content))


def test_a_second_picture_behind_the_first_is_cut_off():
    first, second = encode(PICTURE, "JPEG"), encode(PICTURE.rotate(90), "JPEG", comment="hidden")
    assert clean(first + second) == ("", clean(first)[1])


def test_the_colour_profile_stays():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for format in ("JPEG", "PNG"):
        _, cleaned = clean(encode(PICTURE, format, icc_profile=profile, exif=EVERYTHING))
        assert Image.open(io.BytesIO(cleaned)).info["icc_profile"] == profile


def test_a_jpeg_that_breaks_off_in_its_metadata_becomes_a_png():
    odd = encode(PICTURE, "JPEG", exif=EVERYTHING)[:-2] + b"\xff\xe1\0"
    suffix, cleaned = clean(odd)
    assert (suffix, clues(cleaned)) == (".png", ())
    np.testing.assert_array_equal(pixels(cleaned), pixels(odd))


def test_what_is_no_picture_cannot_be_cleaned():
    with pytest.raises(UnreadableImage, match="not an image"):
        clean(b"plain text")
