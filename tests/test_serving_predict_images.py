"""Images that POST /v1/predict refuses or turns upright: bombs, torn files, films, odd modes."""

import time
import zlib

import numpy as np
import pytest
from PIL import Image

from hostile import STORED_AS, jpeg_that_claims, png_chunk, png_that_claims, with_orientation
from peaks import needs_proc, peak
from pictures import class_picture, encode, solid
from predictions import post


@pytest.mark.parametrize(
    "bomb",
    [
        png_that_claims(20_000, 20_000),  # attack 22
        png_that_claims(9_000, 9_000),  # attack 23
        jpeg_that_claims(13_000, 13_000, encode(solid(), "JPEG")),  # attack 24
        png_that_claims(5_001, 5_000),
    ],
)
@needs_proc
def test_bombs_are_refused_without_being_decoded(predict_url, bomb):
    with peak() as taken:
        for _ in range(5):
            assert post(predict_url, content=bomb).status_code == 413
    assert taken.mb < 50


@pytest.mark.parametrize("length", [20, 200, 500, -2])
def test_truncated_images_are_refused(predict_url, length):
    """Attack 25."""
    jpeg = encode(class_picture(np.random.default_rng(0), 0, (300, 200)), "JPEG")
    assert post(predict_url, content=jpeg[: length if length > 0 else len(jpeg) * 3 // 4]).status_code == 400


@pytest.mark.parametrize(
    "content",
    [
        b"<html><script>alert(1)</script></html>",
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run",
        b"%PDF-1.7\n",
        b"8BPS\0\1" + bytes(200),
        b"icns\0\0\0\x20" + bytes(200),
        b"GIF89a",
        b"RIFF\0\0\0\0WEBPVP8 ",
        bytes(1000),
    ],
)
def test_what_is_no_accepted_image_is_refused_and_not_echoed(predict_url, content):
    """Attacks 26 and 27."""
    answer = post(predict_url, content=content)
    assert answer.status_code == 400
    assert "script" not in answer.text


def test_of_a_film_the_first_picture_counts(predict_url, predict_model):
    """Attack 28: thousands of frames take no longer than one."""
    frames = [solid((n % 256, n // 256, 0), (16, 16)) for n in range(3000)]
    for format in ("GIF", "WEBP"):
        film = encode(frames[0], format, save_all=True, append_images=frames[1:])
        started = time.perf_counter()
        [result] = post(predict_url, content=film).json()["predictions"]
        assert time.perf_counter() - started < 5
        assert result["probability"] == pytest.approx(predict_model.answer(film).probability, abs=1e-6)


def test_tiff_is_an_image_here_as_it_is_in_training(predict_url, predict_model):
    """Attack 27 would have it refused; but a model that was trained on TIFF files must answer about them."""
    for compression in (None, "tiff_deflate", "jpeg", "group4"):
        picture = solid("red") if compression != "group4" else solid("red").convert("1")
        tiff = encode(picture, "TIFF", compression=compression)
        [result] = post(predict_url, content=tiff).json()["predictions"]
        assert result["probability"] == pytest.approx(predict_model.answer(tiff).probability, abs=1e-6)


def test_modes_and_shapes_are_answered_or_refused(predict_url):
    """Attack 29."""
    rng = np.random.default_rng(3)
    wide = Image.fromarray(rng.integers(0, 65535, (20, 20), dtype=np.uint16))
    images = [
        encode(solid().convert("CMYK"), "JPEG"),
        encode(wide, "PNG"),
        encode(wide, "TIFF"),
        encode(solid().convert("P"), "PNG"),
        encode(solid().convert("RGBA"), "PNG"),
        encode(solid().convert("LA"), "PNG"),
        encode(solid().convert("1"), "PNG"),
        encode(solid(size=(1, 1))),
        encode(solid(size=(65500, 1))),
        encode(solid(size=(1, 65500)), "JPEG"),
        encode(Image.new("F", (9, 9), float("nan")), "TIFF"),
    ]
    for image in images:
        answer = post(predict_url, content=image)
        assert answer.status_code == 200, answer.text
        [result] = answer.json()["predictions"]
        assert sum(result["probabilities"].values()) == pytest.approx(1)


def test_turned_photos_get_the_label_of_the_upright_one(predict_url, predict_model):
    """Attack 30: the same pixels as at training."""
    upright = class_picture(np.random.default_rng(1), 1, (300, 200))
    for orientation in STORED_AS:
        photo = with_orientation(upright, orientation, "PNG")
        [result] = post(predict_url, content=photo).json()["predictions"]
        expected = predict_model.answer(encode(upright))
        assert result["label"] == expected.label
        assert result["probability"] == pytest.approx(expected.probability, abs=1e-6)


@needs_proc
@pytest.mark.parametrize("chunk", [b"zTXt", b"iCCP"])
def test_text_and_profile_bombs_take_no_memory(predict_url, chunk):
    """Attack 31: compressed chunks of a PNG that unfold to hundreds of megabytes."""
    bomb = zlib.compress(bytes(300_000_000))
    png, after_header = encode(solid(), "PNG"), 8 + 25
    image = png[:after_header] + png_chunk(chunk, b"a\0\0" + bomb) + png[after_header:]
    with peak() as taken:
        assert post(predict_url, content=image).status_code in (200, 400)
    assert taken.mb < 50


def test_jpegs_of_very_many_scans_take_no_time(predict_url):
    """Attack 32: 32 of them are 5 MB; decoded, they would take 45 seconds."""
    jpeg = encode(solid(size=(5000, 5000)), "JPEG", progressive=True)
    last = jpeg.rindex(b"\xff\xda")
    bomb = jpeg[:last] + jpeg[last:-2] * 91 + b"\xff\xd9"
    started = time.process_time()
    results = post(predict_url, files=[("image", bomb)] * 32).json()["predictions"]
    assert time.process_time() - started < 3
    assert {result["status"] for result in results} == {400}
    assert all("scans" in result["error"] for result in results)
