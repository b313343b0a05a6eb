import pytest
import torch

from tellapart.errors import TrainingError
from tellapart.training.checkpoint import Checkpoint, settings_of
from tellapart.training.config import TrainConfig


def make_checkpoint(settings):
    return Checkpoint(
        settings,
        network={"weight": torch.arange(6.0).view(2, 3)},
        update={"optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}},
        history=[{"epoch": 1, "val_loss": 0.5}],
        best_network={"weight": torch.ones(2, 3)},
        best_logits=torch.zeros(4, 2, dtype=torch.float64),
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoints" / "last.pt"
    make_checkpoint(settings_of(TrainConfig(), data="abc")).save(path)
    return path


def test_what_was_saved_comes_back(saved):
    checkpoint = Checkpoint.load(saved, settings_of(TrainConfig(), data="abc"))

    assert torch.equal(checkpoint.network["weight"], torch.arange(6.0).view(2, 3))
    assert torch.equal(checkpoint.best_network["weight"], torch.ones(2, 3))
    assert checkpoint.update["optimizer"]["state"][0]["step"] == 3
    assert checkpoint.history == [{"epoch": 1, "val_loss": 0.5}]
    assert checkpoint.best_logits.dtype == torch.float64


def test_an_interrupted_save_leaves_the_last_checkpoint(saved, monkeypatch):
    def interrupted(state, file):
        file.write(b"half of a")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_checkpoint({}).save(saved)
    assert Checkpoint.load(saved, settings_of(TrainConfig(), data="abc")).history


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (settings_of(TrainConfig(learning_rate=0.01), data="abc"), "learning_rate was None and is 0.01"),
        (settings_of(TrainConfig(), data="other"), "data was 'abc' and is 'other'"),
        (settings_of(TrainConfig(augment=[abs]), data="abc"), r"augment was 'standard' and is \['abs'\]"),
    ],
)
def test_other_settings_are_refused_by_name(saved, settings, message):
    with pytest.raises(TrainingError, match=message):
        Checkpoint.load(saved, settings)


def test_settings_that_do_not_change_what_is_learned_may_differ(saved):
    config = TrainConfig(workers=3, device="cpu", head="svm", target_sensitivity=0.9)
    assert Checkpoint.load(saved, settings_of(config, data="abc"))


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_checkpoint_is_told_plainly(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(TrainingError, match=r"damaged.*delete it to start anew") as caught:
        Checkpoint.load(saved, settings_of(TrainConfig(), data="abc"))
    assert "\n" not in str(caught.value)


def test_a_file_with_other_content_is_no_checkpoint(saved):
    torch.save({"weights": torch.ones(1)}, saved)
    with pytest.raises(TrainingError, match="no checkpoint"):
        Checkpoint.load(saved, {})


def test_settings_are_the_same_in_every_process():
    def own(pixels):
        return pixels

    settings = settings_of(TrainConfig(augment=[own], learning_rate=[0.1, 0.01]), class_names=("a", "b"))
    assert "0x" not in str(settings)
    assert settings["learning_rate"] == [0.1, 0.01]
    assert settings["class_names"] == ["a", "b"]
