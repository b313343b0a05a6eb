"""The command line: what it prints, its exit status, and one clear line for every mistake."""

import csv
import io
import json
import shutil
import subprocess
import sys

import pytest

from graphs import leave_to_a_person
from pictures import write_class_folders
from tellapart.cli.app import run
from tellapart.cli.train import _rates
from tellapart.errors import ConfigError


def test_train_prints_figures_and_where_things_lie(photos, tmp_path, capsys):
    status = run(["train", str(photos), "--out", str(tmp_path / "run"), "--image-size", "64"])
    printed = capsys.readouterr()
    assert status == 0
    assert "accuracy" in printed.out
    assert str(tmp_path / "run" / "evaluation" / "report.html") in printed.out
    assert "2 files are not used" in printed.err
    assert "benign/broken.jpg: damaged" in printed.err
    assert "mode features (auto: no GPU" in printed.err


def test_an_interrupted_training_says_how_to_go_on(photos, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tellapart.api.train", interrupted)
    assert run(["train", str(photos), "--out", str(tmp_path / "run")]) == 130
    assert capsys.readouterr().err == "error: interrupted; the same command with --resume goes on\n"


def test_predict_in_three_formats(trained, photos, capsys):
    images = [str(photos / "benign" / "000.png"), str(photos / "malignant" / "000.png")]
    assert run(["predict", str(trained.folder), *images]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["benign", "malignant"]
    assert run(["predict", str(trained.folder), *images, "--format", "json"]) == 0
    items = json.loads(capsys.readouterr().out)
    assert [item["label"] for item in items] == ["benign", "malignant"]
    assert sum(items[0]["probabilities"].values()) == pytest.approx(1)
    assert run(["predict", str(trained.folder), *images, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["predicted"] for row in rows] == ["benign", "malignant"]
    assert float(rows[0]["prob_benign"]) > 0.5
    assert [row["abstained"] for row in rows] == ["false", "false"]


def test_predict_says_where_a_person_is_to_decide(trained, photos, capsys, tmp_path):
    copy = shutil.copytree(trained.folder / "model", tmp_path / "copy")
    leave_to_a_person(copy)
    images = [str(photos / "benign" / name) for name in ("000.png", "broken.jpg")]
    assert run(["predict", str(copy), images[0]]) == 0
    assert "(a person is to decide)" in capsys.readouterr().out
    assert run(["predict", str(copy), *images, "--format", "json"]) == 1
    assert [item.get("abstained") for item in json.loads(capsys.readouterr().out)] == [True, None]
    assert run(["predict", str(copy), *images, "--format", "csv"]) == 1
    good, bad = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (good["abstained"], bad["abstained"], bad["prob_benign"]) == ("true", "", "")


def test_predict_takes_folders_and_a_list(trained, photos, capsys, monkeypatch):
    assert run(["predict", str(trained.folder), str(photos / "malignant"), "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 41
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{photos / 'benign' / '000.png'}\n\n"))
    assert run(["predict", str(trained.folder), "-"]) == 0
    assert capsys.readouterr().out.startswith("benign")


def test_predict_goes_on_after_a_bad_file_and_exits_1(trained, photos, capsys):
    images = [photos / "benign" / "broken.jpg", photos / "nowhere.jpg", photos / "benign" / "000.png"]
    assert run(["predict", str(trained.folder), *map(str, images), "--format", "json"]) == 1
    items = json.loads(capsys.readouterr().out)
    assert ["error" in item for item in items] == [True, True, False]


def test_an_empty_folder_is_told_before_the_first_answer(trained, photos, tmp_path, capsys):
    images = [str(photos / "benign" / "000.png"), str(tmp_path)]
    assert run(["predict", str(trained.folder), *images, "--format", "json"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"no images in the folder {tmp_path}" in printed.err


def test_export_prints_agreement(trained, tmp_path, capsys):
    arguments = [
        "export",
        str(trained.folder),
        "--out",
        str(tmp_path / "x"),
        "--precision",
        "int8",
        "--force",
    ]
    assert run(arguments) == 0
    assert "the same class on" in capsys.readouterr().out


def test_merge_joins_classes(tmp_path, capsys):
    folder = write_class_folders(tmp_path / "data", {"mel": 12, "bcc": 12, "nv": 12})
    arguments = ["train", str(folder), "--out", str(tmp_path / "run"), "--image-size", "64"]
    assert run([*arguments, "--merge", "malignant=mel,bcc", "--positive", "malignant"]) == 0
    assert json.loads((tmp_path / "run" / "model" / "model.json").read_text())["class_names"] == [
        "malignant",
        "nv",
    ]
    assert run([*arguments, "--merge", "malignant"]) == 1
    assert "write NEW=OLD,OLD" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["train", "nowhere", "--out", "x"], 1, "nowhere does not exist; give a folder"),
        (["train", "{photos}", "--out", "x", "--backbone", "resnet19"], 1, "resnet18"),
        (["train", "{photos}", "--out", "x", "--test-size", "2"], 1, "test_size is 2.0; it must be"),
        (["train", "{photos}", "--out", "x", "--mode", "both"], 2, "both"),
        (["train", "{photos}"], 2, "--out"),
        (["train", "{photos}", "--out", "x", "--group-by", "patient"], 1, "no metadata column 'patient'"),
        (["train", "{photos}", "--out", "x", "--learning-rate", "fast"], 1, "learning rate 'fast'"),
        (["train", "{photos}", "--out", "x", "--seed", "-1"], 2, "'--seed'"),
        (["train", "{photos}", "--out", "x", "--group-by", "group"], 1, "no metadata column 'group'"),
        (["train", "{photos}", "--out", "x", "--target-sensitivity", "95"], 1, "target_sensitivity is 95"),
        (["train", "{photos}", "--out", "x", "--weights", "gone.pth"], 1, "gone.pth"),
        (["train", "{photos}", "--out", "x", "--image-size", "100"], 1, "multiple of 32"),
        (["train", "{photos}", "--out", "x", "--split", "gone.csv"], 1, "no split file at gone.csv"),
        (["evaluate", "nowhere", "{photos}", "--out", "x"], 1, "no model at nowhere"),
        (["predict", "nowhere", "a.jpg"], 1, "no model at nowhere"),
        (["export", "nowhere", "--out", "x"], 1, "no model at nowhere"),
        (["demo", "--out", "{photos}"], 1, "not empty"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_a_mistake_is_one_clear_line(photos, tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    assert run([a.replace("{photos}", str(photos)) for a in arguments]) == status
    err = capsys.readouterr().err
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert not (tmp_path / "x").exists() or not any((tmp_path / "x").rglob("model.json"))


def test_a_full_disk_is_one_clear_line(photos, tmp_path, monkeypatch, capsys):
    from tellapart.training import run as training_run

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(training_run, "write_split", full)
    assert run(["train", str(photos), "--out", str(tmp_path / "run"), "--image-size", "64"]) == 1
    assert "the disk is full: somewhere; free some space" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("0.001", 0.001),
        ("0.05*7,0.005*7,0.0005", [0.05] * 7 + [0.005] * 7 + [0.0005]),
        ("[0.05]*2+[0.005]", [0.05, 0.05, 0.005]),
    ],
)
def test_a_learning_rate_schedule(text, rates):
    assert _rates(text) == rates


def test_an_unreadable_schedule():
    with pytest.raises(ConfigError, match="one rate per epoch"):
        _rates("0.05*x")


def test_python_m_is_the_same_program():
    done = subprocess.run([sys.executable, "-m", "tellapart", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[0]) == (0, "tellapart")
