"""Figures of one file: by hand where a hand can, and stable under size and cache."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from hostile import with_orientation
from pictures import class_picture, encode, solid
from tellapart.audit.looks import EDGE_PX, Look, look
from tellapart.data.images import decode
from tellapart.errors import CacheError


def scene(size=(300, 200), seed=0) -> Image.Image:
    """Sharp coloured boxes on noise: something to see, everywhere."""
    rng = np.random.default_rng(seed)
    width, height = size
    pixels = rng.normal(120, 12, (height, width, 3))
    for _ in range(60):
        x, y = rng.integers(0, width - 10), rng.integers(0, height - 10)
        pixels[y : y + rng.integers(8, 40), x : x + rng.integers(8, 40)] = rng.integers(0, 256, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def look_at(image: Image.Image, format: str = "PNG", **options) -> Look:
    content = encode(image, format, **options)
    return look(content, decode(content))


def test_figures_of_half_black_half_white():
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, 100:] = 255
    seen = look_at(Image.fromarray(pixels))
    assert (seen.width, seen.height, seen.format, seen.mode) == (200, 100, "PNG", "RGB")
    assert (seen.brightness, seen.contrast, seen.entropy) == pytest.approx((0.5, 0.5, 1.0))
    assert (seen.shadows, seen.highlights) == (0, 1)
    assert seen.colour == pytest.approx((0.5, 0.5, 0.5), abs=0.01)
    assert (seen.colourfulness, seen.quantisation, seen.clues) == (0, 0, ())


def test_figures_of_one_plain_colour():
    seen = look_at(solid((255, 0, 0)))
    assert seen.colour == (1, 0, 0)
    assert (seen.contrast, seen.entropy, seen.blur) == (pytest.approx(0, abs=1e-9), 0, 1)
    assert seen.border == (0, 0, 0, 0)
    # Red minus green is 1, yellow minus blue a half, everywhere.
    assert seen.colourfulness == pytest.approx(0.3 * np.hypot(1, 0.5))


def test_what_the_file_says_of_itself():
    image = scene()
    fine, coarse = (look_at(image, "JPEG", quality=quality) for quality in (95, 30))
    assert (fine.format, fine.mode) == ("JPEG", "RGB")
    assert fine.n_bytes == len(encode(image, "JPEG", quality=95)) > coarse.n_bytes
    assert 1 <= fine.quantisation < coarse.quantisation <= 255
    assert look_at(image.convert("L"), "JPEG").mode == "L"


def test_a_phones_jpeg_with_a_second_picture_is_a_jpeg():
    phone = encode(scene(), "MPO", save_all=True, append_images=[scene(seed=1)])
    assert look(phone, decode(phone)).format == "JPEG"


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_width_and_height_are_those_of_the_upright_picture(orientation):
    content = with_orientation(scene((90, 60)), orientation)
    seen = look(content, decode(content))
    assert (seen.width, seen.height) == (90, 60)


def test_size_is_that_of_the_file_even_if_it_was_decoded_smaller():
    content = encode(scene().resize((2400, 2000)), "JPEG")
    small = decode(content, target_px=240)
    assert small.size == (1200, 1000)
    seen, full = look(content, small), look(content, decode(content))
    assert (seen.width, seen.height) == (2400, 2000)
    assert seen.brightness == pytest.approx(full.brightness, abs=0.01)
    assert seen.blur == pytest.approx(full.blur, abs=0.05)


def test_blur_grows_with_blurring_at_any_size():
    for scale in (1, 4):
        sharp = scene((256, 192)).resize((256 * scale, 192 * scale), Image.Resampling.NEAREST)
        blurs = [look_at(sharp.filter(ImageFilter.GaussianBlur(r * scale))).blur for r in (0, 1, 2, 4)]
        assert blurs == sorted(blurs)
        assert blurs[0] < 0.35
        assert blurs[2] > 0.6


def test_blur_in_one_direction_counts():
    pixels = np.asarray(scene((256, 192))).astype(float)
    moved = sum(np.roll(pixels, shift, axis=1) for shift in range(9)) / 9
    assert look_at(Image.fromarray(moved.astype(np.uint8))).blur > 0.55


@pytest.mark.parametrize("size", [(9, 300), (300, 9), (5, 5), (1, 1)])
def test_pictures_too_small_to_say_have_figures_all_the_same(size):
    seen = look_at(solid((10, 20, 30), size))
    assert np.isfinite([seen.blur, seen.contrast, seen.entropy, *seen.border]).all()


@pytest.mark.parametrize("colour", ["black", "white", (90, 60, 30)])
@pytest.mark.parametrize("format", ["PNG", "JPEG"])
@pytest.mark.parametrize("sides", [(30, 0, 30, 0), (0, 20, 0, 20), (15, 15, 15, 15), (0, 0, 0, 40)])
def test_a_border_is_measured_on_each_side(sides, format, colour):
    framed = ImageOps.expand(scene((240, 160)), sides, colour)
    width, height = framed.size
    expected = [edge / length for edge, length in zip(sides, (width, height) * 2, strict=True)]
    assert look_at(framed, format).border == pytest.approx(expected, abs=0.015)


def test_a_plain_background_is_no_border():
    ellipse = Image.new("RGB", (240, 180), "white")
    mask = Image.new("L", (240, 180))
    mask.paste(255, (60, 40, 180, 140))
    y, x = np.mgrid[:180, :240]
    disc = Image.fromarray((((x - 120) / 70) ** 2 + ((y - 90) / 60) ** 2 < 1).astype(np.uint8) * 255)
    ellipse.paste(scene((240, 180)), mask=disc)
    assert look_at(ellipse).border == (0, 0, 0, 0)
    # Nor is the round view of a dermatoscope.
    dark = Image.new("RGB", (240, 180))
    dark.paste(scene((240, 180)), mask=disc)
    assert look_at(dark, "JPEG").border == (0, 0, 0, 0)


def test_a_look_comes_back_from_a_cache_as_it_was():
    seen = look_at(scene(), "JPEG", comment="Jane's arm")
    assert seen.clues == ("text",)
    assert Look.from_bytes(seen.to_bytes()) == seen


@pytest.mark.parametrize("damaged", [b"", b"\xff", b"[]", b'{"width": 3}', b'"text"'])
def test_a_damaged_cache_is_named(damaged):
    with pytest.raises(CacheError, match=r"delete looks-\d+\.sqlite"):
        Look.from_bytes(damaged)


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from(["PNG", "JPEG"]), st.integers(0, 99))
@settings(max_examples=30)
def test_figures_stay_in_their_ranges(width, height, format, seed):
    seen = look_at(class_picture(np.random.default_rng(seed), seed % 3, (width, height)), format)
    shares = (seen.brightness, seen.shadows, seen.highlights, seen.blur, *seen.colour, *seen.border)
    assert all(0 <= share <= 1 for share in shares)
    assert 0 <= seen.contrast <= 0.5
    assert 0 <= seen.entropy <= 8
    assert seen.shadows <= seen.highlights


def test_the_same_picture_at_twice_the_size_gives_the_same_figures():
    small = scene((EDGE_PX, 192))
    large = small.resize((2 * EDGE_PX, 384), Image.Resampling.NEAREST)
    one, two = look_at(small), look_at(large)
    assert (one.brightness, one.entropy, one.blur) == pytest.approx((two.brightness, two.entropy, two.blur))
