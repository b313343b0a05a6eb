"""A folder of downloaded images is one set of data, however it is named, and no half of one."""

import json
import os

import pytest

from pictures import write_class_folders
from tellapart.data.corrections import as_given
from tellapart.data.dataset import Dataset
from tellapart.data.fetched import fetched_folder
from tellapart.data.journal import Journal, journal_path
from tellapart.data.label_events import Change
from tellapart.data.manifest import FETCHED
from tellapart.errors import ManifestError
from tellapart.sources.collection import JOURNAL


@pytest.fixture
def moles(tmp_path):
    """What `tellapart fetch isic` leaves: class folders, its journal, and the manifest, written last."""
    root = write_class_folders(tmp_path / "moles", {"benign": 3, "malignant": 2})
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    (root / FETCHED).parent.mkdir()
    events = [{"event": "request", "request": {"archive": "https://api.example.org"}}]
    events += [{"event": "arrived", "path": path} for path in paths]
    (root / FETCHED).write_text("".join(json.dumps(event) + "\n" for event in events))
    write_manifest(root, paths)
    return root


def write_manifest(root, paths, age_s=0):
    rows = [f"{path},{path.split('/')[0]},patient {i // 2}" for i, path in enumerate(paths)]
    manifest = root / "manifest.csv"
    manifest.write_text("path,label,group\n" + "\n".join(rows))
    when = (root / FETCHED).stat().st_mtime - age_s
    os.utime(manifest, (when, when))


def some(root, n):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))[:n]


def test_the_name_of_the_journal_is_that_of_the_downloader():
    assert JOURNAL == FETCHED


def test_the_folder_is_read_by_its_manifest(moles):
    for data in (moles, moles / "manifest.csv"):
        assert fetched_folder(data) == moles
        assert as_given(data).groups == ("patient 0", "patient 0", "patient 1", "patient 1", "patient 2")


def test_a_decision_is_in_force_whichever_way_the_data_are_named(moles, tmp_path, monkeypatch):
    digest = Dataset.load(moles).with_hashes().samples[0].sha256
    for elsewhere in ("", str(tmp_path / "journals")):
        monkeypatch.setenv("TELLAPART_JOURNAL", elsewhere)
        assert journal_path(moles) == journal_path(moles / "manifest.csv")
        out = Change("benign/000.png", "excluded", "", "yes", sha256=digest)
        Journal(journal_path(moles)).write([out], actor="ann")
        assert len(Dataset.load(moles)) == len(Dataset.load(moles / "manifest.csv")) == 4


def test_another_manifest_beside_it_has_its_own_journal(moles):
    (moles / "mine.csv").write_text("path,label\nbenign/000.png,benign\n")
    assert journal_path(moles / "mine.csv") == moles / "mine.labels.sqlite"
    assert len(as_given(moles / "mine.csv")) == 1


@pytest.mark.parametrize("n_named", [0, 3])
def test_a_download_that_was_killed_is_refused_with_what_to_type(moles, n_named):
    """Read as plain folders, it would have no groups, and a patient could be on two sides of a split."""
    if n_named:
        write_manifest(moles, some(moles, n_named), age_s=60)
    else:
        (moles / "manifest.csv").unlink()
    with (moles / FETCHED).open("a") as journal:
        journal.write('{"event": "arr')  # the line that it was writing
    told = rf"of {5 - n_named} images nothing says yet.*`tellapart fetch isic {moles}` again"
    with pytest.raises(ManifestError, match=told):
        Dataset.load(moles)


def test_rows_taken_out_of_the_manifest_stay_out(moles):
    write_manifest(moles, some(moles, 3), age_s=-60)
    assert len(Dataset.load(moles)) == 3


def test_a_copy_with_other_times_is_whole(moles):
    write_manifest(moles, some(moles, 5), age_s=60)
    assert len(Dataset.load(moles)) == 5


def test_an_image_that_was_deleted_is_not_waited_for(moles):
    (moles / "benign" / "000.png").unlink()
    write_manifest(moles, some(moles, 4), age_s=60)
    assert len(Dataset.load(moles)) == 4
