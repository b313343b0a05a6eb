"""The Dataset: counts, subsets, the ledger, and splits that cannot leak."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.errors import ConfigError, DataError, TooFewImages


@pytest.fixture
def folder(tmp_path):
    return write_class_folders(tmp_path / "data", {"cat": 8, "dog": 12})


def test_counts_targets_and_names(folder):
    dataset = Dataset.from_folder(folder)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.counts == {"cat": 8, "dog": 12}
    assert dataset.targets.tolist() == [0] * 8 + [1] * 12


def test_a_subset_keeps_the_class_names_and_the_order(folder):
    part = Dataset.from_folder(folder).subset([19, 0])
    assert [s.label for s in part.samples] == ["cat", "dog"]
    assert part.class_names == ("cat", "dog")


def test_bad_files_move_to_the_ledger_when_verified(folder, fresh_cache):
    (folder / "cat" / "empty.jpg").touch()
    (folder / "dog" / "text.png").write_text("no picture")
    dataset = Dataset.from_folder(folder).verified()
    assert len(dataset) == 20
    assert {entry.path: entry.reason.split(" (")[0] for entry in dataset.ledger} == {
        "cat/empty.jpg": "empty file",
        "dog/text.png": "not an image, or damaged in its header",
    }
    assert Dataset.from_folder(folder).verified() == dataset  # now from the cache


def test_the_fingerprint_follows_content_and_label_but_not_the_place(folder, tmp_path):
    first = Dataset.from_folder(folder)
    moved = Dataset.from_folder(shutil.copytree(folder, tmp_path / "elsewhere"))
    assert first.fingerprint == moved.fingerprint
    (folder / "cat" / "000.png").write_bytes(b"other")
    assert Dataset.from_folder(folder).fingerprint != moved.fingerprint


def test_split_is_stratified_marked_and_disjoint(folder):
    train, test = Dataset.from_folder(folder).split(test_size=0.25, seed=1)
    assert (train.counts, test.counts) == ({"cat": 6, "dog": 9}, {"cat": 2, "dog": 3})
    assert not {s.id for s in train.samples} & {s.id for s in test.samples}
    assert {s.split for s in train.samples} == {"train"}


def test_identical_files_never_straddle_a_split(folder):
    original = sorted((folder / "cat").iterdir())[0]
    for number in range(4):
        shutil.copy(original, folder / "cat" / f"copy{number}.png")
    dataset = Dataset.from_folder(folder).with_hashes()
    digest = next(s.sha256 for s in dataset.samples if s.id.endswith("copy0.png"))
    for seed in range(10):
        train, test = dataset.split(test_size=0.3, seed=seed)
        sides = [digest in {s.sha256 for s in part.samples} for part in (train, test)]
        assert sorted(sides) == [False, True]
    assert dataset.n_duplicates() == 4


def test_groups_never_straddle_a_split(folder):
    dataset = Dataset.from_folder(folder)
    rows = [
        {"path": s.id, "label": s.label, "lesion": f"{s.label}{i // 2}"}
        for i, s in enumerate(dataset.samples)
    ]
    dataset = Dataset.from_dataframe(pd.DataFrame(rows), folder)
    train, test = dataset.split(test_size=0.3, group_by="lesion", seed=2)
    assert not {s.group for s in train.samples} & {s.group for s in test.samples}
    assert set(np.unique(test.targets)) == {0, 1}


def test_identical_files_with_different_labels_are_found(folder):
    original = sorted((folder / "cat").iterdir())[0]
    shutil.copy(original, folder / "dog" / "same.png")
    conflicts = Dataset.from_folder(folder).label_conflicts()
    assert conflicts == [(f"cat/{original.name}", "dog/same.png")]


def test_grouping_by_a_column_that_is_not_there(folder):
    with pytest.raises(DataError, match="no metadata column 'patient'"):
        Dataset.from_folder(folder).grouped_by("patient")


def test_classes_are_merged_by_name(tmp_path):
    folder = write_class_folders(tmp_path, {"mel": 2, "bcc": 3, "nv": 4})
    merged = Dataset.from_folder(folder).merged({"malignant": ["mel", "bcc"], "benign": ["nv"]})
    assert merged.counts == {"benign": 4, "malignant": 5}
    with pytest.raises(DataError, match="'xx' is not a class; classes are bcc, mel, nv"):
        Dataset.from_folder(folder).merged({"a": ["xx"]})


@pytest.mark.parametrize(
    ("counts", "message"),
    [({"cat": 9}, "two classes.*found: cat"), ({"cat": 9, "dog": 2}, "'dog' has 2 usable")],
)
def test_too_few_images(tmp_path, counts, message):
    dataset = Dataset.from_folder(write_class_folders(tmp_path, counts))
    with pytest.raises(TooFewImages, match=message):
        dataset.check_trainable(3)


def test_a_class_too_small_to_split_is_named(tmp_path):
    dataset = Dataset.from_folder(write_class_folders(tmp_path, {"cat": 9, "dog": 1}))
    with pytest.raises(TooFewImages, match="class 'dog' has 1 independent"):
        dataset.split(0.5)


def test_a_thumbnail_is_a_small_jpeg(folder):
    dataset = Dataset.from_folder(folder)
    assert dataset.thumbnail(dataset.samples[0].id).startswith(b"\xff\xd8")
    assert dataset.thumbnail("nobody.png") is None


def test_a_sample_without_a_value_keeps_the_group_that_it_has(folder):
    rows = [
        {"path": "cat/000.png", "label": "cat", "group": "g1", "patient": "p1"},
        {"path": "cat/001.png", "label": "cat", "group": "g2", "patient": ""},
        {"path": "dog/000.png", "label": "dog", "group": "", "patient": ""},
    ]
    dataset = Dataset.from_dataframe(pd.DataFrame(rows), folder).grouped_by("patient")
    assert [sample.group for sample in dataset.samples] == ["p1", "g2", None]
    assert dataset.groups == ("p1", "g2", "=dog/000.png")
    assert dataset.grouped_by("group") is dataset


def test_grouping_by_groups_that_are_not_there(folder):
    with pytest.raises(DataError, match="no metadata column 'group'"):
        Dataset.from_folder(folder).grouped_by("group")


@pytest.mark.parametrize("test_size", [0, 1, 1.5, -0.1, float("nan")])
def test_a_part_is_more_than_nothing_and_less_than_all(folder, test_size):
    with pytest.raises(ConfigError, match=r"test_size is .* a part between 0 and 1"):
        Dataset.from_folder(folder).split(test_size)


def test_pixels_come_in_order_and_a_file_that_is_gone_is_named(folder):
    dataset = Dataset.from_folder(folder)
    pixels = dataset.pixels(Resize(32))
    assert (pixels.shape, pixels.dtype) == ((20, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(dataset.subset([7]).pixels(Resize(32))[0], pixels[7])
    (folder / "dog" / "003.png").unlink()
    with pytest.raises(DataError, match=r"003\.png can no longer be read: no such file"):
        dataset.pixels(Resize(32))


def test_joined_classes_stay_known_where_a_part_has_none_of_them(tmp_path):
    folder = write_class_folders(tmp_path, {"mel": 2, "bcc": 2, "nv": 2})
    part = Dataset.from_folder(folder).subset([4, 5]).merged({"malignant": ["mel", "bcc"]})
    assert part.class_names == ("malignant", "nv")


# ---- near-duplicates ------------------------------------------------------------------------------------


@pytest.fixture
def with_copies(folder):
    """The folder with three cats copied: mirrored, turned and as a JPEG."""
    for number, change in enumerate((ImageOps.mirror, lambda image: image.rotate(90, expand=True), None)):
        image = Image.open(folder / "cat" / f"{number:03d}.png")
        if change is None:
            image.save(folder / "cat" / f"copy{number}.jpg", quality=90)
        else:
            change(image).save(folder / "cat" / f"copy{number}.png")
    return folder


COPIED = {
    ("cat/000.png", "cat/copy0.png"),
    ("cat/001.png", "cat/copy1.png"),
    ("cat/002.png", "cat/copy2.jpg"),
}


def test_near_duplicates_are_found_and_stay_known_in_subsets(with_copies):
    dataset = Dataset.from_folder(with_copies)
    assert dataset.near is None
    found = dataset.with_near_duplicates()
    assert {pair[:2] for pair in found.near} == COPIED
    assert found.with_near_duplicates() is found
    ties = dict(zip([s.id for s in found.samples], found.tied(), strict=True))
    assert all(ties[first] == ties[second] for first, second in COPIED)
    assert len(set(ties.values())) == 20
    assert len(set(found.subset(range(11)).tied())) == 8
    apart = dataset.near_duplicates()
    assert [len(cluster) for cluster in apart.clusters] == [2, 2, 2]
    assert len(set(dataset.tied())) == 23
    assert len(set(dataset.tied(near=apart))) == 20


def test_near_duplicates_never_straddle_a_split(with_copies):
    dataset = Dataset.from_folder(with_copies).with_near_duplicates()
    for seed in range(10):
        for pair in COPIED:
            sides = [set(pair) & {s.id for s in part.samples} for part in dataset.split(0.3, seed=seed)]
            assert sorted(map(len, sides)) == [0, 2]


def test_a_split_can_do_without_looking_for_near_duplicates(with_copies):
    train, _ = Dataset.from_folder(with_copies).split(0.3, near_duplicates=False)
    assert train.near is None
    train, _ = Dataset.from_folder(with_copies).split(0.3)
    assert {pair[:2] for pair in train.near} == COPIED


def test_what_is_compared_is_computed_once_per_content(with_copies, fresh_cache, monkeypatch):
    Dataset.from_folder(with_copies).verified()
    monkeypatch.setattr("tellapart.data.survey.decode", None)
    assert {pair[:2] for pair in Dataset.from_folder(with_copies).with_near_duplicates().near} == COPIED


def test_identical_files_are_no_near_duplicates_but_tied_to_them(with_copies):
    shutil.copy(with_copies / "cat" / "000.png", with_copies / "cat" / "same.png")
    dataset = Dataset.from_folder(with_copies).with_near_duplicates()
    assert {pair[:2] for pair in dataset.near} == COPIED
    ties = {s.id: tie for s, tie in zip(dataset.samples, dataset.tied(), strict=True)}
    assert ties["cat/same.png"] == ties["cat/000.png"] == ties["cat/copy0.png"]


def test_files_that_cannot_be_read_are_like_nothing(folder):
    for name in ("one.png", "two.png"):
        (folder / "cat" / name).write_bytes(b"\x89PNG" + name.encode())
    assert Dataset.from_folder(folder).with_near_duplicates().near == ()


def test_a_class_of_copies_of_one_picture_is_told_what_to_do(tmp_path):
    folder = write_class_folders(tmp_path, {"cat": 1, "dog": 5})
    image = Image.open(folder / "cat" / "000.png")
    for degrees in (90, 180, 270):
        image.rotate(degrees, expand=True).save(folder / "cat" / f"{degrees}.png")
    with pytest.raises(TooFewImages, match=r"'cat' has 1 independent.*part near-duplicates with --no-near"):
        Dataset.from_folder(folder).split(0.4)
