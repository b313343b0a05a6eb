"""The studio's views as Jupyter widgets.

>>> from tellapart.notebook import Grid, Results
>>> Grid("photos")  # doctest: +SKIP
>>> Results("runs/first", compare=["runs/second"])  # doctest: +SKIP

Labels go into the same journal as those of `tellapart studio` and `tellapart label`.
"""

from typing import TYPE_CHECKING, Any

from tellapart.errors import MissingExtra

if TYPE_CHECKING:
    from tellapart.notebook.widgets import Augmentations, Grid, Results, Threshold

__all__ = ["Augmentations", "Grid", "Results", "Threshold"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'tellapart.notebook' has no attribute {name!r}")
    try:
        import anywidget  # noqa: F401
    except ModuleNotFoundError as exc:
        raise MissingExtra(
            f"{name} needs anywidget, which is not installed here: pip install 'tellapart[notebook]', then "
            "start Jupyter anew. Without it, `tellapart studio` shows the same in a browser"
        ) from exc
    from tellapart.notebook import widgets

    return getattr(widgets, name)


def __dir__() -> list[str]:
    return sorted(__all__)
