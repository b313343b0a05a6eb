"""Labels in a spreadsheet: what was edited is taken over, what others did meanwhile is kept."""

import csv
import io

import pytest

from pictures import write_class_folders
from tellapart.data.corrections import Corrections, as_given
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal, journal_path
from tellapart.data.label_events import LabelConflict
from tellapart.data.label_sheet import changes, read_csv, to_csv
from tellapart.errors import ManifestError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TELLAPART_JOURNAL", raising=False)
    return write_class_folders(tmp_path / "data", {"cat": 2, "dog": 2})


def in_force(folder) -> tuple[Dataset, Corrections]:
    given = as_given(folder)
    return given, Corrections.find(given.samples, journal_path(folder))


def exported(folder) -> list[dict[str, str]]:
    given, now = in_force(folder)
    return list(csv.DictReader(io.StringIO(to_csv(given.samples, now))))


def write(path, rows, **options) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], **options)
        writer.writeheader()
        writer.writerows(rows)


def take_over(folder, rows, *, actor="anna", **options):
    path = folder.parent / "edited.csv"
    write(path, rows)
    given, now = in_force(folder)
    wanted = changes(read_csv(path), given, now, **options)
    return Journal(now.journal).write(wanted, actor=actor, source="import")


def test_an_export_taken_over_as_it_is_changes_nothing(folder):
    rows = exported(folder)
    assert [row["path"] for row in rows] == ["cat/000.png", "cat/001.png", "dog/000.png", "dog/001.png"]
    assert take_over(folder, rows) == ()


def test_what_was_edited_is_changed_and_nothing_else(folder):
    rows = exported(folder)
    rows[0] |= {"label": "dog", "why": "a tail"}
    rows[3] |= {"excluded": "Yes", "flagged": "x"}
    events = take_over(folder, rows, why="second look")
    assert [(e.sample_id, e.field, e.new, e.why) for e in events] == [
        ("cat/000.png", "label", "dog", "a tail"),
        ("dog/001.png", "excluded", "yes", "second look"),
        ("dog/001.png", "flagged", "yes", "second look"),
    ]
    again = exported(folder)
    assert again[0]["label"] == "dog"
    assert (again[0]["given"], again[0]["who"], again[0]["why"]) == ("cat", "anna", "a tail")
    assert (again[3]["excluded"], again[3]["flagged"], again[3]["as_of"]) == ("yes", "yes", "3")
    again[3]["excluded"] = "no"
    [event] = take_over(folder, again, actor="ben")
    assert (event.old, event.new, event.why) == ("yes", "", "")  # not anna's reason for the opposite


def test_rows_that_others_changed_meanwhile_are_left_to_them(folder):
    mine, theirs = exported(folder), exported(folder)
    theirs[0]["label"] = "dog"
    take_over(folder, theirs, actor="ben")
    mine[1]["label"] = "dog"
    [event] = take_over(folder, mine)
    assert event.sample_id == "cat/001.png"
    assert [row["label"] for row in exported(folder)] == ["dog"] * 4


def test_the_same_edit_twice_is_one_change(folder):
    mine, theirs = exported(folder), exported(folder)
    mine[0]["label"] = theirs[0]["label"] = "dog"
    take_over(folder, theirs, actor="ben")
    assert take_over(folder, mine) == ()


def test_different_edits_of_one_image_are_a_conflict_unless_overwritten(folder):
    mine, theirs = exported(folder), exported(folder)
    theirs[0]["label"] = "dog"
    mine[0]["label"] = "lynx"
    take_over(folder, theirs, actor="ben")
    with pytest.raises(LabelConflict, match=r"cat/000.png: label is dog \(by ben"):
        take_over(folder, mine, new_classes=["lynx"])
    take_over(folder, mine, new_classes=["lynx"], overwrite=True)
    assert exported(folder)[0]["label"] == "lynx"


def test_a_short_table_by_hand(folder):
    path = folder.parent / "hand.csv"
    path.write_text(
        "\ufeffpath;label\ncat/000.png;dog\n;\ncat/001.png;\n", encoding="utf-8"
    )  # as Excel writes
    given, now = in_force(folder)
    [change] = changes(read_csv(path), given, now)
    assert (change.sample_id, change.old, change.new) == ("cat/000.png", "cat", "dog")


def test_only_what_was_decided(folder):
    rows = exported(folder)
    rows[2]["flagged"] = "yes"
    take_over(folder, rows)
    given, now = in_force(folder)
    text = to_csv(given.samples, now, only_corrected=True)
    assert [row["path"] for row in csv.DictReader(io.StringIO(text))] == ["dog/000.png"]


@pytest.mark.parametrize("name", ["=1+1.png", " two  words .png", "comma,semi;colon.png", "Mu\u0308hle.png"])
def test_awkward_names_come_back(folder, name):
    (folder / "cat" / "000.png").rename(folder / "cat" / name)
    rows = exported(folder)
    for row in rows:
        row["label"] = "dog"
    events = take_over(folder, rows)
    assert len(events) == 2
    assert Dataset.load(folder).counts == {"dog": 4}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs the columns path and label, excluded or flagged; found: nothing"),
        ("image,label\na,b\n", "found: image, label"),
        ("path,who\na,b\n", "found: path, who"),
        ("path,label,label\na,b,c\n", "column 'label' twice"),
        ("path,label\n,dog\n", "line 2: a row without a path"),
        ("path,excluded\ncat/000.png,perhaps\n", "line 2: excluded is 'perhaps'; write yes"),
        ("path,label,as_of\ncat/000.png,dog,soon\n", "line 2: as_of is 'soon'"),
        ("path,label,as_of\ncat/000.png,dog,7\n", r"as_of is 7, but .* ends with event 0"),
        ("path,label\nbird/000.png,dog\n", "line 2: 'bird/000.png' is not among the data"),
        ("path,label\ncat/000.png,dgo\n", r"line 2: 'dgo' is no class \(cat, dog\).*--new-class 'dgo'"),
        ("path,label\ncat/000.png,dog\ncat/000.png,cat\n", "line 3: .* listed before, with another label"),
    ],
)
def test_tables_that_are_refused(folder, text, message):
    path = folder.parent / "bad.csv"
    path.write_text(text)
    given, now = in_force(folder)
    with pytest.raises(ManifestError, match=message):
        changes(read_csv(path), given, now)


def test_files_that_are_no_table(folder):
    path = folder.parent / "bad.csv"
    with pytest.raises(ManifestError, match="no table of labels at"):
        read_csv(path)
    path.write_bytes("path,label\nMüller.png,cat\n".encode("cp1252"))
    with pytest.raises(ManifestError, match="save it as CSV UTF-8"):
        read_csv(path)
    path.write_text(f"path,label\n{'x' * 200_000},cat\n")
    with pytest.raises(ManifestError, match="is not a CSV file"):
        read_csv(path)
