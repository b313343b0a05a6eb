"""What arrived as a picture: taken whole, refused with a reason, or made smaller."""

import numpy as np
import pytest
from PIL import Image

from pictures import class_picture, encode, solid
from tellapart.errors import UnreadableImage
from tellapart.sources import picture as pictures
from tellapart.sources.network import Refused
from tellapart.sources.picture import look

RNG = np.random.default_rng(0)
PNG = encode(class_picture(RNG, 0))
"""48x40 pixels."""


def test_look_takes_a_whole_picture():
    picture = look(PNG, (48, 40), None)
    assert (picture.content, picture.suffix, picture.size_px) == (PNG, ".png", (48, 40))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_look_refuses_what_was_cut_short(kind):
    content = encode(class_picture(RNG, 0, (200, 150)), kind)
    with pytest.raises(UnreadableImage):
        look(content[: len(content) // 2], None, None)


def test_look_refuses_more_pixels_than_are_ever_decoded(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1000)
    with pytest.raises(Refused, match="48x40 is more than 1,000 pixels"):
        look(PNG, None, None)


def test_look_turns_a_photograph_upright_before_it_shrinks_it():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encode(solid("red", (200, 100)), "JPEG", exif=exif.tobytes())
    assert look(content, (100, 200), None).size_px == (200, 100)
    shrunk = look(content, (200, 100), 50)
    assert shrunk.size_px == (50, 100)
    with pytest.raises(Refused, match="200x100, not 300x100 as announced"):
        look(content, (300, 100), None)
