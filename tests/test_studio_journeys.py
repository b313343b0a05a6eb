"""Whole journeys through the studio as a user starts it, by keys alone: real training, check and service.

What single views do is tested in ``test_studio_page_*.py``; Jupyter in ``test_notebook_lab.py``.
"""

import csv
import json
import re
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tellapart as ta
from browser import expect, shoot, started, tab_to
from pictures import class_picture, write_class_folders
from tellapart.bundle import Bundle
from tellapart.cli.app import run as tellapart
from tellapart.data.dataset import Dataset
from tellapart.data.journal import Journal, journal_path

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TRAINING_TIMEOUT_MS = 180_000

GONE = ["ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_CONTENT", "ERR_SOCKET"]
"""What a browser says of a server that was killed."""


def labels_of(data: Path) -> dict[str, str]:
    return {sample.id: sample.label for sample in Dataset.load(data).samples}


def until(condition, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


@contextmanager
def visiting(window, address: str, *arguments):
    """A page of a studio that is started for it; the page goes before the studio does."""
    with started(*arguments, "--user", "ada") as studio:
        page = window(studio, address)
        yield studio, page
        page.context.close()


def grid(page) -> None:
    expect(page.locator(".cell").first).to_be_visible()


def test_twenty_labels_five_undone_and_a_server_killed(tmp_path, window):
    """What was acknowledged is exactly what a new server shows."""
    data = write_class_folders(tmp_path / "photos", {"benign": 30, "malignant": 10})
    given = labels_of(data)
    with visiting(window, "/grid", data) as (studio, page):
        grid(page)
        for _ in range(20):
            page.keyboard.press("2")
        for _ in range(5):
            page.keyboard.press("Control+z")
        journal = Journal(journal_path(data))
        until(lambda: journal.path.exists() and len(journal.batches()) == 25)
        expect(page.locator(".cell", has_text="malignant").first).to_be_visible()
        studio.process.send_signal(signal.SIGKILL)
        studio.process.wait()
        window.expected += GONE
    wanted = given | {f"benign/{number:03d}.png": "malignant" for number in range(15)}
    assert labels_of(data) == wanted
    journal.verify()
    with visiting(window, "/grid?changed=yes", data) as (studio, page):
        expect(page.locator(".cell")).to_have_count(15)
        page.goto(f"{studio.url}/grid?label=malignant")
        expect(page.get_by_text("25 images").first).to_be_visible()


def test_what_the_page_shows_as_saved_is_saved_when_the_server_is_killed_meanwhile(tmp_path, window):
    """Keys go on while the server dies: labels wait in the page, and one may be on its way."""
    data = write_class_folders(tmp_path / "photos", {"benign": 40, "malignant": 2})
    window.expected += GONE
    with visiting(window, "/grid?size=small", data) as (studio, page):
        expect(page.locator(".cell")).to_have_count(42)
        journal = Journal(journal_path(data))
        for _ in range(40):
            page.keyboard.press("2")
            if studio.process.poll() is None and journal.path.exists() and len(journal.batches()) >= 5:
                studio.process.send_signal(signal.SIGKILL)
                studio.process.wait()
        expect(page.get_by_role("alert").filter(has_text="does not answer")).to_be_visible()
        expect(page.locator(".cell.saving")).to_have_count(0)
        names = page.locator(".cell", has_text="malignant").evaluate_all(
            "nodes => nodes.map((n) => n.ariaLabel)"
        )
    shown = {name.rsplit(", ")[-1] for name in names} - {"malignant/000.png", "malignant/001.png"}
    saved = {name for name, label in labels_of(data).items() if label == "malignant" and name[0] == "b"}
    assert 0 < len(shown) < 40
    assert shown <= saved
    assert len(saved - shown) <= 1  # written, but killed before it could be said
    journal.verify()


def test_from_a_cell_of_the_matrix_to_a_better_figure(tmp_path, window):
    """Open the images of a cell, give them their right label, train again on the same split."""
    data = write_class_folders(tmp_path / "photos", {"benign": 40, "malignant": 40})
    for number in range(10):  # planted errors
        shutil.move(data / "benign" / f"{number:03d}.png", data / "malignant" / f"x{number:03d}.png")
    runs = tmp_path / "runs"
    options = ["--mode", "features", "--image-size", "64", "--test-size", "0.5"]
    assert tellapart(["train", str(data), "--out", str(runs / "first"), *options]) == 0
    before = json.loads((runs / "first" / "evaluation" / "metrics.json").read_text())
    (_, _), (n_missed, _) = before["confusion_matrix"]
    assert n_missed >= 2
    with visiting(window, "/results", runs / "first") as (_, page):
        tab_to(page, page.locator(".confusion").get_by_role("button", name="malignant, called benign"))
        page.keyboard.press("Enter")
        expect(page.locator(".cell")).to_have_count(n_missed)
        page.keyboard.press("Control+a")
        page.keyboard.press("1")
        until(lambda: list(labels_of(data).values()).count("benign") == 30 + n_missed)
        page.keyboard.press("g")
        page.keyboard.press("t")
        expect(page.get_by_role("heading", name=f"Train with my {n_missed} label changes")).to_be_visible()
        tab_to(page, page.get_by_label("Name"))
        page.keyboard.press("Control+a")
        page.keyboard.type("second")
        page.keyboard.press("Enter")
        badge = page.get_by_role("region", name="second").locator(".badge")
        expect(badge).to_have_text("done", timeout=TRAINING_TIMEOUT_MS)
        expect(page.get_by_label("compare first")).to_be_checked()  # whose test images were kept
        row = page.locator(".difference table").get_by_role("row", name="Accuracy").first
        expect(row).to_contain_text(re.compile(r"\+\d"))
        shoot(page, "journey-better")
    after = json.loads((runs / "second" / "evaluation" / "metrics.json").read_text())
    assert after["n_samples"] == before["n_samples"]
    assert after["accuracy"]["value"] > before["accuracy"]["value"]


@pytest.mark.usefixtures("own_deployments")
def test_a_threshold_chosen_by_keys_is_what_a_deployment_answers_by(tmp_path, trained, photos, window):
    folder = tmp_path / "runs" / "lesions"
    shutil.copytree(trained.folder, folder)
    before = Bundle.load(folder).card.threshold
    with visiting(window, "/threshold", folder) as (_, page):
        tab_to(page, page.get_by_role("slider", name="Threshold"))
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        tab_to(page, page.get_by_label("Why this threshold?"))
        page.keyboard.type("miss nothing")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="is in use")).to_be_visible(timeout=60_000)
    chosen = Bundle.load(folder).card.threshold
    assert (chosen.chosen_by, chosen.why) == ("ada", "miss nothing")
    assert chosen.value < before.value
    said = ta.load(folder).predict(sorted((photos / "benign").glob("0*.png")))
    p = dict(zip(said.sample_ids, said.y_prob[:, said.class_names.index("malignant")], strict=True))
    turned = [path for path, value in p.items() if chosen.value <= value < before.value]
    same = [path for path, value in p.items() if value < chosen.value]
    deployment = ta.deploy(folder, name="keys", target="local")
    assert {answer.label for answer in deployment.score([Path(path) for path in turned])} == {"malignant"}
    assert all(answer.label == "benign" for answer in deployment.score([Path(path) for path in same]))


def test_duplicates_are_checked_settled_and_dealt_anew(tmp_path, window):
    """A given split leaks; the check finds it, keys settle it, and a training takes the new split."""
    data = tmp_path / "photos"
    rng = np.random.default_rng(3)
    for part, n in (("train", 16), ("test", 8)):
        for index, name in enumerate(("benign", "malignant")):
            (data / part / name).mkdir(parents=True)
            for number in range(n):
                class_picture(rng, index, (96, 80)).save(data / part / name / f"{number:03d}.png")
    shutil.copy(data / "train" / "benign" / "003.png", data / "test" / "benign" / "leaked.png")
    shutil.copy(data / "train" / "benign" / "004.png", data / "train" / "malignant" / "twice.png")
    found, runs = tmp_path / "found.json", tmp_path / "runs"
    assert tellapart(["check", str(data), "--json", str(found)]) == 0
    with visiting(window, "/duplicates", data, "--findings", found, "--runs", runs) as (_, page):
        expect(page.locator(".cluster").first.locator(".badge").first).to_have_text("conflicting labels")
        page.keyboard.press("k")  # only the first of the two
        until(lambda: len(Dataset.load(data)) == 49)
        expect(page.locator(".cluster").first.locator(".badge").first).to_have_text("leak")
        tab_to(page, page.get_by_role("button", name="Make the split anew"))
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_contain_text("No leak is left", timeout=60_000)
    with (runs / "split.csv").open(newline="") as file:
        part = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert part["train/benign/003.png"] == part["test/benign/leaked.png"]
    assert len({"train/benign/004.png", "train/malignant/twice.png"} & part.keys()) == 1
    options = ["--split", str(runs / "split.csv"), "--mode", "features", "--image-size", "64"]
    assert tellapart(["train", str(data), "--out", str(runs / "clean"), *options]) == 0
