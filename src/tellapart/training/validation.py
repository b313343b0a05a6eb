"""What a network says of images that it does not learn from, and how good that is."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy

from tellapart.training.loader import Loader


@torch.inference_mode()
def logits_of(
    network: nn.Module, loader: Loader, device: torch.device, advance: Callable[[int], None]
) -> NDArray[np.float64]:
    """Return logits of shape (n_samples, n_classes), in full precision as the exported model gives them.

    The network is left in evaluation mode.
    """
    network.eval()
    batches = []
    for pixels, _ in loader.epoch():
        batches.append(network(pixels.to(device, non_blocking=True)).cpu())
        advance(len(pixels))
    logits: NDArray[np.float64] = torch.cat(batches).double().numpy()
    return logits


def validation_figures(logits: NDArray[np.float64], y_true: NDArray[np.int64]) -> dict[str, float]:
    """Return ``val_loss`` (plain cross entropy), ``val_accuracy`` and ``val_balanced_accuracy``."""
    y_pred = logits.argmax(axis=1)
    loss = cross_entropy(torch.from_numpy(logits), torch.from_numpy(y_true))
    return {
        "val_loss": loss.item(),
        "val_accuracy": float((y_pred == y_true).mean()),
        "val_balanced_accuracy": balanced_accuracy(y_true, y_pred),
    }


def balanced_accuracy(y_true: NDArray[np.int64], y_pred: NDArray[np.int64]) -> float:
    """Return the mean recall over the classes that occur in `y_true`."""
    support = np.bincount(y_true)
    hits = np.bincount(y_true[y_true == y_pred], minlength=len(support))
    return float((hits[support > 0] / support[support > 0]).mean())
