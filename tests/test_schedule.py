import pytest
import torch
from torch import nn

from tellapart.training import schedule
from tellapart.training.config import TrainConfig


def small_network():
    network = nn.Module()
    network.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network.dropout = nn.Dropout(0.5)
    network.head = nn.Linear(4, 2)
    return network


def rates(config, steps_per_epoch):
    steps = range(config.epochs * steps_per_epoch)
    return [schedule.learning_rate_at(step, steps_per_epoch, config) for step in steps]


def test_warm_up_is_linear_and_cosine_falls_to_nearly_zero():
    config = TrainConfig(epochs=3, warmup_epochs=1, learning_rate=0.1)
    # Two steps up; then four of a cosine: (1 + cos(0, 45, 90, 135 degrees)) / 2.
    expected = [0.05, 0.1, 0.1, 0.0853553, 0.05, 0.0146447]
    assert rates(config, 2) == pytest.approx(expected, abs=1e-6)
    assert rates(config, 500)[-1] < 1e-6


def test_without_warm_up_the_peak_comes_first():
    found = rates(TrainConfig(epochs=4, warmup_epochs=0, learning_rate=0.1), 3)
    assert found[0] == 0.1
    assert found == sorted(found, reverse=True)


def test_warm_up_takes_half_of_the_training_at_most():
    found = rates(TrainConfig(epochs=2, warmup_epochs=9, learning_rate=0.1), 2)
    assert found == pytest.approx([0.05, 0.1, 0.1, 0.05])


def test_a_rate_per_epoch_is_taken_as_given():
    config = TrainConfig(learning_rate=[0.05] * 7 + [0.005] * 7 + [0.0005], optimizer="sgd")
    assert config.epochs == 15
    assert rates(config, 2) == [0.05] * 14 + [0.005] * 14 + [0.0005] * 2


def test_the_body_learns_more_slowly_and_only_matrices_decay():
    network = small_network()
    groups = schedule.parameter_groups(network, TrainConfig(backbone_rate=0.1, weight_decay=0.02))
    found = {
        id(parameter): (group["scale"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }
    convolution, norm = network.body
    assert found == {
        id(network.head.weight): (1.0, 0.02),
        id(network.head.bias): (1.0, 0.0),
        id(convolution.weight): (0.1, 0.02),
        id(convolution.bias): (0.1, 0.0),
        id(norm.weight): (0.1, 0.0),
        id(norm.bias): (0.1, 0.0),
    }


def test_a_network_from_scratch_learns_everywhere_at_once():
    config = TrainConfig(weights="none", backbone_rate=0.1, head_epochs=2)
    assert schedule.head_epochs(config) == 0
    assert {group["scale"] for group in schedule.parameter_groups(small_network(), config)} == {1.0}
    assert schedule.head_epochs(TrainConfig(head_epochs=2)) == 2


def test_the_optimizer_gets_its_rates_and_momentum():
    config = TrainConfig(optimizer="sgd", momentum=0.8, backbone_rate=0.5)
    optimizer = schedule.make_optimizer(small_network(), config)
    schedule.set_learning_rate(optimizer, 0.2)

    assert isinstance(optimizer, torch.optim.SGD)
    assert {group["momentum"] for group in optimizer.param_groups} == {0.8}
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.2, 0.1, 0.1]
    assert isinstance(schedule.make_optimizer(small_network(), TrainConfig()), torch.optim.AdamW)


def test_head_only_mode_freezes_the_body_with_its_statistics():
    network = small_network()
    schedule.set_mode(network, head_only=True, keep_statistics=False)
    before = network.body[1].running_mean.clone()
    network.head(network.body(torch.rand(2, 3, 5, 5)).mean((2, 3))).sum().backward()

    assert torch.equal(network.body[1].running_mean, before)
    assert all(parameter.grad is None for parameter in network.body.parameters())
    assert network.head.weight.grad is not None
    assert network.dropout.training

    schedule.set_mode(network, head_only=False, keep_statistics=True)
    assert not network.body[1].training
    assert network.body[0].training

    schedule.set_mode(network, head_only=False, keep_statistics=False)
    assert network.body[1].training
    assert all(parameter.requires_grad for parameter in network.parameters())
