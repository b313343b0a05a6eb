"""Pictures as addresses that hold them."""

import base64
import io

import numpy as np
from PIL import Image

from tellapart.studio.data_urls import data_url, drawn


def opened(address, kind):
    start, _, content = address.partition(",")
    assert start == f"data:image/{kind};base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def test_pixels_come_back_as_they_were_or_nearly_so():
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[:, 3:] = (200, 20, 120)
    clear = np.dstack([pixels, np.full((4, 6), 90, dtype=np.uint8)])
    assert np.array_equal(np.asarray(opened(drawn(clear, "png"), "png")), clear)
    lossy = opened(drawn(np.full((16, 16, 3), 77, dtype=np.uint8), "jpeg"), "jpeg")
    assert (lossy.format, np.asarray(lossy).tolist()[0][0]) == ("JPEG", [77, 77, 77])


def test_what_is_encoded_already_is_held_as_it_is():
    assert data_url(b"abc", "jpeg") == "data:image/jpeg;base64,YWJj"
