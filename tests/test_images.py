import contextlib
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from hostile import STORED_AS, jpeg_that_claims, png, png_that_claims, with_orientation, write_hostile_folder
from pictures import class_picture, encode, solid
from tellapart.data import images
from tellapart.data.images import ACCEPTED_SUFFIXES, Resize, decode, load_pixels, thumbnail, to_rgb
from tellapart.errors import UnreadableImage

RNG = np.random.default_rng(0)
PICTURE = class_picture(RNG, 0)
JPEG = encode(PICTURE, "JPEG")
EVERY_GREY = np.arange(256).reshape(16, 16)
FILES = {kind: encode(PICTURE, kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")}


def pixels_of(source: Path | bytes) -> np.ndarray:
    return np.asarray(decode(source))


def full(mode: str, value: object) -> Image.Image:
    return Image.new(mode, (16, 16), value)


def palette_picture() -> Image.Image:
    """Every pixel is entry 3 of a palette whose entry 3 is (10, 200, 30)."""
    image = full("P", 3)
    image.putpalette([0, 0, 0, 1, 1, 1, 2, 2, 2, 10, 200, 30])
    return image


# ------------------------------------------------------------------------------------- modes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(encode(full("L", 128)), (128, 128, 128), id="grey"),
        pytest.param(encode(full("1", 1)), (255, 255, 255), id="one bit"),
        pytest.param(encode(full("RGB", (1, 2, 3))), (1, 2, 3), id="rgb"),
        pytest.param(encode(palette_picture()), (10, 200, 30), id="palette"),
        pytest.param(encode(full("RGBA", (0, 0, 0, 255))), (0, 0, 0), id="opaque"),
        pytest.param(encode(full("RGBA", (200, 0, 0, 0))), (255, 255, 255), id="transparent is white"),
        pytest.param(encode(full("RGBA", (0, 0, 0, 51))), (204, 204, 204), id="a fifth black over white"),
        pytest.param(encode(full("LA", (100, 255))), (100, 100, 100), id="grey and alpha"),
        pytest.param(
            encode(full("RGB", (9, 9, 9)), transparency=(9, 9, 9)), (255, 255, 255), id="key colour"
        ),
        pytest.param(encode(palette_picture(), transparency=3), (255, 255, 255), id="key entry"),
        pytest.param(encode(full("CMYK", (0, 255, 255, 0)), "TIFF"), (255, 0, 0), id="cmyk red"),
        pytest.param(encode(full("CMYK", (0, 0, 0, 255)), "TIFF"), (0, 0, 0), id="cmyk black"),
        pytest.param(encode(full("CMYK", (0, 0, 0, 0)), "JPEG"), (255, 255, 255), id="cmyk jpeg, white"),
        pytest.param(encode(full("CMYK", (255, 255, 0, 0)), "JPEG"), (0, 0, 255), id="cmyk jpeg, blue"),
        pytest.param(encode(full("YCbCr", (77, 128, 128)), "TIFF"), (77, 77, 77), id="ycbcr"),
        # L* = 128 / 255 * 100 = 50.2 is 119.4 in sRGB's tone curve.
        pytest.param(encode(full("LAB", (128, 128, 128)), "TIFF"), (119, 119, 119), id="lab"),
    ],
)
def test_every_mode_becomes_rgb(content: bytes, expected: tuple[int, int, int]) -> None:
    image = decode(content)
    assert image.mode == "RGB"
    assert np.asarray(image).shape == (16, 16, 3)
    np.testing.assert_array_equal(np.unique(np.asarray(image).reshape(-1, 3), axis=0), [expected])


def test_half_transparent_black_over_white_is_middle_grey() -> None:
    value = pixels_of(encode(full("RGBA", (0, 0, 0, 128))))
    assert set(np.unique(value)) <= {127, 128}


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encode(Image.fromarray((EVERY_GREY * 257).astype(np.uint16))), id="png"),
        pytest.param(encode(Image.fromarray((EVERY_GREY * 257).astype(np.uint16)), "TIFF"), id="tiff"),
        pytest.param(
            encode(Image.fromarray((EVERY_GREY * 257).astype(np.int32)), "TIFF"), id="tiff of 32 bits"
        ),
        pytest.param(encode(Image.fromarray((EVERY_GREY / 255).astype(np.float32)), "TIFF"), id="float to 1"),
        pytest.param(encode(Image.fromarray(EVERY_GREY.astype(np.float32)), "TIFF"), id="float to 255"),
    ],
)
def test_deep_greys_keep_their_tone(content: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(content), np.repeat(EVERY_GREY[..., None], 3, axis=2))


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colours_keep_their_tone(channels: int) -> None:
    colour = RNG.integers(0, 256, (8, 8, 3))
    opaque = np.full((8, 8, 1), 255)
    deep = np.concatenate([colour, opaque], axis=2)[..., :channels].astype(np.uint16) * 257
    np.testing.assert_array_equal(pixels_of(png(deep)), colour)


def test_floats_that_are_no_numbers_are_black_and_negative_ones_too() -> None:
    values = np.array([[np.nan, -3.0], [0.5, 1.0]], np.float32)
    assert pixels_of(encode(Image.fromarray(values), "TIFF"))[..., 0].tolist() == [[0, 0], [128, 255]]


def test_interlaced_png_equals_plain_png() -> None:
    pixels = np.asarray(PICTURE)
    np.testing.assert_array_equal(pixels_of(png(pixels, interlaced=True)), pixels)
    np.testing.assert_array_equal(pixels_of(png(pixels)), pixels)


def test_to_rgb_leaves_rgb_as_it_is() -> None:
    np.testing.assert_array_equal(np.asarray(to_rgb(PICTURE)), np.asarray(PICTURE))


# -------------------------------------------------------------------- orientation and frames


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_every_orientation_comes_upright(orientation: int, kind: str) -> None:
    upright = np.zeros((32, 64, 3), np.uint8)
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = (220, 30, 30), (30, 220, 30), (30, 30, 220)
    got = pixels_of(with_orientation(Image.fromarray(upright), orientation, kind))
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright)[4:12, 4:28].max() < 12
    assert np.abs(got.astype(int) - upright).mean() < (8 if kind in ("JPEG", "WEBP") else 1e-9)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_does_not_cost_the_picture(kind: str) -> None:
    damaged = encode(PICTURE, kind, exif=b"Exif\0\0no TIFF header follows")
    np.testing.assert_array_equal(pixels_of(damaged), pixels_of(encode(PICTURE, kind)))


def test_orientation_out_of_range_is_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 99
    np.testing.assert_array_equal(pixels_of(encode(PICTURE, "PNG", exif=exif)), np.asarray(PICTURE))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("MPO", {"quality": 95})],
)
def test_of_many_frames_the_first_is_taken(kind: str, options: dict[str, object]) -> None:
    frames = [solid("blue"), solid("green")]
    content = encode(solid("red"), kind, save_all=True, append_images=frames, **options)
    assert np.abs(pixels_of(content).astype(int) - (255, 0, 0)).max() <= 2


# ------------------------------------------------------------------------------- bad files


def reason_for(source: Path | bytes) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode(source)
    return str(caught.value)


def test_reasons_say_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<!DOCTYPE html>")
    assert reason_for(tmp_path / "missing.jpg") == "no such file"
    assert reason_for(tmp_path) in ("a folder, not a file", "permission denied")
    assert reason_for(tmp_path / "empty.jpg") == "empty file"
    assert reason_for(b"") == "empty file"
    header = "not an image, or damaged in its header (accepted: JPEG, PNG, WEBP, TIFF, BMP, GIF)"
    assert reason_for(tmp_path / "page.jpg") == header
    assert reason_for(b"%PDF-1.7") == header
    assert reason_for(encode(PICTURE, "ICO")) == header
    assert reason_for(JPEG[:-100]).startswith("damaged or truncated (OSError: image file is truncated")


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(png_that_claims(60_000, 60_000), id="png"),
        pytest.param(jpeg_that_claims(60_000, 60_000, JPEG), id="jpeg"),
        pytest.param(png_that_claims(13_378, 13_378), id="just above"),
    ],
)
def test_bombs_are_refused_from_the_header(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise MemoryError("a pixel was decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    assert reason_for(bomb) == "more than 178,956,970 pixels: shrink it first"


def test_limit_is_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_PIXELS", 110)
    assert decode(encode(solid(size=(11, 10)))).size == (11, 10)
    assert reason_for(encode(solid(size=(37, 3)))) == "37x3 is more than 110 pixels: shrink it first"


@given(cut=st.integers(0, len(JPEG) - 1), target_px=st.sampled_from([None, 5]))
def test_every_cut_jpeg_is_refused(cut: int, target_px: int | None) -> None:
    with pytest.raises(UnreadableImage):
        decode(JPEG[:cut], target_px)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    read_or_refuse(content)


@given(
    kind=st.sampled_from(list(FILES)),
    place=st.floats(0, 1, exclude_max=True),
    noise=st.binary(min_size=1, max_size=40),
)
def test_any_damage_is_read_or_refused(kind: str, place: float, noise: bytes) -> None:
    content = bytearray(FILES[kind])
    start = int(place * len(content))
    content[start : start + len(noise)] = noise
    read_or_refuse(bytes(content))


def read_or_refuse(content: bytes) -> None:
    with contextlib.suppress(UnreadableImage):
        assert decode(content).mode == "RGB"


def test_hostile_folder_is_read_but_for_the_listed_files(tmp_path: Path) -> None:
    refused = write_hostile_folder(tmp_path)
    seen = 0
    for path in sorted(tmp_path.glob("*/**/*")):
        name = path.relative_to(tmp_path).as_posix()
        if path.is_dir() or path.name.startswith(".") or path.suffix.lower() not in ACCEPTED_SUFFIXES:
            continue
        seen += 1
        if name not in refused:
            np.testing.assert_array_equal(pixels_of(path), pixels_of(path.read_bytes()))
        elif not path.is_symlink():
            assert refused[name] in reason_for(path), name
            assert reason_for(path) == reason_for(path.read_bytes())
    assert seen > 100


def test_reading_on_threads_leaves_the_warning_filters_alone() -> None:
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode, [encode(class_picture(RNG, 0, (300, 300)), "JPEG")] * 60))
    assert list(warnings.filters) == before


# ------------------------------------------------------------------------------------- size


@pytest.fixture
def three_squares() -> Image.Image:
    """Red, green and blue squares of 100 pixels, side by side."""
    pixels = np.zeros((100, 300, 3), np.uint8)
    for i in range(3):
        pixels[:, 100 * i : 100 * i + 100, i] = 255
    return Image.fromarray(pixels)


def test_squash_keeps_all_of_the_picture(three_squares: Image.Image) -> None:
    pixels = Resize(30, "squash")(three_squares)
    assert pixels.shape == (30, 30, 3)
    assert pixels.dtype == np.uint8
    assert [pixels[15, column].tolist() for column in (4, 15, 25)] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_crop_keeps_the_middle(three_squares: Image.Image) -> None:
    np.testing.assert_array_equal(Resize(30, "crop")(three_squares), np.full((30, 30, 3), (0, 255, 0)))


def test_crop_fraction_is_the_part_of_the_short_edge_that_stays() -> None:
    framed = solid("red", (160, 160))
    framed.paste((0, 0, 255), (40, 40, 120, 120))
    half = Resize(20, "crop", crop_fraction=0.5)(framed)
    # The filter looks two pixels beyond the crop, as if the whole picture had been shrunk first.
    np.testing.assert_array_equal(half[2:-2, 2:-2], np.full((16, 16, 3), (0, 0, 255)))
    assert (half[..., 2] > 200).all()
    assert Resize(20, "crop", crop_fraction=0.75)(framed)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("resize", [Resize(40), Resize(40, "crop", crop_fraction=1.0)])
def test_right_size_is_left_as_it_is(resize: Resize) -> None:
    picture = class_picture(RNG, 1, (40, 40))
    np.testing.assert_array_equal(resize(picture), np.asarray(picture))


def test_shrinking_averages() -> None:
    checkers = Image.fromarray((np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)).convert("RGB")
    inside = Resize(16)(checkers)[2:-2, 2:-2]
    assert np.abs(inside.astype(int) - 127.5).max() < 3


@given(
    width=st.integers(1, 200),
    height=st.integers(1, 200),
    size=st.integers(1, 64),
    fit=st.sampled_from(["squash", "crop"]),
)
def test_any_shape_becomes_the_square(width: int, height: int, size: int, fit: images.Fit) -> None:
    pixels = Resize(size, fit)(solid((12, 34, 56), (width, height)))
    np.testing.assert_array_equal(pixels, np.full((size, size, 3), (12, 34, 56)))


@pytest.mark.parametrize("turn", [None, Image.Transpose.ROTATE_90])
def test_large_jpegs_are_decoded_small_and_look_the_same(turn: Image.Transpose | None) -> None:
    large = class_picture(RNG, 0, (80, 60)).resize((1600, 1200), Image.Resampling.BICUBIC)
    content = encode(large if turn is None else large.transpose(turn), "JPEG", quality=95)
    small = decode(content, target_px=64)
    assert sorted(small.size) == [300, 400]
    full_size = Resize(64)(decode(content)).astype(float)
    assert np.abs(load_pixels(content, Resize(64)) - full_size).mean() < 1.5


def test_panorama_is_not_decoded_below_its_short_edge() -> None:
    content = encode(solid("teal", (4000, 10)), "JPEG")
    assert decode(content, target_px=32).size == (4000, 10)


@pytest.mark.parametrize("read", [lambda path: path, Path.read_bytes], ids=["path", "bytes"])
def test_load_pixels_of_a_path_and_of_its_bytes(tmp_path: Path, read: Callable[[Path], Path | bytes]) -> None:
    path = tmp_path / "köter 猫.jpg"
    path.write_bytes(JPEG)
    np.testing.assert_array_equal(load_pixels(read(path), Resize(24)), Resize(24)(decode(JPEG)))


def test_thumbnail_keeps_the_proportions() -> None:
    small = decode(thumbnail(encode(solid("navy", (400, 100))), edge_px=80))
    assert small.size == (80, 20)
    assert np.abs(np.asarray(small).astype(int) - (0, 0, 128)).max() < 4
