"""A training that somebody wants, as words of the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from tellapart.bundle import SPLIT_FILE
from tellapart.errors import ConfigError
from tellapart.studio.operation import Arguments, Json
from tellapart.studio.shelf import StoredRun

MODES = {
    "auto": "auto: by the machine",
    "features": "features: minutes",
    "finetune": "finetune: all layers",
}
"""Name -> what a page calls it."""

POLICIES = {
    "none": "the picture as it is",
    "light": "mirrored, in half of the cases",
    "standard": "cropped to 70–100 %, mirrored, brightness and contrast ± 20 %",
    "strong": (
        "cropped to 50–100 %, turned and mirrored, brightness, contrast, saturation ± 30 %, "
        "sometimes a part erased"
    ),
}
"""Name -> what it does."""

BACKBONES = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "resnet18",
    "resnet50",
    "mobilenet_v3_large",
    "convnext_tiny",
)
"""Networks that a page suggests; any other can be named."""

_NOT_OPTIONS = ("tensorboard", "precision", "device", "workers")
"""Settings that belong to a machine, or that ``tellapart train`` has no option for."""

_FLAGS = {
    ("balance", True): "--balance",
    ("allow_leaks", True): "--allow-leaks",
    ("near_duplicates", False): "--no-near-duplicates",
}


@cache
def choices() -> Json:
    """Return ``modes``, ``policies``, ``backbones``, and ``defaults`` of the settings that a page offers."""
    from tellapart.training.config import TrainConfig

    defaults = TrainConfig().to_dict()
    offered = ("mode", "backbone", "epochs", "seed", "augment")
    return {
        "modes": MODES,
        "policies": POLICIES,
        "backbones": BACKBONES,
        "defaults": {name: defaults[name] for name in offered},
    }


def train_words(data: Path, out: Path, arguments: Arguments, like: StoredRun | None) -> list[str]:
    """Return ``train DATA --out=OUT …`` for the settings that a page chose.

    Parameters
    ----------
    data, out
        As absolute paths.
    arguments
        ``mode``, ``backbone``, ``epochs``, ``seed``, ``augment``; ``same_test`` keeps the test images of
        `like`.
    like
        A finished run whose other settings are taken over, or None for the defaults.

    Raises
    ------
    ConfigError
        If a setting cannot be used.
    """
    settings = _carried(like.config) if like is not None else {}
    settings["mode"] = arguments.one_of("mode", MODES, "auto")
    settings["seed"] = arguments.integer("seed", 0, high=2**31)
    if arguments.has("backbone"):
        settings["backbone"] = _name(arguments.text("backbone"))
    if arguments.has("epochs"):
        settings["epochs"] = arguments.integer("epochs", low=1, high=10_000)
        if isinstance(settings.get("learning_rate"), list):
            del settings["learning_rate"]  # one rate for each of another number of epochs
    if arguments.has("augment"):
        settings["augment"] = arguments.one_of("augment", POLICIES)
    words = ["train", str(data), f"--out={out}", *_options(settings)]
    if like is not None and arguments.flag("same_test", True):
        split = like.folder.resolve() / SPLIT_FILE
        if not split.is_file():
            raise ConfigError(f"{like.name} has no {SPLIT_FILE}, so its test images are not known")
        words.append(f"--split={split}")
    return words


def _name(backbone: str) -> str:
    if not backbone.strip() or not backbone.isprintable():
        raise ConfigError(f"{backbone!r} is no name of a network; give one such as efficientnet_lite1")
    return backbone.strip()


def _carried(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of an earlier run that are not the defaults of today."""
    from tellapart.training.config import TrainConfig

    defaults = TrainConfig().to_dict()
    known = [field.name for field in fields(TrainConfig) if field.name not in _NOT_OPTIONS]
    return {name: config[name] for name in known if name in config and config[name] != defaults[name]}


def _options(settings: Mapping[str, Any]) -> list[str]:
    words = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(_FLAGS[name, value])
        elif name == "patience" and value is None:
            words.append("--patience=0")
        elif name == "augment" and not isinstance(value, str):
            raise ConfigError(
                "that run was augmented with pipelines of its own, which only a program can use again; "
                "choose one of the named policies"
            )
        elif value is not None:
            words.append(f"{option}={_text(value)}")
    return words


def _text(value: Any) -> str:
    is_list = isinstance(value, Sequence) and not isinstance(value, str)
    return ",".join(f"{rate}*1" for rate in value) if is_list else str(value)
