"""What checks and trainings finish lies beside the images as soon as somebody looks; it needs no torch."""

import json
import subprocess
import sys

import pytest

from desks import ask, number
from pictures import write_class_folders
from stored_runs import predictions_of, write_run
from tellapart.data.corrections import as_given
from tellapart.data.journal import Journal
from tellapart.errors import DataError
from tellapart.evaluation.evaluation import Evaluation
from tellapart.records import Threshold
from tellapart.studio.desk import Desk

ANSWERS = [
    ("benign/000.png", "benign", 0.1),
    ("benign/001.png", "benign", 0.4),
    ("malignant/000.png", "malignant", 0.9),
]
CAUTIOUS = Threshold(0.3, "malignant", "validation", "sensitivity of 95 %")
LOOKS = ["overview", "queue", "clusters", "runs", "check_state"]


@pytest.fixture
def runs(tmp_path):
    write_run(tmp_path / "runs" / "second", predictions_of(ANSWERS))
    write_run(tmp_path / "runs" / "first", predictions_of(ANSWERS), threshold=CAUTIOUS)
    return tmp_path / "runs"


@pytest.fixture
def pictures(tmp_path):
    return write_class_folders(tmp_path / "photos", {"benign": 2, "malignant": 2})


@pytest.fixture(autouse=True)
def own_findings(fresh_cache):
    """No findings but those of the test."""


def desk_of(data, runs, run=None):
    return Desk(data, as_given(data), Journal(data / "labels.sqlite"), "ada", runs, run)


def test_a_desk_opens_with_the_predictions_of_its_run(pictures, runs):
    desk = desk_of(pictures, runs, runs / "first")
    desk.arrivals.first_run()
    assert desk.catalog.predictions.name == "first"
    item = desk.catalog.item(desk.catalog.index("benign/001.png"))
    assert (item["predicted"], item["p"]) == ("malignant", pytest.approx(0.4))


def test_without_a_run_of_its_own_it_takes_the_last_that_knows_these_images(pictures, runs):
    strangers = [(f"other/{sample_id}", label, p) for sample_id, label, p in ANSWERS]
    write_run(runs / "other-data", predictions_of(strangers))
    desk = desk_of(pictures, runs)
    desk.arrivals.first_run()
    assert desk.catalog.predictions.name == "first"
    assert desk_of(pictures, runs / "nowhere").shelf.names() == []


def test_a_damaged_run_matters_only_to_those_who_named_it(pictures, runs):
    (runs / "first" / "evaluation" / "predictions.csv").write_text("nonsense")
    with pytest.raises(DataError, match=r"predictions.csv has the columns nonsense"):
        desk_of(pictures, runs, runs / "first").arrivals.first_run()
    desk = desk_of(pictures, runs)
    desk.arrivals.first_run()
    assert desk.catalog.predictions.name == "second"


def test_opening_needs_no_torch_and_no_scikit_learn(pictures, runs):
    code = f"""
import sys
from pathlib import Path
from tellapart.data.corrections import as_given
from tellapart.data.journal import Journal
from tellapart.studio.desk import Desk
import tellapart.studio.results
photos = Path({str(pictures)!r})
desk = Desk(photos, as_given(photos), Journal(photos / "labels.sqlite"), "ada", Path({str(runs)!r}))
desk.arrivals.first_run()
assert desk.catalog.predictions is not None
print(sorted({{"torch", "sklearn", "scipy", "matplotlib", "onnxruntime"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def suspect(desk, sample_id):
    """Have a check say that the label of an image is likely wrong."""
    finding = {"kind": "suspected label", "severity": "warning", "message": "look", "sample_ids": [sample_id]}
    desk.arrivals.findings_file.parent.mkdir(parents=True, exist_ok=True)
    desk.arrivals.findings_file.write_text(json.dumps({"findings": [finding]}))


def suspected(desk):
    return [desk.given.samples[i].id for i in range(len(desk.given)) if desk.catalog.findings(i)]


@pytest.mark.parametrize("operation", LOOKS)
def test_what_a_check_has_found_arrives_with_whatever_view_asks_next(pictures, runs, operation):
    desk = desk_of(pictures, runs)
    ask(desk, operation)
    suspect(desk, "benign/000.png")
    ask(desk, operation)
    assert suspected(desk) == ["benign/000.png"]
    suspect(desk, "malignant/000.png")  # the next check
    ask(desk, operation)
    assert suspected(desk) == ["malignant/000.png"]


def test_the_queue_says_what_it_rests_on(pictures, runs):
    desk = desk_of(pictures, runs)
    told = ask(desk, "queue")
    assert (told["has_findings"], told["run"], told["images"]) == (False, None, [])
    suspect(desk, "benign/000.png")
    write_run(runs / "third", predictions_of([("benign/001.png", "benign", 0.8)]))
    told = ask(desk, "queue")
    assert (told["has_findings"], told["run"]) == (True, "third")
    assert told["images"] == [number(desk, "benign/000.png"), number(desk, "benign/001.png")]


@pytest.mark.parametrize("operation", [name for name in LOOKS if name != "check_state"])
def test_a_run_that_has_come_to_its_end_is_the_one_that_is_shown(pictures, runs, operation):
    desk = desk_of(pictures, runs, runs / "first")
    desk.arrivals.first_run()
    ask(desk, operation)
    assert desk.catalog.predictions.name == "first"
    write_run(runs / "again", predictions_of(ANSWERS))
    ask(desk, operation)
    assert desk.catalog.predictions.name == "again"
    assert ask(desk, "results")["run"] == "again"


def test_a_run_is_not_shown_before_it_has_written_everything(pictures, runs):
    desk = desk_of(pictures, runs)
    desk.arrivals.first_run()
    folder = write_run(runs / "again", predictions_of(ANSWERS))
    (folder / "run.json").rename(folder / "not-yet")
    assert ask(desk, "overview")["run"] == "first"
    (folder / "not-yet").rename(folder / "run.json")
    assert ask(desk, "overview")["run"] == "again"


def test_another_threshold_does_not_bring_an_older_run_back(pictures, runs):
    desk = desk_of(pictures, runs)
    desk.arrivals.first_run()
    Evaluation(predictions_of(ANSWERS), CAUTIOUS, n_bootstrap=50).save(runs / "second" / "evaluation")
    assert ask(desk, "overview")["run"] == "first"


def test_new_runs_about_other_images_and_damaged_ones_are_passed_over(pictures, runs):
    desk = desk_of(pictures, runs)
    desk.arrivals.first_run()
    write_run(runs / "other-data", predictions_of([("other/000.png", "benign", 0.3)]))
    damaged = write_run(runs / "damaged", predictions_of(ANSWERS))
    (damaged / "evaluation" / "predictions.csv").write_text("nonsense")
    assert ask(desk, "overview")["run"] == "first"


def test_damaged_findings_are_told_to_who_asks_about_the_check(pictures, runs):
    desk = desk_of(pictures, runs)
    suspect(desk, "benign/000.png")
    desk.arrivals.findings_file.write_text("{")
    assert ask(desk, "overview")["has_findings"] is False
    with pytest.raises(DataError, match=r"findings.json holds no findings"):
        ask(desk, "check_state")
