"""The one kind of network we train: uint8 pixels in, features in the middle, logits out."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.errors import ConfigError
from tellapart.training.backbones import BackboneSpec, find_backbone, resolve_image_size
from tellapart.training.heads import LinearHead
from tellapart.training.memory import keep_freed_memory
from tellapart.training.weights import load_weights, pretrained_timm

HEAD_STD = 0.01
"""Spread of a new head's weights: small, so that training starts from nearly equal probabilities."""

_WITHOUT_AUXILIARIES = {"aux_logits": False, "init_weights": True, "transform_input": False}
_TORCHVISION_OPTIONS = {"googlenet": _WITHOUT_AUXILIARIES, "inception_v3": _WITHOUT_AUXILIARIES}


class Network(nn.Module):
    """A backbone without its classifier, and a new head.

    Normalisation is inside, so whatever feeds the network deals in plain pixels. Its state is
    ``body.*``, ``head.weight`` and ``head.bias``.

    Attributes
    ----------
    spec
        The backbone.
    image_size
        Edge in pixels.
    n_features
        Length of the feature vector.
    body
        Normalised float32 (n, 3, image_size, image_size) in, pooled features (n, n_features) out. Dropout
        that some networks have between their hidden classifier layers (AlexNet, VGG) stays in it.
    dropout, head
        What follows the features.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, spec: BackboneSpec, body: nn.Module, *, image_size: int, n_classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.spec, self.image_size = spec, image_size
        self.n_features = _count_features(spec, body, image_size)
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.n_features, n_classes)
        self.register_buffer("mean", torch.tensor(spec.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std).view(1, 3, 1, 1), persistent=False)

    def embed(self, pixels: Tensor) -> Tensor:
        """Return features of shape (n, n_features) for uint8 RGB pixels of shape (n, height, width, 3)."""
        # The permuted view is already in channels-last order, the faster one on CPU and GPU alike.
        images = (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        features: Tensor = self.body(images)
        return features

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits of shape (n, n_classes) for uint8 RGB pixels of shape (n, height, width, 3)."""
        logits: Tensor = self.head(self.dropout(self.embed(pixels)))
        return logits

    def set_head(self, head: LinearHead) -> None:
        """Take a fitted linear head for its own."""
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(head.weight))
            self.head.bias.copy_(torch.from_numpy(head.bias))

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 of the backbone's name and the body's present weights and running statistics."""
        digest = hashlib.sha256(self.spec.name.encode())
        for tensor in self.body.state_dict().values():
            if tensor.is_floating_point():
                digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
        return digest.hexdigest()


def create_network(
    name: str,
    *,
    weights: str,
    n_classes: int,
    image_size: int | None = None,
    dropout: float = 0.0,
    seed: int = 0,
) -> Network:
    """Build a backbone with weights and a new head, in training mode, on the CPU.

    Parameters
    ----------
    name
        See `tellapart.training.backbones.find_backbone`.
    weights
        ``"imagenet"``, ``"none"``, or a file: see `tellapart.training.weights.load_weights`.
    image_size
        Edge in pixels; None takes the network's own.
    dropout
        Between features and head, in [0, 1).
    seed
        Of everything that is drawn at random; torch's global generator is left as it was.

    Raises
    ------
    UnknownBackbone, WeightsError
        If there is no such network, or no such weights for it.
    ConfigError
        If the network does not take images of that size.
    """
    keep_freed_memory()
    spec = find_backbone(name)
    image_size = resolve_image_size(spec, image_size)
    with _seeded(seed):
        if spec.library == "timm" and weights == "imagenet":
            body = pretrained_timm(spec)
        else:
            body = _build_body(spec)
            load_weights(body, spec, weights)
        network = Network(spec, body, image_size=image_size, n_classes=n_classes, dropout=dropout)
    # A generator of its own makes the head the same whatever the body drew.
    nn.init.trunc_normal_(network.head.weight, std=HEAD_STD, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(network.head.bias)
    return network.train()


def on_device(network: Network, device: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Move a network to a device and return its features as a function on NumPy arrays.

    The function takes uint8 (n, image_size, image_size, 3) and returns float32 (n, n_features); threads
    may share it.
    """
    network.to(device).eval()

    def featurise(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            features = network.embed(torch.from_numpy(np.ascontiguousarray(pixels)).to(device))
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result

    return featurise


def _build_body(spec: BackboneSpec) -> nn.Module:
    if spec.library == "torchvision":
        from torchvision.models import get_model

        options = _TORCHVISION_OPTIONS.get(spec.library_name, {})
        return _without_classifier(get_model(spec.library_name, weights=None, **options))
    import timm

    body: nn.Module = timm.create_model(spec.library_name, num_classes=0)
    return body


def _without_classifier(network: nn.Module) -> nn.Module:
    """Replace the last layer by the identity, with the dropout before and the activation after it.

    In all of torchvision's classifiers the layer that was registered last is the classifier: a linear
    layer, or in SqueezeNet a convolution that is followed by an activation and pooling.
    """
    leaves = [(name, module) for name, module in network.named_modules() if not list(module.children())]
    layers = [i for i, (_, module) in enumerate(leaves) if isinstance(module, nn.Linear | nn.Conv2d)]
    start = layers[-1]
    if isinstance(leaves[start - 1][1], nn.Dropout):
        start -= 1
    for name, module in leaves[start:]:
        if not isinstance(module, nn.AdaptiveAvgPool2d):
            network.set_submodule(name, nn.Identity())
    return network


def _count_features(spec: BackboneSpec, body: nn.Module, image_size: int) -> int:
    """Run one blank image through the body: it also shows whether the network takes that size."""
    training = body.training
    try:
        with torch.no_grad():
            features = body.eval()(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, AssertionError, ValueError) as exc:
        raise ConfigError(
            f"{spec.name} does not take images of {image_size} px ({exc}); its own size is {spec.image_size}"
        ) from exc
    body.train(training)
    if features.ndim != 2:
        raise ConfigError(
            f"{spec.name} gives features of shape {tuple(features.shape)} instead of one vector per image; "
            "choose another network, such as efficientnet_lite0"
        )
    return int(features.shape[1])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
