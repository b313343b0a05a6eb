"""Any image transform, of any library, as a function from RGB pixels to RGB pixels.

No augmentation library is imported here: what an object is, is read from where its class was defined.
"""

import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tellapart.errors import ConfigError

Pixels = NDArray[np.uint8]

FLOAT_RANGE = (-0.1, 1.1)
"""What a float image of 0 to 1 may hold; bicubic resizing overshoots a little, and is clipped."""


@dataclass(frozen=True)
class Pipeline:
    """Transforms, each any callable on an image, applied one after another.

    Attributes
    ----------
    steps
        torchvision transforms (v2 get a uint8 CHW tensor, others a Pillow image), other torch modules (a
        uint8 CHW tensor), Albumentations, imgaug, or functions of a uint8 HWC array. They may return an
        array (HWC), a tensor (CHW) or a Pillow image, of 8 bits or of floats from 0 to 1.
    """

    steps: tuple[Callable[..., Any], ...]

    def __call__(self, pixels: Pixels) -> Pixels:
        """Return uint8 pixels of shape (height, width, 3), RGB; the argument is never written to.

        Raises
        ------
        ConfigError
            If a step returns anything else than a picture with three channels.
        """
        for step in self.steps:
            pixels = _to_pixels(_calling(step)(step, pixels.copy()), step)
        return pixels

    def seeded(self, pixels: Pixels, *key: int) -> Pixels:
        """As calling it, but with a result that depends on the pixels and the key alone.

        Python's, NumPy's and torch's global generators, and those that Albumentations and imgaug keep
        for themselves, are seeded from the key; the global ones are put back afterwards.

        Parameters
        ----------
        pixels
            uint8 of shape (height, width, 3).
        *key
            Whole numbers from 0, such as seed, epoch and index.
        """
        seed = int(np.random.SeedSequence(key).generate_state(1)[0])
        with _global_generators_kept():
            _seed_global_generators(seed)
            for number, step in enumerate(self.steps):
                _seed_own_generator(step, (seed + number) % 2**32)
            return self(pixels)


def as_pipeline(*transforms: Callable[..., Any]) -> Pipeline:
    """Return one pipeline that applies the transforms in turn; pipelines among them are taken apart.

    Raises
    ------
    ConfigError
        If one of them cannot be called.
    """
    steps: list[Callable[..., Any]] = []
    for transform in transforms:
        if not callable(transform):
            raise ConfigError(
                f"{transform!r} is no pipeline; give a function or transform of RGB uint8 arrays"
            )
        steps += transform.steps if isinstance(transform, Pipeline) else [transform]
    return Pipeline(tuple(steps))


def pipeline_name(transform: object) -> str:
    """Return what a transform is called: the same in every process, without memory addresses."""
    name = getattr(transform, "__qualname__", None) or repr(transform)
    return " ".join(re.sub(r" at 0x[0-9a-fA-F]+", "", str(name)).split())


def _with_array(step: Callable[..., Any], pixels: Pixels) -> Any:
    return step(pixels)


def _with_image_keyword(step: Callable[..., Any], pixels: Pixels) -> Any:
    result = step(image=pixels)
    return result["image"] if isinstance(result, dict) else result


def _with_picture(step: Callable[..., Any], pixels: Pixels) -> Any:
    return step(Image.fromarray(pixels))


def _with_tensor(step: Callable[..., Any], pixels: Pixels) -> Any:
    # Whoever made a torch module has imported torch; this layer runs without it and imports it nowhere.
    return step(sys.modules["torch"].from_numpy(pixels).permute(2, 0, 1))


_CALLS: dict[str, Callable[[Callable[..., Any], Pixels], Any]] = {
    "albumentations": _with_image_keyword,
    "imgaug": _with_image_keyword,
    "torchvision.transforms.v2": _with_tensor,
    "torchvision": _with_picture,
    "torch": _with_tensor,
}
"""How to call a transform by the package of its class or a base class; the first that fits counts."""


def _calling(step: Callable[..., Any]) -> Callable[[Callable[..., Any], Pixels], Any]:
    modules = {f"{base.__module__}." for base in type(step).__mro__}
    for package, call in _CALLS.items():
        if any(module.startswith(f"{package}.") for module in modules):
            return call
    return _with_array


def _to_pixels(result: Any, step: object) -> Pixels:
    if isinstance(result, Image.Image):
        return np.array(result.convert("RGB"))
    is_tensor = hasattr(result, "detach")
    array = np.asarray(result.detach().cpu().numpy() if is_tensor else result)
    if is_tensor and array.ndim == 3:
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise _unusable(step, f"{type(result).__name__} of shape {np.shape(result)}")
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not FLOAT_RANGE[0] <= low <= high <= FLOAT_RANGE[1]:
            raise _unusable(step, f"floats from {low:.3g} to {high:.3g}")
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise _unusable(step, f"{type(result).__name__} of type {array.dtype}")
    return np.ascontiguousarray(array)


def _unusable(step: object, returned: str) -> ConfigError:
    return ConfigError(
        f"pipeline {pipeline_name(step)} returned {returned}; it must return an RGB picture with three "
        "channels, of uint8 or of floats from 0 to 1 (leave normalisation out: the network does it)"
    )


@contextmanager
def _global_generators_kept() -> Iterator[None]:
    python_state, numpy_state, torch = random.getstate(), np.random.get_state(), sys.modules.get("torch")
    torch_state = torch.default_generator.get_state() if torch else None
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        if torch:
            torch.default_generator.set_state(torch_state)


def _seed_global_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    if torch := sys.modules.get("torch"):
        # The generator itself: torch.manual_seed would reseed the GPU's as well, which is slow.
        torch.default_generator.manual_seed(seed)


def _seed_own_generator(step: Callable[..., Any], seed: int) -> None:
    """Seed what Albumentations (from 1.4.19) and imgaug draw from instead of the global generators."""
    if _calling(step) is _with_image_keyword:
        for method in ("set_random_seed", "seed_"):
            if hasattr(step, method):
                getattr(step, method)(seed)
