"""History: every batch, newest first; what two moments differ in; and that nobody has touched it since."""

import csv
import io
import sqlite3
from datetime import datetime, timedelta

import pytest

from desks import ask, desk_on
from pictures import write_class_folders
from tellapart.cli.app import run
from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError


@pytest.fixture
def data(tmp_path):
    return write_class_folders(tmp_path / "data", {"cat": 4, "dog": 4})


@pytest.fixture
def desk(data):
    """Three batches: anna relabels two, ben excludes a dog, anna takes hers back."""
    anna, ben = desk_on(data), desk_on(data, actor="ben")
    ask(
        anna,
        "write",
        items=[0, 1],
        field="label",
        seen=["cat", "cat"],
        new="bird",
        why="wings",
        source="bulk",
    )
    ask(ben, "write", items=[4], field="excluded", seen=[""], new="yes", why="blurred")
    ask(anna, "undo", batch=1)
    return anna


def test_the_newest_batch_comes_first_and_says_who_what_when_and_why(desk):
    told = ask(desk, "history")
    assert [batch["batch"] for batch in told["batches"]] == [3, 2, 1]
    assert (told["total"], told["actors"]) == (3, ["anna", "ben"])
    undo, exclusion, relabelled = told["batches"]
    assert (undo["undoes"], undo["why"], relabelled["undone"]) == (1, "undo of batch 1", True)
    assert (exclusion["actor"], exclusion["why"], exclusion["n"]) == ("ben", "blurred", 1)
    says = {"says": "2 × cat → bird"}
    assert relabelled["moves"] == [{"field": "label", "old": "cat", "new": "bird", "n": 2, **says}]
    assert [move["says"] for move in exclusion["moves"]] == ["excluded"]
    assert [image["id"] for image in relabelled["images"]] == ["cat/000.png", "cat/001.png"]
    assert datetime.fromisoformat(relabelled["at"]).tzinfo is not None


def test_it_is_filtered_by_person_and_by_class_and_shown_in_pages(desk):
    assert [b["batch"] for b in ask(desk, "history", actor="ben")["batches"]] == [2]
    assert [b["batch"] for b in ask(desk, "history", **{"class": "bird"})["batches"]] == [3, 1]
    assert [b["batch"] for b in ask(desk, "history", **{"class": "dog"})["batches"]] == [2]
    page = ask(desk, "history", start=1, count=1)
    assert ([b["batch"] for b in page["batches"]], page["total"]) == ([2], 3)


def test_the_chain_is_checked_up_to_a_hash_that_was_written_down(desk):
    whole = ask(desk, "verify")
    assert (whole["problem"], whole["events"], len(whole["head"])) == ("", 5, 64)
    assert ask(desk, "verify", anchor=whole["head"][:16])["problem"] == ""
    assert "no event has the hash" in ask(desk, "verify", anchor="0123456789")["problem"]
    with pytest.raises(ConfigError, match="too short"):
        ask(desk, "verify", anchor="01")


def test_tampering_shows(desk):
    with sqlite3.connect(desk.journal.path) as connection:
        connection.execute("DROP TRIGGER no_UPDATE")
        connection.execute("UPDATE event SET why = 'because' WHERE seq = 2")
    connection.close()
    told = ask(desk, "verify")
    assert "event 2 is not as it was written" in told["problem"]
    assert told["head"] == ""


def test_without_a_journal_there_is_no_history_and_nothing_wrong(data):
    desk = desk_on(data)
    assert ask(desk, "history") == {"total": 0, "actors": [], "batches": []}
    assert ask(desk, "verify") == {"problem": "", "head": "", "events": 0}
    assert not desk.journal.path.exists()


def test_two_moments_differ_in_what_stands_and_not_in_what_was_taken_back(desk):
    first, *_, last = (datetime.fromisoformat(event.at) for event in desk.journal.events())
    before, between = first - timedelta(seconds=1), first + (last - first) / 2
    told = ask(desk, "label_diff", since=before.isoformat())
    assert told["total"] == 1
    assert [(row["id"], row["field"], row["before"], row["after"], row["by"]) for row in told["rows"]] == [
        ("dog/000.png", "excluded", "", "yes", "ben")
    ]
    assert told["rows"][0]["says"] == "excluded"
    then = ask(desk, "label_diff", since=before.isoformat(), until=first.isoformat())
    assert [move["says"] for move in then["moves"]] == ["2 × cat → bird"]
    assert between < last
    with pytest.raises(ConfigError, match="swap them"):
        ask(desk, "label_diff", since=last.isoformat(), until=before.isoformat())
    with pytest.raises(ConfigError, match="'yesterday' is no moment"):
        ask(desk, "label_diff", since="yesterday")


def test_exported_labels_can_be_edited_and_imported_on_the_command_line(desk, data, tmp_path):
    told = ask(desk, "export_labels")
    rows = list(csv.DictReader(io.StringIO(told["csv"])))
    assert len(rows) == 8
    assert [row["excluded"] for row in rows if row["path"] == "dog/000.png"] == ["yes"]
    table = tmp_path / told["name"]
    table.write_text(told["csv"].replace("cat/002.png,cat", "cat/002.png,dog"))
    assert run(["label", "import", str(data), str(table), "--user", "carol"]) == 0
    assert {sample.label for sample in Dataset.load(data).samples if sample.id == "cat/002.png"} == {"dog"}


def test_exported_events_are_all_events_with_their_hashes(desk):
    rows = list(csv.DictReader(io.StringIO(ask(desk, "export_labels", what="events")["csv"])))
    assert [row["hash"] for row in rows] == [event.hash for event in desk.journal.events()]
