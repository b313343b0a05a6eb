"""What a service may be told, and what it refuses before it starts."""

from pathlib import Path

import pytest

from tellapart.data.addresses import is_loopback
from tellapart.errors import ConfigError
from tellapart.serving.settings import Settings

MODELS = {"lesions": Path("run")}


def test_other_processes_get_the_same_settings():
    settings = Settings(
        {"lesions": Path("run"), "b": Path("/x/y")},
        host="0.0.0.0",
        keys_file=Path("keys.json"),
        allowed_hosts=("a.example",),
        url_scoring=True,
        url_ports=(8080,),
        rate_per_s=2.5,
    )

    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_without_keys_only_this_machine_may_ask(host):
    with pytest.raises(ConfigError, match="needs keys"):
        Settings(MODELS, host=host)
    assert Settings(MODELS, host=host, keys_file=Path("keys.json")).is_loopback is False


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_keys(host):
    assert Settings(MODELS, host=host).is_loopback


def test_names_that_look_like_loopback_are_not():
    assert not is_loopback("localhost.example.org")
    assert not is_loopback("127.0.0.1.example.org")


@pytest.mark.parametrize("name", ["", "../model", "a/b", "a b", ".hidden", "a\n", "x" * 101])
def test_a_models_name_is_safe_in_addresses_and_logs(name):
    with pytest.raises(ConfigError, match="cannot be a model's name"):
        Settings({name: Path("run")})


def test_a_service_needs_a_model():
    with pytest.raises(ConfigError, match="no model to serve"):
        Settings({})


@pytest.mark.parametrize(
    "limits",
    [
        {"workers": 0},
        {"threads": 0},
        {"port": 65536},
        {"max_body_bytes": 0},
        {"max_pixels": -1},
        {"max_wait_ms": float("nan")},
        {"request_timeout_s": 0},
        {"request_timeout_s": float("inf")},
        {"rate_per_s": 0},
        {"queue_size": 31},
        {"precision": "fp16"},
    ],
)
def test_limits_that_cannot_work_are_refused(limits):
    with pytest.raises(ConfigError):
        Settings(MODELS, **limits)


def test_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr("tellapart.serving.settings.n_cores", lambda: 8)

    assert Settings(MODELS).engine_threads == 8
    assert Settings(MODELS, workers=4).engine_threads == 2
    assert Settings(MODELS, workers=20).engine_threads == 1
    assert Settings(MODELS, workers=4, threads=3).engine_threads == 3


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"models": {"a": "b"}, "unknown": 1}', '{"models": 3}'])
def test_damaged_settings_are_told(text):
    with pytest.raises(ConfigError):
        Settings.from_json(text)
