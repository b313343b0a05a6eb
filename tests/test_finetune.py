import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pictures import write_class_folders
from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.errors import ConfigError, TrainingError
from tellapart.training import finetune as module
from tellapart.training.config import TrainConfig
from tellapart.training.finetune import choose_device, finetune, predict_logits
from tellapart.training.validation import validation_figures

# One thread: as quick at this size, and the same rounding in this process and in those it starts.
torch.set_num_threads(1)

RESIZE = Resize(32)
CONFIG = TrainConfig(
    epochs=4, batch_size=8, learning_rate=0.03, backbone_rate=0.5, workers=0, device="cpu", patience=None
)
TIMES = ("seconds", "images_per_second")


class TinyNetwork(nn.Module):
    """Shaped like `tellapart.training.network.Network`, with one convolution."""

    def __init__(self, n_classes=2):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(8, n_classes)

    def forward(self, pixels):
        return self.head(self.dropout(self.body((pixels.permute(0, 3, 1, 2).float() - 128) / 64)))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    dataset = Dataset.from_folder(write_class_folders(folder, {"cup": 16, "plate": 15}, size=(32, 32)))
    return dataset.split(test_size=0.35)


class InterruptedProgress:
    """Stops the process's work in the middle of an epoch, as a signal would."""

    def __init__(self, description):
        self.description = description

    def say(self, message):
        pass

    @contextmanager
    def track(self, description, total, unit="image"):
        def advance(n):
            if description == self.description:
                raise KeyboardInterrupt

        yield advance


def without_times(history):
    return [{name: value for name, value in row.items() if name not in TIMES} for row in history]


def assert_same_weights(network, other):
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_it_learns_and_leaves_the_best_epoch(parts, tmp_path):
    train, val = parts
    network = TinyNetwork()
    result = finetune(network, train, val, CONFIG, RESIZE, out=tmp_path)

    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert history == result.history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert result.history[result.best_epoch - 1]["val_accuracy"] > 0.9
    assert not result.stopped_early
    assert result.images_per_second > 0

    logits = predict_logits(network, val, RESIZE, batch_size=3, workers=0)
    np.testing.assert_allclose(logits, result.val_logits, atol=1e-5)
    best = history[result.best_epoch - 1]
    assert best["val_loss"] == min(row["val_loss"] for row in history)
    assert best["val_loss"] == pytest.approx(validation_figures(logits, val.targets)["val_loss"], abs=1e-5)


def test_only_the_history_and_the_checkpoint_remain(parts, tmp_path):
    finetune(TinyNetwork(), *parts, replace(CONFIG, epochs=1), RESIZE, out=tmp_path)
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"history.jsonl", "checkpoints/last.pt"}


def test_the_network_comes_back_ready_for_export(parts, tmp_path):
    network = TinyNetwork()
    finetune(network, *parts, replace(CONFIG, epochs=1, head_epochs=1), RESIZE, out=tmp_path)
    assert not network.training
    assert all(value.is_contiguous() for value in network.state_dict().values())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_head_epochs_leave_the_body_alone(parts, tmp_path):
    network, untouched = TinyNetwork(), TinyNetwork()
    finetune(network, *parts, replace(CONFIG, epochs=2, head_epochs=2), RESIZE, out=tmp_path)
    assert_same_weights(network.body, untouched.body)
    assert not torch.equal(network.head.weight, untouched.head.weight)


def test_equal_seeds_give_equal_networks_and_others_do_not(parts, tmp_path):
    networks = [TinyNetwork() for _ in range(3)]
    for network, seed, workers in zip(networks, (0, 0, 1), (0, 2, 0), strict=True):
        config = replace(CONFIG, epochs=2, seed=seed, workers=workers)
        torch.rand(seed + workers)
        finetune(network, *parts, config, RESIZE, out=tmp_path)

    assert_same_weights(networks[0], networks[1])
    assert not torch.equal(networks[0].head.weight, networks[2].head.weight)


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(parts, tmp_path, epoch):
    undisturbed, resumed = TinyNetwork(), TinyNetwork()
    expected = finetune(undisturbed, *parts, CONFIG, RESIZE, out=tmp_path / "undisturbed")

    out = tmp_path / "interrupted"
    with pytest.raises(KeyboardInterrupt):
        finetune(
            TinyNetwork(), *parts, CONFIG, RESIZE, out=out, progress=InterruptedProgress(f"epoch {epoch}/4")
        )
    result = finetune(resumed, *parts, CONFIG, RESIZE, out=out, resume=True)

    assert without_times(result.history) == without_times(expected.history)
    assert len((out / "history.jsonl").read_text().splitlines()) == 4
    np.testing.assert_array_equal(result.val_logits, expected.val_logits)
    assert_same_weights(undisturbed, resumed)


def test_a_finished_run_is_not_trained_again(parts, tmp_path):
    config = replace(CONFIG, epochs=2)
    first, second = TinyNetwork(), TinyNetwork()
    expected = finetune(first, *parts, config, RESIZE, out=tmp_path)
    result = finetune(second, *parts, config, RESIZE, out=tmp_path, resume=True)

    assert result.history == expected.history
    assert_same_weights(first, second)


def test_other_data_are_refused_and_a_new_run_forgets_the_old(parts, tmp_path):
    config = replace(CONFIG, epochs=1)
    finetune(TinyNetwork(), *parts, config, RESIZE, out=tmp_path, fingerprint="old")
    with pytest.raises(TrainingError, match="data was 'old' and is 'new'"):
        finetune(TinyNetwork(), *parts, config, RESIZE, out=tmp_path, fingerprint="new", resume=True)
    result = finetune(TinyNetwork(), *parts, config, RESIZE, out=tmp_path, fingerprint="new")
    assert len(result.history) == 1


def test_patience_ends_training_and_the_best_epoch_stays(parts, tmp_path):
    # After the first epoch the rate is so high that validation can only get worse.
    config = replace(CONFIG, learning_rate=[0.01] + [0.6] * 9, optimizer="sgd", patience=2)
    result = finetune(TinyNetwork(), *parts, config, RESIZE, out=tmp_path)

    assert result.stopped_early
    assert len(result.history) == result.best_epoch + 2


def test_balance_helps_the_rare_class(tmp_path):
    folder = write_class_folders(tmp_path / "data", {"common": 40, "rare": 8}, size=(32, 32))
    train, val = Dataset.from_folder(folder).split(test_size=0.5)
    # One slow step at a time from equal probabilities: the loss's weights decide where the head goes first.
    shares = {}
    for balance in (False, True):
        config = replace(
            CONFIG,
            epochs=1,
            head_epochs=1,
            balance=balance,
            learning_rate=0.02,
            label_smoothing=0.0,
            augment="none",
        )
        network = TinyNetwork()
        finetune(network, train, val, config, RESIZE, out=tmp_path / str(balance))
        logits = predict_logits(network, val, RESIZE, workers=0)
        shares[balance] = (logits[:, 1] - logits[:, 0]).mean()
    assert shares[True] > shares[False]


def test_a_loss_that_is_not_finite_ends_the_run(parts, tmp_path):
    config = replace(CONFIG, learning_rate=1e30, optimizer="sgd", warmup_epochs=0, head_epochs=0)
    with pytest.raises(TrainingError, match=r"no longer finite in epoch \d: try a lower --learning-rate"):
        finetune(TinyNetwork(), *parts, config, RESIZE, out=tmp_path)


def test_a_full_gpu_asks_for_smaller_batches(parts, tmp_path, monkeypatch):
    def full(self, pixels):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(TinyNetwork, "forward", full)
    with pytest.raises(TrainingError, match="batch of 8: try --batch-size 4"):
        finetune(TinyNetwork(), *parts, CONFIG, RESIZE, out=tmp_path)


def test_pixels_that_are_too_many_are_decoded_anew(parts, tmp_path, monkeypatch):
    config = replace(CONFIG, epochs=2)
    kept, anew = TinyNetwork(), TinyNetwork()
    finetune(kept, *parts, config, RESIZE, out=tmp_path / "kept")
    monkeypatch.setattr(module, "STORE_LIMIT_BYTES", 0)
    finetune(anew, *parts, config, RESIZE, out=tmp_path / "anew")
    assert_same_weights(kept, anew)


def test_the_old_schedule_runs(parts, tmp_path):
    config = replace(CONFIG, learning_rate=[0.05] * 2 + [0.005], optimizer="sgd", momentum=0.9)
    result = finetune(TinyNetwork(), *parts, config, RESIZE, out=tmp_path)
    assert [row["learning_rate"] for row in result.history] == [0.05, 0.05, 0.005]


def test_cuda_without_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr("tellapart.training.device.gpu_available", lambda: False)
    assert choose_device(TrainConfig()) == torch.device("cpu")
    with pytest.raises(ConfigError, match="device is 'cuda'"):
        choose_device(TrainConfig(device="cuda"))


def train_for_long(data, out):
    """What the killed process runs; see below."""
    train, val = Dataset.from_folder(data).split(test_size=0.35)
    finetune(TinyNetwork(), train, val, replace(CONFIG, epochs=40), RESIZE, out=Path(out))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_goes_on_as_if_nothing_had_happened(tmp_path):
    data = write_class_folders(tmp_path / "data", {"cup": 16, "plate": 15}, size=(32, 32))
    train, val = Dataset.from_folder(data).split(test_size=0.35)
    config = replace(CONFIG, epochs=40)
    undisturbed, resumed = TinyNetwork(), TinyNetwork()
    expected = finetune(undisturbed, train, val, config, RESIZE, out=tmp_path / "undisturbed")

    out = tmp_path / "killed"
    code = (
        f"import sys; sys.path[:0] = {[str(Path(__file__).parent), *sys.path]!r}\n"
        f"import test_finetune\ntest_finetune.train_for_long({str(data)!r}, {str(out)!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    history = out / "history.jsonl"
    while process.poll() is None and not (history.exists() and history.read_text().count("\n") >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"

    result = finetune(resumed, train, val, config, RESIZE, out=out, resume=True)
    assert without_times(result.history) == without_times(expected.history)
    assert_same_weights(undisturbed, resumed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_it_learns_on_a_gpu(parts, tmp_path, precision):
    config = replace(CONFIG, device="cuda", precision=precision, workers=2)
    network = TinyNetwork()
    result = finetune(network, *parts, config, RESIZE, out=tmp_path)
    assert result.history[result.best_epoch - 1]["val_accuracy"] > 0.9
    np.testing.assert_allclose(
        predict_logits(network, parts[1], RESIZE, device="cuda", workers=0), result.val_logits, atol=1e-3
    )


def test_a_file_called_stop_ends_the_training_after_the_epoch_under_way(parts, tmp_path):
    class StopsInTheSecond:
        @contextmanager
        def track(self, description, total, unit="image"):
            if description == "epoch 2/4":
                (tmp_path / module.STOP_FILE).touch()
            yield lambda n: None

        def say(self, message):
            pass

    result = finetune(TinyNetwork(), *parts, CONFIG, RESIZE, out=tmp_path, progress=StopsInTheSecond())
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert result.stopped_early
    assert not (tmp_path / module.STOP_FILE).exists()
