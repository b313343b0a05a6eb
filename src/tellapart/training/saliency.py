"""Where in an image the answer comes from: Grad-CAM for convolutional networks, occlusion for any model.

A map is a hint, no proof. Maps of several methods stay nearly the same when a network's weights are
replaced by noise (Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018; Grad-CAM is among
those that change), and a warm spot says neither what in it counted nor that it counted rightly.

Grad-CAM needs torch and the bundle's trained weights; occlusion needs the exported model only, so that
this module can be used where torch is not installed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from tellapart.bundle import WEIGHTS_FILE, Bundle
from tellapart.errors import BundleError, ConfigError, MissingExtra
from tellapart.inference import Engine

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tellapart.training.network import Network

Method = Literal["grad-cam", "occlusion"]

N_STEPS = 14
"""Steps in which a patch crosses the image, in each direction; a patch is two steps wide."""

_SMALLEST = 1e-6
"""Probabilities are kept this far from 0 and 1, so that their log-odds stay finite."""


@dataclass(frozen=True, eq=False)
class Saliency:
    """Which parts of an image speak for a class.

    Attributes
    ----------
    map
        float32 of shape (size, size), from 0 to 1 for the part that speaks most for the class; 0
        everywhere where none does.
    class_name
        The class that is explained.
    probability
        Of that class, in [0, 1], as the explained network says.
    method
        How the map was made.
    n_places
        How many places along each edge the map tells apart; it is enlarged from them.
    """

    map: NDArray[np.float32]
    class_name: str
    probability: float
    method: Method
    n_places: int


class Explainer:
    """Explains the answers of one bundle; safe for several threads, one of which works at a time.

    Parameters
    ----------
    bundle
        Whose files are opened when the first map is asked for.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._lock = Lock()

    def explain(
        self, pixels: NDArray[np.uint8], class_name: str | None = None, method: Method | None = None
    ) -> Saliency:
        """Return the map of one image.

        Parameters
        ----------
        pixels
            uint8 of shape (size, size, 3), as the bundle's preprocessing gives.
        class_name
            The class to explain; None takes the most probable one.
        method
            None takes Grad-CAM where it can be had, else occlusion.

        Raises
        ------
        ConfigError
            If there is no such class, or Grad-CAM does not suit this network.
        MissingExtra
            If Grad-CAM is wanted and torch is not installed.
        BundleError
            If the model or its weights are damaged.
        """
        names = self.bundle.card.class_names
        if class_name is not None and class_name not in names:
            raise ConfigError(f"the model knows no class {class_name!r}; it knows {', '.join(names)}")
        index = None if class_name is None else names.index(class_name)
        with self._lock:
            method = method or ("occlusion" if self.why_no_grad_cam else "grad-cam")
            if method == "occlusion":
                heat, index, probability = occlusion(self._engine, pixels, index)
                n_places = N_STEPS
            else:
                self._refuse_if_unsuitable()
                temperature = self.bundle.card.temperature
                heat, index, probability = grad_cam(self._network, pixels, index, temperature)
                n_places = self._n_places
        return Saliency(heat, names[index], probability, method, n_places)

    @cached_property
    def why_no_grad_cam(self) -> str | None:
        """Why Grad-CAM cannot be had for this bundle, in words, or None if it can."""
        if not (find_spec("torch") and find_spec("safetensors")):
            return "torch is not installed here: pip install 'tellapart[train]'"
        if not self.bundle.weights_path.is_file():
            return f"this copy of the model has no {WEIGHTS_FILE}, only its exported graph"
        if not self._n_places:
            return "the network ends in a sequence of tokens, not in a map of features"
        return None

    def _refuse_if_unsuitable(self) -> None:
        if self.why_no_grad_cam is None:
            return
        missing = "torch is not installed" in self.why_no_grad_cam
        refusal = f"no Grad-CAM: {self.why_no_grad_cam}; occlusion works with any model"
        raise MissingExtra(refusal) if missing else ConfigError(refusal)

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.bundle.model_path, threads=2)

    @cached_property
    def _network(self) -> "Network":
        return load_network(self.bundle)

    @cached_property
    def _n_places(self) -> int:
        return feature_map_size(self._network)


def load_network(bundle: Bundle) -> "Network":
    """Return a bundle's trained network in evaluation mode, on the CPU.

    Raises
    ------
    BundleError
        If the weights are missing, damaged or of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from tellapart.training.network import create_network

    card = bundle.card
    bundle.check(WEIGHTS_FILE)
    network = create_network(
        card.backbone["name"],
        weights="none",
        n_classes=len(card.class_names),
        image_size=card.preprocessing.size,
    )
    try:
        network.load_state_dict(load_file(bundle.weights_path))
    except (SafetensorError, RuntimeError, OSError) as exc:
        raise BundleError(f"{bundle.weights_path} does not fit {card.backbone['name']}: {exc}") from exc
    return network.eval()


def grad_cam(
    network: "Network", pixels: NDArray[np.uint8], index: int | None = None, temperature: float = 1.0
) -> tuple[NDArray[np.float32], int, float]:
    """Return the map of Grad-CAM (Selvaraju et al., ICCV 2017), the class and its probability.

    The last map of features, its channels weighted by the mean gradient of the class's score, summed,
    its positive part enlarged to the image. Where a linear layer follows on the mean of that map, as in
    most convolutional networks, this is exactly what each place adds to the score (CAM: Zhou et al.,
    CVPR 2016).

    The score is the class's log-odds against all others rather than its logit alone: that is what decides,
    and the logit of one of two classes may be constant.

    Parameters
    ----------
    network
        In evaluation mode.
    pixels
        uint8 of shape (size, size, 3).
    index
        The class to explain; None takes the most probable one.
    temperature
        By which the logits are divided for the probability.
    """
    import torch
    from torch.nn.functional import interpolate

    batch = torch.from_numpy(pixels.copy())[None]
    with torch.enable_grad(), _last_map(network.body) as seen:
        logits = network(batch)[0] / temperature
        index = int(logits.argmax()) if index is None else index
        others = torch.cat([logits[:index], logits[index + 1 :]])
        features = seen[-1]
        (gradient,) = torch.autograd.grad(logits[index] - others.logsumexp(0), features)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = (weights * features.detach()).sum(dim=1, keepdim=True).clamp(min=0)
    heat = interpolate(heat, pixels.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    probability = float(torch.softmax(logits.detach().double(), 0)[index])
    return _scaled(heat.numpy()), index, probability


def occlusion(
    engine: Engine, pixels: NDArray[np.uint8], index: int | None = None
) -> tuple[NDArray[np.float32], int, float]:
    """Return the map of occlusion (Zeiler and Fergus, ECCV 2014), the class and its probability.

    A patch in the image's mean colour is laid over one place after another. A place's value is how far
    the class's log-odds fall while it is covered, the mean over the patches that cover it.

    Parameters
    ----------
    engine
        Pixels in, probabilities out.
    pixels
        uint8 of shape (size, size, 3).
    index
        The class to explain; None takes the most probable one.
    """
    whole = engine(pixels[None])[0].astype(np.float64)
    index = int(whole.argmax()) if index is None else index
    mean = np.rint(pixels.mean(axis=(0, 1))).astype(np.uint8)
    edges = np.linspace(0, len(pixels), N_STEPS + 1).round().astype(int)
    starts, stops = edges[:-2], edges[2:]
    fall, covered = np.zeros((2, *pixels.shape[:2]))
    for top, bottom in zip(starts, stops, strict=True):
        batch = np.repeat(pixels[None], len(starts), axis=0)
        for i, (left, right) in enumerate(zip(starts, stops, strict=True)):
            batch[i, top:bottom, left:right] = mean
        falls = _log_odds(whole[index]) - _log_odds(engine(batch)[:, index].astype(np.float64))
        for left, right, value in zip(starts, stops, falls, strict=True):
            fall[top:bottom, left:right] += value
            covered[top:bottom, left:right] += 1
    return _scaled(np.clip(fall / covered, 0, None)), index, float(whole[index])


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    safe = np.clip(probability, _SMALLEST, 1 - _SMALLEST)
    odds: NDArray[np.float64] = np.log(safe / (1 - safe))
    return odds


def _scaled(heat: NDArray[np.floating]) -> NDArray[np.float32]:
    """Divide by the highest value, if that is more than rounding leaves."""
    highest = float(heat.max())
    return (heat / highest if highest > 1e-9 else np.zeros_like(heat)).astype(np.float32)


def feature_map_size(network: "Network") -> int:
    """Return the edge of the last map of features, in places; 0 where a network has none."""
    import torch

    size = network.image_size
    with torch.no_grad(), _last_map(network.body) as seen:
        network.body(torch.zeros(1, 3, size, size))
    is_map = bool(seen) and seen[-1].ndim == 4 and seen[-1].shape[2] == seen[-1].shape[3]
    return int(seen[-1].shape[2]) if is_map else 0


@contextmanager
def _last_map(body: "nn.Module") -> Iterator[list["Tensor"]]:
    """Note what modules give, as long as it still has places: the last note is the last map of features.

    A container's note follows those of what it holds, so that sums around a block are in it.
    """
    from torch import Tensor

    seen: list[Tensor] = []

    def note(module: object, given: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim > 2 and output.shape[2:].numel() > 1:
            seen[:] = [output]

    handles = [module.register_forward_hook(note) for module in body.modules()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
