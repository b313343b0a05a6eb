"""All that a killed fine-tuning needs to go on as if nothing had happened."""

import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tellapart.data.pipelines import pipeline_name
from tellapart.errors import TrainingError
from tellapart.training.config import TrainConfig

ANYTIME = frozenset({"device", "workers", "tensorboard", "head", "positive", "target_sensitivity"})
"""Settings that may differ when a fine-tuning goes on: they do not change what is learned."""


@dataclass(eq=False)
class Checkpoint:
    """The state of a fine-tuning after a whole epoch.

    Attributes
    ----------
    settings
        See `settings_of`.
    network, update
        State dictionaries.
    history
        One row per epoch so far.
    best_network, best_logits
        State and validation logits, shape (n_val, n_classes), of the epoch with the lowest validation loss.
    """

    settings: dict[str, Any]
    network: dict[str, Tensor]
    update: dict[str, Any]
    history: list[dict[str, float]]
    best_network: dict[str, Tensor]
    best_logits: Tensor

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        with temporary.open("wb") as file:
            torch.save(self.__dict__, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path, settings: Mapping[str, Any]) -> "Checkpoint":
        """Read a checkpoint that was made with these settings, onto the CPU.

        Raises
        ------
        TrainingError
            If the file is damaged, or was made with other settings.
        """
        try:
            checkpoint = cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, EOFError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as exc:
            raise TrainingError(
                f"{path} is damaged or no checkpoint ({type(exc).__name__}); delete it to start anew"
            ) from exc
        _check_same(path, checkpoint.settings, settings)
        return checkpoint


def settings_of(config: TrainConfig, **more: object) -> dict[str, Any]:
    """Return all settings that a checkpoint depends on, as JSON values; `more` adds data and network."""
    settings = {name: value for name, value in config.to_dict().items() if name not in ANYTIME}
    if not isinstance(config.augment, str):
        settings["augment"] = [pipeline_name(pipeline) for pipeline in config.augment]
    plain: dict[str, Any] = json.loads(json.dumps(settings | more, default=str))
    return plain


def _check_same(path: Path, made_with: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    differing = [name for name in wanted if name not in made_with or made_with[name] != wanted[name]]
    if not differing:
        return
    what = ", ".join(
        f"{name} was {_short(made_with.get(name))} and is {_short(wanted[name])}" for name in differing
    )
    raise TrainingError(
        f"{path} cannot go on with other settings: {what}; give the same as before, or choose another --out"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
