"""What a dataset's files give away, and clean copies that train to the same model."""

import numpy as np
import pytest
from PIL import ExifTags, Image

from pictures import class_picture, encode, write_class_folders
from tellapart.audit.looks import Look, look
from tellapart.audit.privacy import findings, strip
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize, decode
from tellapart.errors import ConfigError

TAG, IFD = ExifTags.Base, ExifTags.IFD


def tell(path, **tags: str) -> None:
    """Give a picture EXIF tags by their names, and a position."""
    exif = Image.Exif()
    exif[TAG.Make] = "Canon"
    exif.update({TAG[name]: value for name, value in tags.items()})
    exif.get_ifd(IFD.GPSInfo).update({ExifTags.GPS.GPSLatitude: (48.0, 51.0, 24.0)})
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif)


@pytest.fixture
def folder(tmp_path):
    root = write_class_folders(tmp_path / "data", {"cat": 4, "dog": 3})
    tell(root / "cat" / "001.png")
    tell(root / "dog" / "002.png", Artist="Jane Doe", ImageDescription="Jane's arm")
    (root / "dog" / "odd.webp").write_bytes(encode(class_picture(np.random.default_rng(0), 1), "WEBP"))
    return root


def looks_of(dataset: Dataset) -> list[Look]:
    contents = [sample.path.read_bytes() for sample in dataset.samples]
    return [look(content, decode(content)) for content in contents]


def test_each_kind_of_clue_is_one_finding(folder):
    dataset = Dataset.from_folder(folder)
    found = findings(dataset, looks_of(dataset))
    assert [(finding.kind, finding.severity, finding.sample_ids) for finding in found] == [
        ("place in metadata", "warning", ("cat/001.png", "dog/002.png")),
        ("person in metadata", "warning", ("dog/002.png",)),
        ("text in metadata", "note", ("dog/002.png",)),
    ]
    assert found[0].message == (
        "metadata that tell where a picture was taken, in 2 files: before sharing, write clean copies with "
        "`tellapart check DATA --strip DIR`"
    )
    assert "name a person or owner, in 1 file: " in found[1].message


def test_files_without_clues_give_no_findings(tmp_path):
    dataset = Dataset.from_folder(write_class_folders(tmp_path, {"cat": 2, "dog": 2}))
    assert findings(dataset, looks_of(dataset)) == []


def test_clean_copies_have_the_same_pixels_and_no_clues(folder, tmp_path):
    dataset = Dataset.from_folder(folder)
    clean = strip(dataset, tmp_path / "clean")
    assert [s.id for s in clean.samples] == [
        s.id + (".png" if s.id.endswith("webp") else "") for s in dataset.samples
    ]
    assert findings(clean, looks_of(clean)) == []
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
