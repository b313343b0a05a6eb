"""Whether the training half is installed, asked without importing any of it."""

from importlib.util import find_spec

from tellapart.errors import MissingExtra

LIBRARIES = ("torch", "torchvision", "timm", "onnx", "safetensors")


def need_extra() -> None:
    """Raise unless torch and its companions are there.

    Raises
    ------
    MissingExtra
        Naming what is missing.
    """
    missing = [name for name in LIBRARIES if not find_spec(name)]
    if missing:
        raise MissingExtra(
            f"training needs {', '.join(missing)}, which this installation lacks: "
            "pip install 'tellapart[train]'"
        )
