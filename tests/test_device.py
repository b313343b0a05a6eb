"""Which device, and with it which mode; asked without importing torch where the answer is plainly no."""

import ctypes
import sys

import pytest

from tellapart.errors import ConfigError
from tellapart.training import device
from tellapart.training.config import TrainConfig
from tellapart.training.device import device_name, gpu_available, resolve_mode


@pytest.fixture(params=[True, False], ids=["gpu", "no gpu"])
def has_gpu(request, monkeypatch):
    monkeypatch.setattr(device, "gpu_available", lambda: request.param)
    return request.param


def test_auto_trains_the_whole_network_only_with_a_gpu(has_gpu):
    mode, why = resolve_mode(TrainConfig())
    assert mode == ("finetune" if has_gpu else "features")
    assert why.startswith("auto: a GPU" if has_gpu else "auto: no GPU")


@pytest.mark.parametrize("mode", ["features", "finetune"])
def test_a_mode_that_was_asked_for_is_taken(has_gpu, mode):
    assert resolve_mode(TrainConfig(mode=mode)) == (mode, "as asked")


def test_the_processor_can_always_be_asked_for(has_gpu):
    assert device_name(TrainConfig(device="cpu")) == "cpu"
    assert resolve_mode(TrainConfig(device="cpu"))[0] == "features"
    assert device_name(TrainConfig()) == ("cuda" if has_gpu else "cpu")


def test_a_gpu_that_is_not_there_is_refused(has_gpu):
    config = TrainConfig(device="cuda")
    if has_gpu:
        assert device_name(config) == "cuda"
        return
    with pytest.raises(ConfigError, match="torch finds no CUDA device; use --device cpu or auto"):
        device_name(config)
    with pytest.raises(ConfigError, match="no CUDA device"):
        resolve_mode(config)


def test_without_a_driver_torch_is_not_imported(monkeypatch):
    def no_driver(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", no_driver)
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would now fail
    assert gpu_available() is False
