"""What a journal says takes effect when a dataset is loaded; the files stay as they are."""

import csv
import shutil

import pytest

from pictures import write_class_folders
from tellapart.data.corrections import Corrections, as_given
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal, journal_path
from tellapart.data.label_events import Change, JournalError
from tellapart.data.reader import hash_file
from tellapart.errors import EmptyDataset


@pytest.fixture(autouse=True)
def no_other_journal(monkeypatch):
    monkeypatch.delenv("TELLAPART_JOURNAL", raising=False)


@pytest.fixture
def folder(tmp_path):
    return write_class_folders(tmp_path / "data", {"cat": 3, "dog": 3})


def decide(data, sample_id, field, new, *, actor="anna", why="", journal=None):
    """Write one decision as a reviewer would who sees the data as they are corrected now."""
    given = as_given(data)
    place = journal_path(data, journal)
    [sample] = [sample for sample in given.samples if sample.id == sample_id]
    old = Corrections.find(given.samples, place).value(sample, field)
    own = sample.label if field == "label" else ""
    change = Change(sample_id, field, old, new, own, hash_file(sample), why)
    return Journal(place).write([change], actor=actor)


def labels(dataset):
    return {sample.id: sample.label for sample in dataset.samples}


def test_without_a_journal_nothing_is_corrected(folder):
    dataset = Dataset.load(folder)
    assert dataset == Dataset.from_folder(folder)
    assert dataset.corrections is None


def test_a_relabel_yields_a_new_dataset_and_leaves_the_files(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    decide(folder, "cat/000.png", "label", "dog")
    dataset = Dataset.load(folder)
    assert dataset.counts == {"cat": 2, "dog": 4}
    assert labels(dataset)["cat/000.png"] == "dog"
    assert dataset.corrections.label["cat/000.png"].actor == "anna"
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before
    assert Dataset.from_folder(folder).counts == {"cat": 3, "dog": 3}
    assert dataset.fingerprint != Dataset.from_folder(folder).fingerprint


def test_the_journal_s_own_folder_holds_no_class(folder):
    decide(folder, "cat/000.png", "label", "dog")
    (folder / ".tellapart" / "preview.png").write_bytes((folder / "cat" / "000.png").read_bytes())
    dataset = Dataset.load(folder)
    assert (dataset.class_names, len(dataset), dataset.ledger) == (("cat", "dog"), 6, ())


def test_an_excluded_image_is_in_the_ledger_with_who_and_why(folder):
    [event] = decide(folder, "dog/001.png", "excluded", "yes", why="two animals")
    dataset = Dataset.load(folder)
    assert dataset.counts == {"cat": 3, "dog": 2}
    [entry] = dataset.ledger
    assert (entry.path, entry.reason) == ("dog/001.png", f"excluded by anna on {event.day}: two animals")
    decide(folder, "dog/001.png", "excluded", "", actor="ben")
    assert len(Dataset.load(folder)) == 6


def test_a_flag_and_a_review_change_no_label(folder):
    decide(folder, "dog/001.png", "flagged", "yes")
    sample = next(s for s in as_given(folder).samples if s.id == "dog/001.png")
    review = Change(sample.id, "review", "", "cat", sha256=hash_file(sample))
    Journal(journal_path(folder)).write([review], actor="ben")
    dataset = Dataset.load(folder)
    assert labels(dataset) == labels(as_given(folder))
    assert list(dataset.corrections.flagged) == ["dog/001.png"]


def test_classes_come_and_go_with_labels(folder):
    for number in range(3):
        decide(folder, f"cat/00{number}.png", "label", "lynx")
    assert Dataset.load(folder).class_names == ("dog", "lynx")


def test_an_undo_gives_the_data_s_own_label_back(folder):
    decide(folder, "cat/000.png", "label", "dog")
    Journal(journal_path(folder)).undo(actor="anna")
    dataset = Dataset.load(folder)
    assert labels(dataset) == labels(as_given(folder))
    assert dataset.corrections.stale == ()


def test_a_file_replaced_since_is_not_corrected_and_that_is_told(folder):
    decide(folder, "cat/000.png", "label", "dog")
    original = (folder / "cat" / "000.png").read_bytes()
    shutil.copy(folder / "cat" / "001.png", folder / "cat" / "000.png")
    dataset = Dataset.load(folder)
    assert labels(dataset)["cat/000.png"] == "cat"
    [note] = dataset.corrections.stale
    assert note.path == "cat/000.png"
    assert "label 'dog', by anna on" in note.reason
    assert "is not in force: the image has changed since" in note.reason
    decide(folder, "cat/000.png", "label", "lynx")  # who looks at the new picture may say what it is
    dataset = Dataset.load(folder)
    assert (labels(dataset)["cat/000.png"], dataset.corrections.stale) == ("lynx", ())
    (folder / "cat" / "000.png").write_bytes(original)
    assert labels(Dataset.load(folder))["cat/000.png"] == "dog"


def test_a_file_removed_since_is_told(folder):
    decide(folder, "cat/000.png", "excluded", "yes")
    (folder / "cat" / "000.png").unlink()
    [note] = Dataset.load(folder).corrections.stale
    assert note.reason.startswith("excluded, by anna")
    assert note.reason.endswith("no such image is among the data")


def test_a_broken_file_can_be_excluded(folder):
    (folder / "cat" / "dangling.png").write_bytes(b"")
    decide(folder, "cat/dangling.png", "excluded", "yes")
    assert len(Dataset.load(folder)) == 6


def manifest_with(folder, label):
    path = folder.parent / "set.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [("path", "label", "group"), ("data/cat/000.png", label, "g1"), ("data/dog/000.png", "dog", "g2")]
        )
    return path


def test_beside_a_manifest(folder):
    manifest = manifest_with(folder, "cat")
    decide(manifest, "data/cat/000.png", "label", "dog")
    assert (folder.parent / "set.labels.sqlite").is_file()
    dataset = Dataset.load(manifest)
    assert dataset.counts == {"dog": 2}
    assert dataset.samples[0].group == "g1"


def test_a_manifest_edited_since_wins_and_that_is_told(folder):
    decide(manifest_with(folder, "cat"), "data/cat/000.png", "label", "lynx")
    manifest = manifest_with(folder, "puma")
    dataset = Dataset.load(manifest)
    assert dataset.samples[0].label == "puma"
    [note] = dataset.corrections.stale
    assert note.reason.endswith("the data gave 'cat' then, and give 'puma' now")
    decide(manifest, "data/cat/000.png", "label", "dog")
    assert Dataset.load(manifest).samples[0].label == "dog"


def test_a_manifest_that_took_the_correction_over_needs_it_no_more(folder):
    decide(manifest_with(folder, "cat"), "data/cat/000.png", "label", "lynx")
    dataset = Dataset.load(manifest_with(folder, "lynx"))
    assert dataset.samples[0].label == "lynx"
    assert dataset.corrections.stale == ()


def test_the_journal_of_read_only_data_lies_elsewhere(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_JOURNAL", str(tmp_path / "journals"))
    decide(folder, "cat/000.png", "label", "dog")
    assert not (folder / ".tellapart").exists()
    assert Dataset.load(folder).counts == {"cat": 2, "dog": 4}
    monkeypatch.delenv("TELLAPART_JOURNAL")
    assert Dataset.load(folder).corrections is None
    [place] = (tmp_path / "journals").iterdir()
    assert Dataset.load(folder, journal=place).counts == {"cat": 2, "dog": 4}
    with pytest.raises(JournalError, match=r"no journal of labels at .*typo"):
        Dataset.load(folder, journal=tmp_path / "typo.sqlite")


def test_a_journal_that_was_tampered_with_is_refused(folder):
    import sqlite3

    decide(folder, "cat/000.png", "label", "dog")
    with sqlite3.connect(journal_path(folder)) as connection:
        connection.execute("DROP TRIGGER no_UPDATE")
        connection.execute("UPDATE event SET new = 'cat'")
    connection.close()
    with pytest.raises(JournalError, match="event 1 is not as it was written"):
        Dataset.load(folder)


def test_when_everything_is_excluded(folder):
    for sample in as_given(folder).samples:
        decide(folder, sample.id, "excluded", "yes")
    with pytest.raises(EmptyDataset, match=r"every image of .* is excluded in .*labels.sqlite"):
        Dataset.load(folder)


def test_what_was_in_force_earlier(folder):
    decide(folder, "cat/000.png", "label", "dog")
    decide(folder, "cat/001.png", "label", "dog")
    samples, place = as_given(folder).samples, journal_path(folder)
    then = Corrections.find(samples, place, until=1)
    assert (then.seq, list(then.label)) == (1, ["cat/000.png"])
    assert Corrections.find(samples, place, until=0).head == ""
    assert Corrections.find(samples, place).head == Journal(place).verify()
