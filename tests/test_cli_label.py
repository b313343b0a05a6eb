"""`tellapart label`, as it is typed."""

import json
import shutil
import sqlite3

import pytest

from pictures import write_class_folders
from tellapart.cli.app import run
from tellapart.training import evidence
from tellapart.training.config import TrainConfig
from tellapart.training.evidence import FrozenEvidence


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("TELLAPART_JOURNAL", raising=False)
    return write_class_folders(tmp_path / "data", {"cat": 3, "dog": 3})


@pytest.fixture
def typed(capsys):
    def type_it(*arguments: object, status: int = 0) -> str:
        assert run(["label", *map(str, arguments)]) == status
        shown = capsys.readouterr()
        return " ".join(shown.err.split()) if status else shown.out

    return type_it


def test_labels_are_exported_edited_imported_and_undone(folder, tmp_path, typed):
    table = tmp_path / "labels.csv"
    assert typed("export", folder, "--out", table) == f"labels of 6 images in {table}\n"
    edited = table.read_text().replace("cat/000.png,cat,", "cat/000.png,dog,")
    table.write_text(edited.replace("dog/001.png,dog,dog,,", "dog/001.png,dog,dog,yes,"))

    shown = typed("import", folder, table, "--dry-run")
    assert "cat/000.png: label cat → dog" in shown
    assert "would change 1 label, 1 exclusion" in shown
    assert "no journal yet" in typed("history", folder)

    shown = typed("import", folder, table, "--user", "anna", "--why", "second look")
    assert shown == "batch 1: 1 label, 1 exclusion; `tellapart label undo` takes it back\n"
    assert "nothing to change" in typed("import", folder, table)
    rows = typed("export", folder, "--corrected").splitlines()
    assert [row.split(",")[0] for row in rows] == ["path", "cat/000.png", "dog/001.png"]

    first = typed("history", folder).splitlines()[0].split()
    assert [first[0], *first[4:]] == [
        "1",
        "anna",
        "import",
        "1",
        "label,",
        "1",
        "exclusion",
        "second",
        "look",
    ]
    assert "label cat → dog" in typed("history", folder, "--image", "cat/000.png")
    assert "excluded no → yes" in typed("history", folder, "--batch", 1)

    assert typed("undo", folder, "--user", "anna") == "batch 2: batch 1 is undone (1 exclusion, 1 label)\n"
    assert "undone" in typed("history", folder).splitlines()[0]
    assert typed("export", folder, "--corrected").count("\n") == 1
    assert typed("undo", folder, 2, "--user", "ben", "--why", "it was right").startswith("batch 3: batch 2")
    batches = json.loads(typed("history", folder, "--json"))
    assert [(one["number"], one["actor"], one["undone"]) for one in batches] == [
        (1, "anna", False),
        (2, "anna", True),
        (3, "ben", False),
    ]
    events = json.loads(typed("history", folder, "--image", "cat/000.png", "--json"))
    assert [event["new"] for event in events] == ["dog", "cat", "dog"]


def test_another_place_for_the_journal(folder, tmp_path, typed):
    table, place = tmp_path / "labels.csv", tmp_path / "else" / "mine.sqlite"
    table.write_text("path,label\ncat/000.png,dog\n")
    typed("import", folder, table, "--journal", place)
    assert place.is_file()
    assert not (folder / ".tellapart").exists()
    assert typed("export", folder, "--corrected").count("\n") == 1
    assert typed("export", folder, "--corrected", "--journal", place).count("\n") == 2


def test_a_new_class_must_be_meant(folder, tmp_path, typed):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\ncat/000.png,lynx\n")
    assert "add --new-class 'lynx'" in typed("import", folder, table, status=1)
    assert "1 label" in typed("import", folder, table, "--new-class", "lynx")


def test_decisions_out_of_force_are_named(folder, tmp_path, capsys):
    table = tmp_path / "labels.csv"
    table.write_text("path,excluded\n" + "".join(f"dog/{n:03}.png,yes\n" for n in range(3)))
    run(["label", "import", str(folder), str(table)])
    (folder / "dog" / "001.png").unlink()
    capsys.readouterr()
    assert run(["label", "export", str(folder)]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "labels.sqlite: 2 excluded" in told
    assert "dog/001.png: excluded, by" in told


def test_a_broken_chain_is_shown_and_exits_1(folder, tmp_path, typed):
    table = tmp_path / "labels.csv"
    table.write_text("path,label\ncat/000.png,dog\n")
    typed("import", folder, table)
    kept = typed("history", folder).rpartition("hash ")[2].split(";")[0]
    assert len(kept) == 16
    assert "unbroken" in typed("history", folder, "--anchor", kept)
    assert "events were cut off" in typed("history", folder, "--anchor", "0" * 16, status=1)
    with sqlite3.connect(folder / ".tellapart" / "labels.sqlite") as connection:
        connection.execute("DROP TRIGGER no_UPDATE")
        connection.execute("UPDATE event SET actor = 'somebody else'")
    connection.close()
    assert "not as it was written" in typed("history", folder, status=1)
    assert "not as it was written" in typed("export", folder, status=1)


def test_problems_are_one_line(folder, tmp_path, typed):
    assert "nothing to undo" in typed("undo", folder, status=1)
    assert "is a folder" in typed("export", folder, "--out", tmp_path, status=1)
    assert "no table of labels" in typed("import", folder, tmp_path / "none.csv", status=1)
    assert "does not exist" in typed("export", tmp_path / "nowhere", status=1)
    assert "the user has 1 characters" in typed("undo", folder, "--user", " ", status=1)
    assert not (folder / ".tellapart").exists()


def test_more_stale_decisions_than_fit_are_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("TELLAPART_JOURNAL", raising=False)
    folder, table = write_class_folders(tmp_path / "data", {"cat": 12, "dog": 1}), tmp_path / "labels.csv"
    table.write_text("path,flagged\n" + "".join(f"cat/{n:03}.png,yes\n" for n in range(12)))
    run(["label", "import", str(folder), str(table)])
    for number in range(12):
        (folder / "cat" / f"{number:03}.png").unlink()
    capsys.readouterr()
    run(["label", "export", str(folder)])
    assert "… and 2 more" in capsys.readouterr().err


def test_check_and_train_read_the_corrected_labels(photos, tmp_path, typed, capsys, monkeypatch):
    """Of eighty pictures two were labelled wrongly, and one is not to be used."""
    small = FrozenEvidence(TrainConfig(mode="features", image_size=64))  # its export is at hand in tests
    monkeypatch.setattr(evidence, "FrozenEvidence", lambda: small)
    data, table = tmp_path / "photos", tmp_path / "labels.csv"
    shutil.copytree(photos, data)
    for number in ("001", "002"):
        (data / "benign" / f"{number}.png").rename(data / "malignant" / f"moved{number}.png")
    table.write_text(
        "path,label,excluded\n"
        "malignant/moved001.png,benign,\n"
        "malignant/moved002.png,benign,\n"
        "malignant/000.png,malignant,yes\n"
    )
    typed("import", data, table, "--user", "anna", "--why", "second look")

    assert run(["check", str(data), "--json", str(tmp_path / "check.json")]) == 0
    shown = capsys.readouterr()
    assert "2 relabelled, 1 excluded" in shown.err
    assert "79 images: benign (40), malignant (39)" in shown.out
    checked = json.loads((tmp_path / "check.json").read_text())
    reasons = {entry["path"]: entry["reason"] for entry in checked["ledger"]}
    assert reasons["malignant/000.png"].startswith("excluded by anna")

    assert run(["train", str(data), "--out", str(tmp_path / "run"), "--image-size", "64"]) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())["data"]
    assert record["counts"] == {"benign": 40, "malignant": 39}
    assert record["corrections"]["relabelled"] == 2
    rows = {row.split(",")[0]: row for row in (tmp_path / "run" / "split.csv").read_text().splitlines()}
    assert rows["malignant/moved001.png"].split(",")[1] == "benign"
    assert "malignant/000.png" not in rows
