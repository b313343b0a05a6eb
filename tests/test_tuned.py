"""Fine-tuning as a whole run: its files, its baseline, its folds, and going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tellapart as ta
from pictures import write_class_folders
from tellapart.cli.app import run
from tellapart.errors import ConfigError, TrainingError
from tellapart.training.config import TrainConfig
from tellapart.training.network import create_network

# Images this small are computed sooner than threads can be woken.
torch.set_num_threads(1)

TIMES = ("seconds", "images_per_second")
SMALL = {"mode": "finetune", "backbone": "timm:test_resnet", "image_size": 64, "device": "cpu", "workers": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_class_folders(tmp_path_factory.mktemp("data") / "data", {"cup": 20, "plate": 20})
    (root / "cup" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of weights, so that fine-tuning starts from a network that is not its own."""
    network = create_network("timm:test_resnet", weights="none", n_classes=2, image_size=64, seed=5)
    path = tmp_path_factory.mktemp("weights") / "body.safetensors"
    save_file({key: value.contiguous() for key, value in network.body.state_dict().items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def config(weights):
    return TrainConfig(**SMALL, weights=weights, epochs=2, batch_size=8, test_size=0.3)


@pytest.fixture(scope="module")
def tuned(folder, config, tmp_path_factory):
    return ta.train(ta.Dataset.from_folder(folder), config, tmp_path_factory.mktemp("tuned") / "run")


def history_of(folder):
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]


def test_a_run_leaves_the_promised_files(tuned):
    files = {p.relative_to(tuned.folder).as_posix() for p in tuned.folder.rglob("*") if p.is_file()}
    model = {f"model/{name}" for name in ("model.onnx", "weights.safetensors", "model.json", "README.md")}
    evaluation = {f"evaluation/{name}" for name in ("report.html", "metrics.json", "predictions.csv")}
    beside = {"run.json", "facts.json", "split.csv", "validation.csv", "history.jsonl", "checkpoints/last.pt"}
    assert files == beside | model | evaluation
    assert [entry.path for entry in tuned.dataset.ledger] == ["cup/broken.png"]


def test_the_test_images_were_neither_learned_from_nor_chosen_on(tuned):
    parts = {"train": 24, "val": 4, "test": 12}
    rows = (tuned.folder / "split.csv").read_text().splitlines()[1:]
    assert {name: sum(row.split(",")[2] == name for row in rows) for name in parts} == parts
    assert len(tuned.evaluation.predictions) == 12
    assert tuned.model.card.threshold.chosen_on == tuned.details["chosen_on"] == "validation"
    assert tuned.model.card.dataset["n_samples"] == 24


def test_the_history_tells_of_every_epoch_and_the_best_one_was_kept(tuned):
    rows = history_of(tuned.folder)
    assert [row["epoch"] for row in rows] == [1, 2]
    losses = [row["val_loss"] for row in rows]
    assert tuned.details["best_epoch"] == 1 + int(np.argmin(losses))
    assert json.loads((tuned.folder / "run.json").read_text())["best_epoch"] == tuned.details["best_epoch"]


def test_the_exported_model_gives_the_figures_of_the_run(tuned, folder):
    assert tuned.model.card.parity["n_images"] == 40
    assert 0 <= tuned.model.card.parity["max_difference"] <= 1e-4
    again = ta.evaluate(tuned.folder, ta.Dataset.from_folder(folder)).predictions
    assert again.sample_ids == tuned.evaluation.predictions.sample_ids
    np.testing.assert_allclose(again.y_prob, tuned.evaluation.predictions.y_prob, atol=1e-4)


def test_the_report_shows_the_curves_and_both_rivals(tuned):
    report = (tuned.folder / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "majority class" in report
    assert "frozen features + logistic head" in report
    assert "val_loss" in report or "validation loss" in report.lower()


def test_the_weights_start_another_training(tuned):
    path = tuned.folder / "model" / "weights.safetensors"
    network = create_network("timm:test_resnet", weights=str(path), n_classes=3, image_size=64)
    again = create_network("timm:test_resnet", weights=str(path), n_classes=2, image_size=64, seed=9)
    assert network.fingerprint == again.fingerprint


def test_a_finished_run_is_not_written_over_and_other_settings_do_not_go_on(tuned, folder, config, tmp_path):
    dataset = ta.Dataset.from_folder(folder)
    with pytest.raises(ConfigError, match="holds a finished run"):
        ta.train(dataset, config, tuned.folder)
    unfinished = tmp_path / "run"
    (unfinished / "checkpoints").mkdir(parents=True)
    checkpoint = (tuned.folder / "checkpoints" / "last.pt").read_bytes()
    (unfinished / "checkpoints" / "last.pt").write_bytes(checkpoint)
    with pytest.raises(ConfigError, match="holds an interrupted run; go on with --resume"):
        ta.train(dataset, config, unfinished)
    other = TrainConfig(**{**config.to_dict(), "dropout": 0.5, "augment": "standard"})
    with pytest.raises(TrainingError, match=r"dropout was 0\.2 and is 0\.5.*choose another --out"):
        ta.train(dataset, other, unfinished, resume=True)


def test_three_images_of_a_class_are_enough(config, tmp_path):
    folder = write_class_folders(tmp_path / "data", {"cup": 8, "plate": 3})
    dataset = ta.Dataset.from_folder(folder)
    learned = ta.train(dataset, TrainConfig(**{**config.to_dict(), "epochs": 1}), tmp_path / "run")
    assert learned.evaluation.predictions.y_true.tolist().count(1) == 1


class StoppedAfter:
    """Progress that interrupts, as Ctrl-C would, when something begins for the n-th time."""

    def __init__(self, description, n):
        self.description, self.n = description, n

    def say(self, message):
        pass

    def track(self, description, total, unit="image"):
        from tellapart.progress import SILENT

        self.n -= description == self.description
        if self.n == 0:
            raise KeyboardInterrupt
        return SILENT.track(description, total, unit)


@pytest.mark.slow
def test_an_interrupted_k_fold_goes_on_and_pools_all_folds(folder, config, tmp_path):
    config = TrainConfig(**{**config.to_dict(), "folds": 2})
    dataset = ta.Dataset.from_folder(folder)
    with pytest.raises(KeyboardInterrupt):
        ta.train(dataset, config, tmp_path / "run", progress=StoppedAfter("epoch 2/2", 2))
    assert [row["epoch"] for row in history_of(tmp_path / "run" / "fold-2")] == [1]
    with pytest.raises(ConfigError, match="interrupted run"):
        ta.train(dataset, config, tmp_path / "run")

    first = (tmp_path / "run" / "fold-1" / "checkpoints" / "last.pt").read_bytes()
    resumed = ta.train(dataset, config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "fold-1" / "checkpoints" / "last.pt").read_bytes() == first
    for name in ("fold-1", "fold-2", ""):
        assert [row["epoch"] for row in history_of(tmp_path / "run" / name)] == [1, 2]
    assert len(resumed.evaluation.predictions) == 40
    metrics = json.loads((resumed.folder / "evaluation" / "metrics.json").read_text())
    assert len(metrics["folds"]["accuracy"]["values"]) == 2
    assert resumed.model.card.dataset["n_samples"] == 40
    assert resumed.model.card.parity["max_difference"] <= 1e-4


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_command_goes_on_as_if_nothing_had_happened(folder, weights, tmp_path):
    options = ["--mode", "finetune", "--backbone", "timm:test_resnet", "--weights", weights]
    options += [
        "--image-size",
        "64",
        "--epochs",
        "10",
        "--batch-size",
        "8",
        "--patience",
        "0",
        "--workers",
        "0",
        "--device",
        "cpu",
    ]

    def arguments(out, *more):
        return ["train", str(folder), "--out", str(out), *options, *more]

    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as here, so that sums are added in one order
    process = subprocess.Popen([sys.executable, "-m", "tellapart", *arguments(killed)], env=environment)
    while process.poll() is None and not (killed / "checkpoints" / "last.pt").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"

    assert run(arguments(killed, "--resume")) == 0
    assert run(arguments(undisturbed)) == 0
    assert len(history_of(killed)) == 10
    assert history_of(killed) == history_of(undisturbed)
    assert (killed / "split.csv").read_bytes() == (undisturbed / "split.csv").read_bytes()
    predictions = [(out / "evaluation" / "predictions.csv").read_bytes() for out in (killed, undisturbed)]
    assert predictions[0] == predictions[1]
