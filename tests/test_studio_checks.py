"""The check of the data: it runs in the background, and its findings join the images."""

import json
import shutil

import pytest

from desks import number, until
from pictures import write_class_folders
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operations import perform


@pytest.fixture
def data(tmp_path):
    return write_class_folders(tmp_path / "photos", {"benign": 12, "malignant": 12})


@pytest.fixture
def desk(data, tmp_path):
    desk, _ = open_desk(data, Choices(actor="ada", runs=tmp_path / "runs"))
    yield desk
    for job in desk.jobs.all():
        job.process.kill_group()


@pytest.mark.slow
def test_the_check_runs_in_the_background_and_its_findings_join_the_images(desk, data, own_cache):
    shutil.copy(data / "benign" / "000.png", data / "malignant" / "copy.png")
    copied, _ = open_desk(data, Choices(actor="ada", runs=desk.runs))
    assert perform(copied, "check_state", {})["state"] == "none"
    perform(copied, "check_start", {})
    told = until(lambda: (t := perform(copied, "check_state", {}))["state"] == "done" and t, 120)
    assert told["n_findings"] == sum(told["counts"].values()) > 0
    assert told["changed"] == 0
    i = number(copied, "malignant/copy.png")
    assert any(finding.kind for finding in copied.catalog.findings(i))
    perform(copied, "write", {"items": [i], "field": "label", "seen": ["malignant"], "new": "benign"})
    assert perform(copied, "check_state", {})["changed"] == 1
    assert perform(copied, "check_state", {})["found"].endswith("; 1 image changed since")
    # The next studio finds them again.
    later, _ = open_desk(data, Choices(actor="bob", runs=desk.runs))
    assert later.arrivals.findings().counts == told["counts"]
    assert later.catalog.findings(i) == copied.catalog.findings(i)


def test_findings_that_the_user_names_are_shown_without_a_check(desk, tmp_path):
    finding = {"kind": "blurred", "severity": "note", "message": "blurred", "sample_ids": ["benign/001.png"]}
    desk.findings = tmp_path / "found.json"
    desk.findings.write_text(json.dumps({"findings": [finding]}))
    told = perform(desk, "check_state", {})
    assert (told["state"], told["n_findings"], told["counts"]["note"]) == ("done", 1, 1)
    assert desk.catalog.findings(number(desk, "benign/001.png"))[0].kind == "blurred"
