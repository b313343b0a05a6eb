"""The list of runs, and how one goes or went."""

import json
import shutil

import pytest

from desks import number
from pictures import write_class_folders
from tellapart.errors import ConfigError
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operations import perform


@pytest.fixture
def desk(tmp_path):
    data = write_class_folders(tmp_path / "photos", {"benign": 12, "malignant": 12})
    return open_desk(data, Choices(actor="ada", runs=tmp_path / "runs"))[0]


@pytest.fixture
def shelved(desk, trained):
    """The desk, with a finished run on its shelf."""
    shutil.copytree(trained.folder, desk.runs / "first")
    return desk


def test_without_runs_there_is_an_empty_list_and_a_name_for_the_first(desk):
    told = perform(desk, "runs", {})
    assert told == {
        "runs": [],
        "listed": "0 runs",
        "running": None,
        "changes": {"relabelled": 0, "excluded": 0},
        "corrected": "",
        "suggested": "run-1",
        "why_not": "",
    }


def test_runs_are_listed_with_figures_and_intervals(shelved, trained):
    (row,) = perform(shelved, "runs", {})["runs"]
    assert (row["name"], row["state"], row["mode"], row["n"]) == ("first", "done", "features", 80)
    accuracy = trained.evaluation.accuracy
    assert row["accuracy"]["value"] == accuracy
    assert row["accuracy"]["ci95"] == list(accuracy.ci95)
    assert row["backbone"] == "timm:test_resnet"
    assert row["facts"].startswith(
        f"80 images, {row['n_test']} of them for testing; seed 0; 0 label changes; took "
    )
    assert row["facts"].endswith(
        f" s. Accuracy {accuracy:.1%} (".replace("%", " %") + f"{row['accuracy']['range']})."
    )


def test_runs_of_other_images_in_the_same_folder_are_counted_not_listed(shelved):
    (shelved.runs / "of-bowls").mkdir()
    (shelved.runs / "of-bowls" / "split.csv").write_text("path,label,split\nbowl/1.jpg,bowl,train\n")
    told = perform(shelved, "runs", {})
    assert [row["name"] for row in told["runs"]] == ["first"]
    assert told["listed"] == "1 run; 1 of other images not listed"


def test_a_run_says_what_it_was_made_of(shelved):
    path = shelved.runs / "first" / "run.json"
    record = json.loads(path.read_text())
    found = {"journal": "labels.sqlite", "head": "0" * 64, "relabelled": 2, "excluded": 1}
    record["data"]["corrections"], record["seconds"] = found, 100
    path.write_text(json.dumps(record))
    (row,) = perform(shelved, "runs", {})["runs"]
    assert (row["corrections"], row["corrected"]) == (found, "3 label changes")
    assert "; seed 0; 3 label changes; took 2 min. Accuracy " in row["facts"]


def test_a_run_that_cannot_be_read_is_listed_as_damaged(shelved):
    (shelved.runs / "first" / "evaluation" / "metrics.json").write_text("{")
    (row,) = perform(shelved, "runs", {})["runs"]
    assert row["state"] == "damaged"
    assert "metrics.json cannot be read" in row["error"]


def test_changes_of_labels_are_counted_as_they_are_made(desk):
    i = number(desk, "benign/000.png")
    perform(desk, "write", {"items": [i], "field": "label", "seen": ["benign"], "new": "malignant"})
    told = perform(desk, "runs", {})
    assert (told["changes"], told["corrected"]) == ({"relabelled": 1, "excluded": 0}, "1 label change")


def test_a_history_is_told_from_where_the_page_left_off(shelved):
    rows = [{"epoch": k, "val_loss": abs(k - 2) / 10, "seconds": 1.0} for k in (1, 2, 3)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (shelved.runs / "first" / "history.jsonl").write_text(text + '{"epoch": 4, "val')
    told = perform(shelved, "run_history", {"run": "first", "after": 1})
    assert [row["epoch"] for row in told["rows"]] == [2, 3]
    assert (told["best_epoch"], told["epochs"], told["state"]) == (2, 3, "done")
    with pytest.raises(ConfigError, match="no run is called 'none'"):
        perform(shelved, "run_history", {"run": "none"})
