"""How fast which part of the network learns, and when: pure functions of the step and the configuration."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from tellapart.training.config import TrainConfig


def learning_rate_at(step: int, steps_per_epoch: int, config: TrainConfig) -> float:
    """Return the head's learning rate at a step, counted from 0 over all epochs.

    A linear warm-up over `config.warmup_epochs` (half of the training at most), then half a cosine down
    to 0 (Loshchilov and Hutter, ICLR 2017); or, where one rate per epoch was given, that rate.
    """
    if isinstance(config.learning_rate, Sequence):
        return config.learning_rates[min(step // steps_per_epoch, config.epochs - 1)]
    peak = config.learning_rates[0]
    total = config.epochs * steps_per_epoch
    warmup = min(config.warmup_epochs * steps_per_epoch, total // 2)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def head_epochs(config: TrainConfig) -> int:
    """Return how many epochs at the start leave the body as it is: none for a network from scratch."""
    return 0 if config.weights == "none" else config.head_epochs


def parameter_groups(network: nn.Module, config: TrainConfig) -> list[dict[str, object]]:
    """Return an optimizer's groups: the head and the rest, each with and without weight decay.

    Biases and the weights of normalisation layers, all of one dimension, are not decayed. Each group has
    a ``scale``, its part of the head's learning rate: `config.backbone_rate` for pretrained layers.
    """
    head = {id(parameter) for parameter in network.get_submodule("head").parameters()}
    body_scale = 1.0 if config.weights == "none" else config.backbone_rate
    groups: list[dict[str, object]] = []
    for of_head, scale in ((True, 1.0), (False, body_scale)):
        ours = [parameter for parameter in network.parameters() if (id(parameter) in head) == of_head]
        for decayed, decay in ((True, config.weight_decay), (False, 0.0)):
            chosen = [parameter for parameter in ours if (parameter.ndim > 1) == decayed]
            groups.append({"params": chosen, "weight_decay": decay, "scale": scale})
    return groups


def make_optimizer(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return AdamW, or SGD with momentum, over `parameter_groups`; `set_learning_rate` gives the rate."""
    groups = parameter_groups(network, config)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=0.0)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its part of the head's rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def set_mode(network: nn.Module, *, head_only: bool, keep_statistics: bool) -> None:
    """Switch to training mode.

    Parameters
    ----------
    head_only
        Keep the body as it is.
    keep_statistics
        Keep the batch norms' pretrained statistics: those of a few small batches are worse, and would
        change the features under a head that fits them.
    """
    network.train()
    body = network.get_submodule("body")
    body.requires_grad_(not head_only)
    if head_only:
        body.eval()
    elif keep_statistics:
        for module in body.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
