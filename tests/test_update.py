import copy

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from tellapart.training.config import TrainConfig
from tellapart.training.update import Update, amp_type, balanced_class_weights

CPU = torch.device("cpu")


def tiny_network():
    torch.manual_seed(0)
    network = nn.Sequential()
    network.body = nn.Linear(3, 4)
    network.head = nn.Linear(4, 2)
    return network


BATCH = torch.rand(8, 3, generator=torch.Generator().manual_seed(0))
TARGETS = (BATCH[:, 0] > 0.5).long()


def test_steps_lower_the_loss_and_count_what_was_right():
    update = Update(tiny_network(), TrainConfig(weights="none", label_smoothing=0.0))
    losses = [update(BATCH, TARGETS, 0.05)[0].item() for _ in range(60)]

    assert losses[0] == pytest.approx(np.log(2), abs=0.2)
    assert losses[-1] < 0.1
    assert update(BATCH, TARGETS, 0.05)[1] == len(TARGETS)


def test_a_rate_of_zero_learns_nothing():
    network = tiny_network()
    before = network.head.weight.clone()
    Update(network, TrainConfig())(BATCH, TARGETS, 0.0)
    assert torch.equal(network.head.weight, before)


def test_class_weights_agree_with_scikit_learn():
    targets = np.array([0, 0, 0, 1, 2, 2])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=targets)
    np.testing.assert_allclose(balanced_class_weights(targets, 3), expected, rtol=1e-6)


def test_an_empty_class_weighs_nothing():
    assert balanced_class_weights(np.array([0, 0, 2]), 4).tolist() == [0.75, 0.0, 1.5, 0.0]


def test_mixed_precision_is_for_gpus_unless_asked_for():
    assert amp_type(TrainConfig(), CPU) is None
    assert amp_type(TrainConfig(precision="fp32"), torch.device("cuda")) is None
    assert amp_type(TrainConfig(precision="amp"), CPU) == torch.bfloat16


def test_mixed_precision_learns_and_keeps_weights_in_full_precision():
    update = Update(tiny_network(), TrainConfig(weights="none", precision="amp", label_smoothing=0.0))
    losses = [update(BATCH, TARGETS, 0.05)[0].item() for _ in range(60)]
    assert losses[-1] < losses[0] / 2
    assert update.network.head.weight.dtype == torch.float32


def test_a_restored_state_goes_on_in_the_same_way():
    first = Update(tiny_network(), TrainConfig())
    first(BATCH, TARGETS, 0.01)
    second = Update(tiny_network(), TrainConfig())
    second.network.load_state_dict(first.network.state_dict())
    second.load_state_dict(copy.deepcopy(first.state_dict()))

    for update in (first, second):
        update(BATCH, TARGETS, 0.01)
    assert torch.equal(first.network.head.weight, second.network.head.weight)
