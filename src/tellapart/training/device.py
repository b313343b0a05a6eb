"""Is there a GPU? Asked without importing torch where the answer is plainly no."""

import ctypes
import sys

from tellapart.errors import ConfigError
from tellapart.training.config import TrainConfig


def gpu_available() -> bool:
    """Return whether torch can use a CUDA device; torch is imported only where a driver is installed."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    import torch

    return torch.cuda.is_available()


def device_name(config: TrainConfig) -> str:
    """Return ``"cuda"`` or ``"cpu"``.

    Raises
    ------
    ConfigError
        If CUDA was asked for and there is none.
    """
    if config.device == "cpu":
        return "cpu"
    available = gpu_available()
    if config.device == "cuda" and not available:
        raise ConfigError("device is 'cuda', but torch finds no CUDA device; use --device cpu or auto")
    return "cuda" if available else "cpu"


def resolve_mode(config: TrainConfig) -> tuple[str, str]:
    """Return ``"features"`` or ``"finetune"``, and why."""
    if config.mode != "auto":
        return config.mode, "as asked"
    if device_name(config) == "cuda":
        return "finetune", "auto: a GPU is available, so the whole network is trained"
    return "features", "auto: no GPU, so the network stays frozen and only its head is trained"
