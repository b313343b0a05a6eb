import shutil
import sys

import pytest

from desks import until
from pictures import write_class_folders
from tellapart.data.label_events import Change
from tellapart.data.reader import hash_file
from tellapart.errors import ConfigError, ReadOnly
from tellapart.studio import jobs as jobs_module
from tellapart.studio import trainings
from tellapart.studio.opening import Choices, open_desk
from tellapart.studio.operation import Arguments
from tellapart.studio.operations import perform
from tellapart.studio.recipe import train_words

TRAINER = """
import json, os, sys, time
from pathlib import Path
from tellapart.progress import ProgressFile
out = Path(next(word for word in sys.argv if word.startswith("--out=")).removeprefix("--out="))
(out / "split.csv").write_text("path,label,split\\n")
progress = ProgressFile(Path(os.environ["TELLAPART_PROGRESS"]))
stop, epoch = out / "stop", 0
while not stop.exists() and epoch < 50:
    epoch += 1
    with progress.track(f"epoch {epoch}/50", 8) as advance:
        time.sleep(0.1)
        advance(8)
    row = {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": abs(epoch - 2) / 10, "seconds": 0.1}
    with (out / "history.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")
stop.unlink(missing_ok=True)
(out / "run.json").write_text("{}")
"""


@pytest.fixture
def data(tmp_path):
    return write_class_folders(tmp_path / "photos", {"benign": 12, "malignant": 12})


@pytest.fixture
def desk(data, tmp_path):
    desk, _ = open_desk(data, Choices(actor="ada", runs=tmp_path / "runs"))
    yield desk
    for job in desk.jobs.all():
        job.process.kill_group()


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """Trainings are played by a script: fifty short epochs, of which the second is the best."""
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    monkeypatch.setattr(jobs_module, "PROGRAM", (sys.executable, str(script)))


@pytest.fixture
def shelved(desk, trained):
    """The desk, with a finished run on its shelf."""
    shutil.copytree(trained.folder, desk.runs / "first")
    return desk


def relabel(desk, sample_id, new):
    sample = next(sample for sample in desk.given.samples if sample.id == sample_id)
    change = Change(sample_id, "label", sample.label, new, sample.label, hash_file(sample))
    return desk.journal.write([change], actor=desk.actor)


def test_a_training_under_way_is_followed_and_stopped_with_its_best_kept(desk, trainer):
    started = perform(desk, "train_start", {"mode": "finetune", "epochs": 50})
    assert started["name"] == "run-1"
    until(lambda: len(perform(desk, "run_history", {"run": "run-1"})["rows"]) >= 3)
    told = perform(desk, "run_history", {"run": "run-1"})
    assert (told["state"], told["epochs"], told["best_epoch"]) == ("running", 50, 2)
    assert told["left_s"] > 1
    assert perform(desk, "runs", {})["running"] == "run-1"
    with pytest.raises(ConfigError, match="run-1 is still running"):
        perform(desk, "train_start", {"name": "second"})
    perform(desk, "train_stop", {"run": "run-1", "keep": True})
    done = until(lambda: (told := perform(desk, "run_history", {"run": "run-1"}))["state"] == "done" and told)
    assert len(done["rows"]) < 50
    assert not done["stopping"]
    assert perform(desk, "runs", {})["suggested"] == "run-2"


def test_a_training_that_was_stopped_at_once_goes_on(desk, trainer):
    perform(desk, "train_start", {"name": "mine"})
    until(lambda: perform(desk, "run_history", {"run": "mine"})["rows"])
    perform(desk, "train_stop", {"run": "mine"})
    until(lambda: perform(desk, "run_history", {"run": "mine"})["state"] == "stopped")
    again = perform(desk, "train_start", {"resume": "mine"})
    assert again["command"].endswith(" --resume")
    assert perform(desk, "run_history", {"run": "mine"})["state"] == "running"
    with pytest.raises(ConfigError, match="no training that was interrupted"):
        perform(desk, "train_start", {"resume": "mine"})


@pytest.mark.parametrize("name", ["../outside", "a/b", "", ".hidden", "x" * 61, "--force"])
def test_a_run_has_a_plain_name(desk, name):
    with pytest.raises(ConfigError, match="cannot name a run"):
        perform(desk, "train_start", {"name": name})
    assert not desk.runs.exists()


def test_no_run_is_written_over(shelved):
    with pytest.raises(ConfigError, match="exists already; choose another name"):
        perform(shelved, "train_start", {"name": "first"})


def test_a_desk_that_only_reads_trains_nothing(desk):
    desk.read_only = True
    assert "only reads" in perform(desk, "runs", {})["why_not"]
    with pytest.raises(ReadOnly):
        perform(desk, "train_start", {})
    with pytest.raises(ReadOnly):
        perform(desk, "check_start", {})


def test_a_training_like_another_takes_its_settings_and_test_images(shelved, tmp_path):
    run = shelved.shelf.run("first")
    run.config.update(balance=True, patience=None, learning_rate=[0.1, 0.01], near_duplicates=False)
    chosen = {"mode": "finetune", "backbone": "resnet18", "seed": 3, "augment": "light"}
    words = train_words(tmp_path / "photos", tmp_path / "out", Arguments(chosen), run)
    assert words[:2] == ["train", str(tmp_path / "photos")]
    assert set(words[2:]) == {
        f"--out={tmp_path / 'out'}",
        "--mode=finetune",
        "--backbone=resnet18",
        "--seed=3",
        "--augment=light",
        "--weights=none",
        "--image-size=64",
        "--test-size=0.3",
        "--balance",
        "--patience=0",
        "--learning-rate=0.1*1,0.01*1",
        "--no-near-duplicates",
        f"--split={shelved.runs / 'first' / 'split.csv'}",
    }
    apart = train_words(tmp_path, tmp_path, Arguments({"same_test": False, "epochs": 5}), run)
    assert not [word for word in apart if word.startswith(("--split", "--learning-rate"))]


def test_settings_that_make_no_sense_are_refused(desk, tmp_path):
    for wrong in ({"mode": "magic"}, {"backbone": "a\0b"}, {"epochs": 0}, {"seed": -1}, {"augment": "x"}):
        with pytest.raises(ConfigError):
            train_words(tmp_path, tmp_path, Arguments(wrong), None)


@pytest.mark.slow
def test_training_again_with_corrected_labels_on_the_same_test_images(desk, data):
    for name in ("000", "001", "002"):
        (data / "benign" / f"{name}.png").rename(data / "malignant" / f"wrong{name}.png")
    wrong, _ = open_desk(data, Choices(actor="ada", runs=desk.runs))
    settings = {"mode": "features", "backbone": "efficientnet_lite0"}
    perform(wrong, "train_start", {**settings, "name": "before"})
    until(lambda: perform(wrong, "run_history", {"run": "before"})["state"] == "done", 120)
    for sample in wrong.given.samples:
        if "wrong" in sample.id:
            relabel(wrong, sample.id, "benign")
    perform(wrong, "train_start", {**settings, "name": "after", "like": "before"})
    told = until(lambda: (t := perform(wrong, "run_history", {"run": "after"}))["state"] == "done" and t, 120)
    assert [stage["description"].strip() for stage in told["stages"]]
    rows = {row["name"]: row for row in perform(wrong, "runs", {})["runs"]}
    assert rows["after"]["corrections"]["relabelled"] == 3
    difference = perform(wrong, "run_difference", {"before": "before", "after": "after"})
    assert difference["n"] == difference["n_before"] == difference["n_after"]


def test_the_journal_of_the_desk_is_the_one_that_a_training_reads(data, tmp_path):
    here, _ = open_desk(data, Choices(actor="ada"))
    assert trainings.environment(here) == {}
    place = tmp_path / "elsewhere" / "labels.sqlite"
    elsewhere, _ = open_desk(data, Choices(actor="ada", journal=place))
    assert trainings.environment(elsewhere) == {"TELLAPART_JOURNAL": str(place)}


def test_the_file_that_stops_a_training_is_the_one_that_training_looks_for():
    from tellapart.training.finetune import STOP_FILE

    assert trainings.STOP == STOP_FILE
