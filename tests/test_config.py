"""TrainConfig: defaults, checks and what it says of itself."""

import json
from pathlib import Path

import numpy as np
import pytest

from tellapart.errors import ConfigError
from tellapart.training.config import TrainConfig


def test_a_rate_per_epoch_sets_the_number_of_epochs():
    config = TrainConfig(learning_rate=[0.05] * 7 + [0.005] * 7 + [0.0005], optimizer="sgd")
    assert config.epochs == 15
    assert config.learning_rates[7] == 0.005
    assert config.has_rate_per_epoch


def test_the_default_rate_depends_on_the_optimizer():
    assert TrainConfig().learning_rates == (1e-3,)
    assert TrainConfig(optimizer="sgd").learning_rates == (1e-2,)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"mode": "both"}, "mode is 'both'; it must be one of auto, features, finetune"),
        ({"epochs": 0}, "epochs is 0"),
        ({"test_size": 1.0}, "test_size is 1.0; it must be a part between 0 and 1"),
        ({"learning_rate": -1.0}, "learning_rate is -1.0"),
        ({"learning_rate": []}, "at least one rate"),
        ({"augment": "wild"}, "augment is 'wild'"),
        ({"folds": 1}, "folds is 1"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"seed": -1}, "seed is -1; it must be a number from 0"),
        ({"patience": 0}, "patience is 0"),
        ({"momentum": 1.5}, "momentum is 1.5"),
        ({"backbone_rate": 0}, "backbone_rate is 0; it must be above 0, at most 1"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_is_accepted(setting, message):
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**setting)


def test_a_path_may_name_the_weights():
    settings = TrainConfig(weights=Path("net.pth")).to_dict()
    assert json.loads(json.dumps(settings))["weights"] == "net.pth"


def test_settings_are_json_even_with_pipelines():
    settings = TrainConfig(augment=[np.fliplr]).to_dict()
    assert "fliplr" in settings["augment"][0]
    assert json.loads(json.dumps(settings))["head"] == "logistic"
