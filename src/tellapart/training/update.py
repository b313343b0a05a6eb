"""One step of learning: forward, loss, backward, new weights; in mixed precision where that is faster."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tellapart.training import schedule
from tellapart.training.config import TrainConfig


class Update:
    """A network with its loss and optimizer.

    Parameters
    ----------
    network
        On its device.
    config
        Optimizer, precision and label smoothing.
    class_weights
        float32 of shape (n_classes,) for the loss, or None.
    """

    def __init__(self, network: nn.Module, config: TrainConfig, class_weights: Tensor | None = None) -> None:
        self.network, self.label_smoothing = network, config.label_smoothing
        self.device = next(network.parameters()).device
        self.class_weights = None if class_weights is None else class_weights.to(self.device)
        self.optimizer = schedule.make_optimizer(network, config)
        self.amp_type = amp_type(config, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp_type == torch.float16)

    def __call__(self, pixels: Tensor, targets: Tensor, learning_rate: float) -> tuple[Tensor, Tensor]:
        """Learn from one batch; return its mean loss and how many images were right, both on the device."""
        pixels = pixels.to(self.device, non_blocking=True)
        targets = targets.to(self.device, non_blocking=True)
        schedule.set_learning_rate(self.optimizer, learning_rate)
        with torch.autocast(self.device.type, self.amp_type, enabled=self.amp_type is not None):
            logits = self.network(pixels)
        logits = logits.float()
        loss = cross_entropy(logits, targets, self.class_weights, label_smoothing=self.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), (logits.detach().argmax(1) == targets).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, beside the network's weights."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])


def amp_type(config: TrainConfig, device: torch.device) -> torch.dtype | None:
    """Return the type of mixed precision, or None; a CPU has it only if asked, as it is mostly slower."""
    if config.precision == "fp32" or (config.precision == "auto" and device.type == "cpu"):
        return None
    has_bfloat16 = device.type == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if has_bfloat16 else torch.float16


def balanced_class_weights(targets: NDArray[np.int64], n_classes: int) -> Tensor:
    """Return float32 weights inverse to the classes' frequencies: 1 on average over images, 0 if empty."""
    counts = np.bincount(targets, minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes, dtype=np.float32)
    weights[present] = len(targets) / (present.sum() * counts[present])
    return torch.from_numpy(weights)
