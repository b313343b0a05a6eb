"""What metadata give away, whatever format and place they hide in, and files without them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import PngImagePlugin

from pictures import encode
from tellapart.audit.metadata import clues
from telling import EVERYTHING, GPS, IN_PARIS, PICTURE, TAG, exif, with_iptc, with_text, xmp


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
