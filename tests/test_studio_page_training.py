import json
import shutil
import sys

import pytest

from browser import check_accessible, check_reflows, expect, opened, shoot
from desks import ask
from pictures import write_class_folders
from tellapart.data.label_events import Change
from tellapart.data.reader import hash_file
from tellapart.studio import jobs

pytestmark = pytest.mark.browser

TRAINER = """
import json, math, os, shutil, sys, time
from pathlib import Path
from tellapart.progress import ProgressFile
first, words = Path(sys.argv[1]), sys.argv[2:]
busy = first.parent.parent / "busy"
def stay(until=lambda: False):
    while busy.exists() and not until():
        time.sleep(0.02)
if words[0] == "check":
    out = Path(next(w for w in words if w.startswith("--json=")).removeprefix("--json="))
    with ProgressFile(Path(os.environ["TELLAPART_PROGRESS"])).track("inspecting", 16) as advance:
        for k in range(16):
            time.sleep(0.02)
            advance(1)
            if k == 7:
                stay()
    finding = {"kind": "blurred", "severity": "warning", "message": "…", "sample_ids": ["benign/001.png"]}
    out.write_text(json.dumps({"findings": [finding]}))
    sys.exit()
out = Path(next(w for w in words if w.startswith("--out=")).removeprefix("--out="))
print("mode finetune (as asked)", flush=True)
progress = ProgressFile(Path(os.environ["TELLAPART_PROGRESS"]))
for epoch in range(1, 31):
    with progress.track(f"epoch {epoch}/30", 12) as advance:
        for k in range(12):
            time.sleep(0.02)
            advance(1)
            if (epoch, k) == (10, 5):
                stay((out / "stop").exists)
    fall, rise = math.exp(-epoch / 8), math.exp(-epoch / 5) / 2
    loss = {"train_loss": fall, "val_loss": fall + 0.1 + 0.002 * (epoch - 9) ** 2}
    accuracy = {"train_accuracy": 1 - rise, "val_accuracy": 0.9 - rise, "val_balanced_accuracy": 0.9}
    pace = {"seconds": 0.25, "images_per_second": 48.0, "learning_rate": 0.001}
    row = {"epoch": epoch, **loss, **accuracy, **pace}
    with (out / "history.jsonl").open("a") as file:
        file.write(json.dumps(row) + chr(10))
    if (out / "stop").exists():
        (out / "stop").unlink()
        break
shutil.copytree(first, out, dirs_exist_ok=True)
"""


@pytest.fixture
def studio(trained, tmp_path, monkeypatch):
    """A studio with one finished run; trainings and checks are played by a script."""
    data = write_class_folders(tmp_path / "photos", {"benign": 8, "malignant": 8})
    shutil.copytree(trained.folder, tmp_path / "runs" / "first")
    (tmp_path / "trainer.py").write_text(TRAINER)
    program = (sys.executable, str(tmp_path / "trainer.py"), str(tmp_path / "runs" / "first"))
    monkeypatch.setattr(jobs, "PROGRAM", program)
    with opened(data, runs=tmp_path / "runs") as studio:
        yield studio
        for job in studio.desk.jobs.all():
            job.process.kill_group()


@pytest.fixture
def busy(tmp_path):
    """While this file is there trainings and checks stay under way: a training at its epoch 10."""
    (tmp_path / "busy").touch()
    return tmp_path / "busy"


def relabel(desk, sample_id, new):
    sample = next(sample for sample in desk.given.samples if sample.id == sample_id)
    change = Change(sample_id, "label", sample.label, new, sample.label, hash_file(sample))
    desk.journal.write([change], actor="ada")


def test_a_training_with_corrected_labels_is_started_followed_stopped_and_compared(studio, busy, window):
    relabel(studio.desk, "benign/001.png", "malignant")
    page = window(studio, "/training")
    expect(page.get_by_role("heading", name="Train with my 1 label change")).to_be_visible()
    page.get_by_label("Name").fill("second")
    page.get_by_role("combobox", name="Mode").select_option("finetune")
    page.get_by_label("Epochs").fill("30")
    page.get_by_role("button", name="Train", exact=True).press("Enter")
    run = page.get_by_role("region", name="second")
    expect(run.locator(".badge")).to_have_text("running")
    expect(run.get_by_text("Now: epoch")).to_be_visible()
    expect(run.get_by_text("images/s")).to_be_visible()
    expect(page.get_by_text("second is under way; one training at a time.")).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()
    # Only the new run: live curves grow.
    page.get_by_role("button", name="second").click()
    expect(page.get_by_role("img", name="loss by epoch")).to_be_visible()
    page.get_by_text("The epochs as a table").click()
    shoot(page, "training-live")
    run.get_by_role("button", name="Stop after this epoch and keep the best").click()
    expect(run.locator(".badge")).to_have_text("done")
    job = next(job for job in studio.desk.jobs.all() if job.folder.name == "second")
    assert job.option("split") == str(studio.desk.runs.resolve() / "first" / "split.csv")
    page.get_by_label("compare first").check()
    table = page.locator(".difference table")
    expect(table.get_by_role("row", name="Accuracy").first).to_contain_text("±0.0 points")
    assert page.url.endswith("runs=second%2Cfirst")
    shoot(page, "training", full=True)


def test_the_newest_run_is_shown_and_one_always_stays_shown(studio, window):
    """Without an address; the box of the only run shown cannot be unticked, and a hint tells of comparing."""
    shutil.copytree(studio.desk.runs / "first", studio.desk.runs / "newer")
    (studio.desk.runs / "newer" / "run.json").touch()
    page = window(studio, "/training")
    expect(page.get_by_role("region", name="newer")).to_be_visible()
    expect(page.get_by_role("region", name="first")).to_have_count(0)
    expect(page.get_by_text("Tick two runs to compare them")).to_be_visible()
    box = page.get_by_role("checkbox", name="compare newer")
    box.press("Space")
    expect(box).to_be_checked()
    expect(page.get_by_role("region", name="newer")).to_be_visible()
    page.get_by_role("checkbox", name="compare first").press("Space")
    expect(page.get_by_role("region", name="first")).to_be_visible()
    expect(page.get_by_text("Tick two runs to compare them")).to_have_count(0)
    box.press("Space")
    expect(page.get_by_role("region", name="newer")).to_have_count(0)


def test_a_run_that_was_just_started_is_shown_at_once(studio, window):
    page = window(studio, "/training")
    page.get_by_role("combobox", name="Settings of").select_option("the defaults")
    page.get_by_label("Name").fill("afresh")
    page.get_by_role("button", name="Train", exact=True).press("Enter")
    expect(page.get_by_role("region", name="afresh")).to_be_visible(timeout=3500)
    expect(page.get_by_role("region", name="first")).to_have_count(0)


def test_a_run_stopped_at_once_can_go_on(studio, busy, window):
    page = window(studio, "/training")
    page.get_by_label("Name").fill("mine")
    page.get_by_role("button", name="Train", exact=True).click()
    run = page.get_by_role("region", name="mine")
    run.get_by_role("button", name="Stop now").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop now").press("Enter")
    expect(run.locator(".badge")).to_have_text("stopped")
    run.get_by_role("button", name="Go on").click()
    expect(run.locator(".badge")).to_have_text("running")


def test_the_check_shows_how_far_it_is_and_what_it_found(studio, busy, window):
    page = window(studio, "/training")
    panel = page.locator(".check")
    panel.get_by_role("button", name="Check now").click()
    expect(panel.get_by_text("Now: inspecting")).to_be_visible()
    expect(panel.get_by_text("of 16 images")).to_be_visible()
    busy.unlink()
    expect(panel.get_by_text("1 finding (0 errors, 1 warning)")).to_be_visible()
    relabel(studio.desk, "benign/001.png", "malignant")
    expect(panel.get_by_text("1 image changed since")).to_be_visible()


def test_where_nothing_is_known_a_button_checks_and_shows_how_far_it_is(studio, busy, window):
    window.expected.append("status of 400")
    page = window(studio, "/duplicates")
    for view in ("Duplicates", "Review"):  # from the second one that is refused: it is under way
        page.get_by_role("link", name=view).click()
        page.get_by_role("button", name="Check the data").press("Enter")
        expect(page.locator(".check").get_by_text("Now: inspecting")).to_be_visible()
    expect(page.locator(".toast")).to_contain_text("is still running, started by")
    busy.unlink()
    expect(page.locator(".check").get_by_text("1 finding (0 errors, 1 warning)")).to_be_visible()


def test_past_runs_show_their_curves_over_each_other(studio, window):
    for name in ("first", "other"):
        if name != "first":
            shutil.copytree(studio.desk.runs / "first", studio.desk.runs / name)
        accuracy = {"train_accuracy": 0.9, "val_accuracy": 0.8, "seconds": 1.0, "images_per_second": 9.0}
        rows = [{"epoch": k, "train_loss": 1 / k, "val_loss": 1 / k, **accuracy} for k in (1, 2, 3)]
        (studio.desk.runs / name / "run.json").touch()
        (studio.desk.runs / name / "history.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    page = window(studio, "/training?runs=first,other")
    expect(page.locator(".curves .ta-legend").first).to_contain_text("firstother")
    expect(page.locator(".difference caption, .difference h2")).to_have_text("first → other")


def test_a_read_only_studio_trains_nothing(trained, photos, open_studio, window):
    page = window(open_studio(photos, run=[trained.folder], read_only=True), "/training")
    expect(page.get_by_text("this studio only reads")).to_be_visible()
    expect(page.get_by_role("button", name="Train", exact=True)).to_be_disabled()


def test_who_may_only_read_is_offered_no_button_that_would_be_refused(studio, busy, open_studio, window):
    """A training and a check are under way in a studio of somebody else."""
    ask(studio.desk, "train_start", name="theirs", mode="finetune")
    ask(studio.desk, "check_start")
    reading = open_studio(studio.desk.data, runs=studio.desk.runs, read_only=True)
    page = window(reading, "/training?runs=theirs")
    run = page.get_by_role("region", name="theirs")
    expect(run.get_by_text("Now: epoch")).to_be_visible()
    expect(page.locator(".check").get_by_text("Now: inspecting")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    ask(studio.desk, "train_stop", run="theirs")
    expect(run.locator(".badge")).to_have_text("stopped")
    expect(run.get_by_role("button", name="Go on")).to_have_count(0)


def test_the_view_is_accessible_and_fits_a_narrow_window(studio, window):
    page = window(studio, "/training?runs=first")
    expect(page.get_by_role("region", name="first")).to_be_visible()
    check_accessible(page)
    check_reflows(page)
