"""Copies without metadata have the same pixels, and nothing else of the file."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from hostile import STORED_AS, with_orientation
from pictures import class_picture, encode, write_class_folders
from tellapart.audit.clean_copies import clean, strip
from tellapart.audit.metadata import clues
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize, decode
from tellapart.errors import ConfigError, UnreadableImage
from telling import EVERYTHING, PICTURE, tell, with_iptc, with_text, xmp


@pytest.fixture
def folder(tmp_path):
    root = write_class_folders(tmp_path / "data", {"cat": 4, "dog": 3})
    tell(root / "cat" / "001.png")
    tell(root / "dog" / "002.png", Artist="Jane Doe", ImageDescription="Jane's arm")
    (root / "dog" / "odd.webp").write_bytes(encode(class_picture(np.random.default_rng(0), 1), "WEBP"))
    return root


def test_clean_copies_have_the_same_pixels_and_no_clues(folder, tmp_path):
    dataset = Dataset.from_folder(folder)
    clean = strip(dataset, tmp_path / "clean")
    assert [s.id for s in clean.samples] == [
        s.id + (".png" if s.id.endswith("webp") else "") for s in dataset.samples
    ]
    assert all(clues(sample.path.read_bytes()) == () for sample in clean.samples)
    np.testing.assert_array_equal(clean.pixels(Resize(48)), dataset.pixels(Resize(48)))


def test_originals_are_not_touched(folder, tmp_path):
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    strip(Dataset.from_folder(folder), tmp_path / "clean")
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_the_manifest_beside_them_is_the_same_dataset(folder, tmp_path):
    rows = ["path,label,split,group,site", "cat/000.png,cat,train,p1,arm", "dog/000.png,wolf,test,p2,"]
    (folder / "m.csv").write_text("\n".join(rows))
    clean = strip(Dataset.load(folder / "m.csv"), tmp_path / "clean")
    again = Dataset.load(tmp_path / "clean" / "manifest.csv")
    assert again.samples == clean.samples
    assert [(s.label, s.split, s.group, s.metadata["site"]) for s in again.samples] == [
        ("cat", "train", "p1", "arm"),
        ("wolf", "test", "p2", ""),
    ]


def test_copies_of_files_above_the_manifest_stay_in_the_folder(folder, tmp_path):
    (folder / "_" / "dog").mkdir(parents=True)
    (folder / "_" / "dog" / "000.png").write_bytes((folder / "cat" / "000.png").read_bytes())
    rows = ["path,label", "../dog/000.png,dog", "_/dog/000.png,cat", f"{folder}/cat/001.png,cat"]
    (folder / "_" / "m.csv").write_text("\n".join(rows).replace("_/dog", "dog"))
    clean = strip(Dataset.load(folder / "_" / "m.csv"), tmp_path / "clean")
    assert len({sample.path for sample in clean.samples}) == 3
    for sample in clean.samples:
        assert sample.path.is_relative_to(tmp_path / "clean")
        assert sample.path.is_file()


def test_names_that_become_one_are_kept_apart(folder, tmp_path):
    (folder / "dog" / "odd.webp.png").write_bytes((folder / "dog" / "000.png").read_bytes())
    clean = strip(Dataset.from_folder(folder), tmp_path / "clean")
    assert [s.id for s in clean.samples if "odd" in s.id] == ["dog/odd.webp.png", "dog/odd.webp_.png"]
    assert len(Dataset.from_folder(tmp_path / "clean")) == len(clean) == 9


def test_unreadable_files_are_left_out_and_said(folder, tmp_path):
    (folder / "cat" / "bad.png").write_text("no picture")
    dataset = Dataset.from_folder(folder)
    (folder / "cat" / "000.png").unlink()
    clean = strip(dataset, tmp_path / "clean")
    reasons = {entry.path: entry.reason.split(",")[0] for entry in clean.ledger}
    assert reasons == {"cat/000.png": "no such file or directory", "cat/bad.png": "not an image"}
    assert len(clean) == len(dataset) - 2


def test_copies_go_into_a_new_folder_only(folder, tmp_path):
    with pytest.raises(ConfigError, match="exists and is not empty; clean copies go into a new folder"):
        strip(Dataset.from_folder(folder), folder)
    (tmp_path / "empty").mkdir()
    assert len(strip(Dataset.from_folder(folder), tmp_path / "empty")) == 8


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
