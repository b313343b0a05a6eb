"""Image files whose metadata tell something of a person or place."""

import struct

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from hostile import png_chunk
from pictures import class_picture, encode

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


def tell(path, **tags: str) -> None:
    """Give a picture EXIF tags by their names, and a position."""
    exif = Image.Exif()
    exif[TAG.Make] = "Canon"
    exif.update({TAG[name]: value for name, value in tags.items()})
    exif.get_ifd(IFD.GPSInfo).update({ExifTags.GPS.GPSLatitude: (48.0, 51.0, 24.0)})
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)
