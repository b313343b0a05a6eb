"""Grid, Results, Threshold and Augmentations: a view of the studio each, in a cell of a notebook."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import anywidget
import traitlets

from tellapart.data.dataset import Dataset
from tellapart.errors import ConfigError
from tellapart.notebook.esm import script, styles
from tellapart.notebook.host import Host
from tellapart.process import this_user
from tellapart.studio.opening import Choices, open_desk

if TYPE_CHECKING:
    from tellapart.training.run import Run

Place = str | os.PathLike[str]


class View(anywidget.AnyWidget):
    """A view of the studio as a widget; use one of the four below.

    Parameters
    ----------
    target
        A folder with one folder per class, a manifest, or a run: its folder, or what `tellapart.train`
        returned.
    compare
        Further runs to show, or to compare with.
    user
        Who decides; the name is kept with every label. Default: the user of this computer.
    journal
        Where labels are kept; default: where ``tellapart label`` and ``tellapart studio`` keep them.
    findings
        What ``tellapart check DATA --json FILE`` wrote.
    read_only
        Whether nothing may be written.
    start
        What to show first, as it stands behind the question mark of the studio's address:
        ``"label=malignant&sort=error"``.
    height
        Of the grid, in pixels; other views are as tall as they need.

    Raises
    ------
    TellapartError
        If something named is not there, or not what it should be.
    """

    views: ClassVar[tuple[str, ...]] = ()
    """The view that is shown, and those that it can go to."""

    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)
    start = traitlets.Unicode().tag(sync=True)
    height = traitlets.Int(620, min=200).tag(sync=True)
    _host: Host | None = None

    def __init__(
        self,
        target: "Place | Run",
        *,
        compare: "Sequence[Place | Run]" = (),
        user: str | None = None,
        journal: Place | None = None,
        findings: Place | None = None,
        read_only: bool = False,
        start: str = "",
        height: int = 620,
    ) -> None:
        choices = Choices(
            actor=user or this_user(),
            run=[_path(run) for run in compare],
            journal=None if journal is None else Path(journal),
            findings=None if findings is None else Path(findings),
            read_only=read_only,
        )
        desk, notes = open_desk(_path(target), choices)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        self._desk, self._host = desk, Host(desk, self.send)
        super().__init__(
            _esm=script(self.views), _css=styles(self.views), start=start.removeprefix("?"), height=height
        )
        self.on_msg(self._receive)

    @property
    def dataset(self) -> Dataset:
        """The images with the corrections that are in force now."""
        return self._desk.catalog.current()

    def close(self) -> None:
        """Take the widget out of the notebook, and answer it no more."""
        if self._host is not None:  # none, if what was named could not be opened
            self._host.close()
        super().close()

    def _receive(self, _: Any, message: Any, buffers: list[memoryview]) -> None:
        assert self._host is not None
        self._host.receive(message, buffers)


class Grid(View):
    """All images: browse, choose by facets, relabel by keys.

    >>> Grid("photos", start="sort=error")  # doctest: +SKIP
    """

    views = ("grid",)


class Results(View):
    """What a run's predictions are worth, the images behind each number, and how runs differ.

    >>> Results(run, compare=["runs/second"])  # doctest: +SKIP
    """

    views = ("results", "grid")


class Threshold(View):
    """ROC and precision-recall curves with a threshold to move, choose and keep in the model.

    >>> Threshold("runs/first")  # doctest: +SKIP
    """

    views = ("threshold", "grid")


class Augmentations(View):
    """What an augmentation policy does to these images.

    >>> Augmentations("photos", start="policy=strong")  # doctest: +SKIP
    """

    views = ("augment",)


def _path(target: Any) -> Path:
    """Return the path of a folder, manifest or run."""
    if isinstance(target, Dataset):
        raise ConfigError(
            f"a Dataset does not say which folder or manifest its labels belong to; give that: {target.root}?"
        )
    return Path(getattr(target, "folder", target))
