"""Finding images in folders: what is taken, what is left out, and in which order."""

import os
import unicodedata
from types import SimpleNamespace

import pytest

from pictures import write_class_folders
from tellapart.data import scan as module
from tellapart.data.scan import images_below, scan_folder
from tellapart.errors import EmptyDataset


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_folder_per_class(tmp_path):
    for name in ("dog/b.jpg", "cat/a.PNG", "cat/deep/er/c.webp"):
        touch(tmp_path / name)
    scan = scan_folder(tmp_path)
    assert [(s.id, s.label, s.split) for s in scan.samples] == [
        ("cat/a.PNG", "cat", None),
        ("cat/deep/er/c.webp", "cat", None),
        ("dog/b.jpg", "dog", None),
    ]
    assert scan.skipped == ()


def test_split_folders_give_the_split(tmp_path):
    for name in ("train/cat/a.jpg", "Valid/cat/b.jpg", "test/dog/c.jpg"):
        touch(tmp_path / name)
    assert {s.id: s.split for s in scan_folder(tmp_path).samples} == {
        "Valid/cat/b.jpg": "val",
        "test/dog/c.jpg": "test",
        "train/cat/a.jpg": "train",
    }


def test_a_class_may_be_called_test(tmp_path):
    for name in ("test/a.jpg", "control/b.jpg"):
        touch(tmp_path / name)
    assert {s.label for s in scan_folder(tmp_path).samples} == {"test", "control"}


def test_hidden_files_are_ignored_and_strays_are_listed(tmp_path):
    for name in (
        "a/.DS_Store",
        "a/._x.jpg",
        "a/Thumbs.db",
        "a/ok.jpg",
        "a/notes.txt",
        "loose.jpg",
        "meta.csv",
    ):
        touch(tmp_path / name)
    (tmp_path / "empty").mkdir()
    scan = scan_folder(tmp_path)
    assert [s.id for s in scan.samples] == ["a/ok.jpg"]
    assert {s.path: s.reason for s in scan.skipped} == {
        "a/notes.txt": "not an image: the name ends in .txt",
        "loose.jpg": "not in a class folder",
        "empty/": "empty folder",
    }


def test_links_are_followed_and_loops_are_cut(tmp_path):
    touch(tmp_path / "a" / "x.jpg")
    try:
        (tmp_path / "a" / "loop").symlink_to(tmp_path / "a", target_is_directory=True)
        (tmp_path / "a" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    except OSError:
        pytest.skip("this system does not let us make symbolic links")
    scan = scan_folder(tmp_path)
    assert [s.id for s in scan.samples] == ["a/x.jpg"]
    assert [(s.path, s.reason) for s in scan.skipped] == [("a/gone.jpg", "broken link: no such file")]


def test_links_that_lead_nowhere_are_listed_wherever_they_lie(tmp_path):
    write_class_folders(tmp_path / "train", {"cat": 2, "dog": 1})
    try:
        for place in ("photo.jpg", "bird", "train/fish", "train/cat/more"):
            (tmp_path / place).symlink_to(tmp_path / "unmounted" / place)
    except OSError:
        pytest.skip("this system does not let us make symbolic links")
    scan = scan_folder(tmp_path)
    assert len(scan.samples) == 3
    assert {s.path for s in scan.skipped if s.unreadable} == {
        "photo.jpg",
        "bird",
        "train/fish",
        "train/cat/more",
    }
    assert {s.reason for s in scan.skipped} == {"broken link: no such file"}


def test_a_folder_that_may_not_be_listed_is_no_empty_one(tmp_path, monkeypatch):
    def guarded(folder):
        if folder.name == "dog":
            raise PermissionError(13, "Permission denied")
        return os.scandir(folder)

    write_class_folders(tmp_path, {"cat": 2, "dog": 1})
    monkeypatch.setattr(module, "os", SimpleNamespace(**{**vars(os), "scandir": guarded}))
    (left_out,) = scan_folder(tmp_path).skipped
    assert (left_out.path, left_out.reason, left_out.unreadable) == ("dog/", "permission denied", True)


def test_what_is_left_out_on_purpose_is_not_unreadable(tmp_path):
    write_class_folders(tmp_path, {"cat": 2, "dog": 1})
    (tmp_path / "cat" / "notes.txt").write_text("not a picture")
    (tmp_path / "stray.png").touch()
    assert [s.unreadable for s in scan_folder(tmp_path).skipped] == [False, False]


def test_a_link_to_the_root_does_not_relabel_other_classes(tmp_path):
    touch(tmp_path / "cat" / "x.jpg")
    touch(tmp_path / "dog" / "y.jpg")
    try:
        (tmp_path / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "dog" / "self.jpg").symlink_to(tmp_path / "dog" / "self.jpg")
    except OSError:
        pytest.skip("this system does not let us make symbolic links")
    scan = scan_folder(tmp_path)
    assert [(s.id, s.label) for s in scan.samples] == [("cat/x.jpg", "cat"), ("dog/y.jpg", "dog")]
    assert [s.path for s in scan.skipped] == ["dog/self.jpg"]


def test_order_does_not_depend_on_unicode_form(tmp_path):
    names = ["é.jpg", "z.jpg", "e.jpg"]
    for name in names:
        touch(tmp_path / "composed" / "a" / unicodedata.normalize("NFC", name))
        touch(tmp_path / "decomposed" / "a" / unicodedata.normalize("NFD", name))
    ids = [[s.id for s in scan_folder(tmp_path / form).samples] for form in ("composed", "decomposed")]
    assert ids[0] == ids[1] == ["a/e.jpg", "a/z.jpg", "a/é.jpg"]


def test_two_names_that_look_the_same_stay_two(tmp_path):
    for form in ("NFC", "NFD"):
        touch(tmp_path / "a" / unicodedata.normalize(form, "é.jpg"))
    if len(list((tmp_path / "a").iterdir())) < 2:
        pytest.skip("this file system makes the two names one")
    assert len({s.id for s in scan_folder(tmp_path).samples}) == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "does not exist"),
        ([], "holds no folders"),
        (["a.jpg"], "1 images but no class folders"),
        (["a/x.txt"], "no images in the 1 folders"),
    ],
)
def test_nothing_to_find_is_one_clear_error(tmp_path, files, message):
    root = tmp_path / "data"
    if files is not None:
        root.mkdir()
        for name in files:
            touch(root / name)
    with pytest.raises(EmptyDataset, match=message):
        scan_folder(root)


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(EmptyDataset, match="is not a folder"):
        scan_folder(touch(tmp_path / "x.jpg"))


def test_images_below_lists_a_folder_for_prediction(tmp_path):
    write_class_folders(tmp_path, {"b": 2, "a": 1})
    touch(tmp_path / "notes.txt")
    found = [path.relative_to(tmp_path).as_posix() for path in images_below(tmp_path)]
    assert len(found) == 3
    assert found == sorted(found)
