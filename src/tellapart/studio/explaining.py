"""Saliency on demand: which parts of one image speak for the answer, worked out in the background."""

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tellapart.bundle import Bundle
from tellapart.data.images import load_pixels
from tellapart.errors import ConfigError
from tellapart.studio.data_urls import drawn
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.shelf import StoredRun

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk
    from tellapart.training.saliency import Explainer, Method

METHODS: "tuple[Method, ...]" = ("grad-cam", "occlusion")

MOST_MAPS = 64
"""Maps of one model that are kept."""

MEANING = {
    "grad-cam": "Grad-CAM: where the network's last map of features adds to this class.",
    "occlusion": "Occlusion: where the class becomes less probable when a patch of plain colour covers it.",
}
CAVEAT = (
    "A hint, and no proof of what the model looks at. A warm place says neither what in it counted nor that "
    "it counted rightly, and maps can look convincing that do not depend on what the model has learnt "
    "(Adebayo et al., 2018). Use it to doubt an answer, not to trust one."
)

_RAMP = np.array([[60, 20, 150], [230, 60, 90], [255, 235, 70]], dtype=np.float64)
"""Colours of low, middle and high heat, RGB: their lightness rises, so that they can be told without hue."""


class Wanted(NamedTuple):
    """One map: of an image, for a class and by a method; for None the best one."""

    i: int
    class_name: str | None
    method: "Method | None"


class Study:
    """The maps of one model, made one at a time on a thread of their own, and kept.

    Parameters
    ----------
    model
        Folder of the bundle, which is opened for the first map.
    """

    def __init__(self, model: Path) -> None:
        self.model = model
        self._lock = Lock()
        self._maps: OrderedDict[Wanted, Future[Json]] = OrderedDict()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saliency")
        self._explainer: Explainer | None = None

    def ask(self, wanted: Wanted, image: Path) -> Json:
        """Return a map once it is made, until then that it is being made; the first question starts it."""
        with self._lock:
            if wanted not in self._maps:
                self._maps[wanted] = self._thread.submit(self._make, wanted, image)
            made = self._maps[wanted]
            self._maps.move_to_end(wanted)
            while len(self._maps) > MOST_MAPS:
                self._maps.popitem(last=False)[1].cancel()
        if not made.done():
            return {"state": "running"}
        if made.exception() is not None:
            with self._lock:  # so that it is tried again once what was wrong is mended
                self._maps.pop(wanted, None)
        return {"state": "done", **made.result()}

    def _make(self, wanted: Wanted, image: Path) -> Json:
        from tellapart.training.saliency import Explainer

        if self._explainer is None:
            self._explainer = Explainer(Bundle.load(self.model))
        pixels = load_pixels(image, self._explainer.bundle.card.preprocessing)
        made = self._explainer.explain(pixels, wanted.class_name, wanted.method)
        return {
            "class_name": made.class_name,
            "class_names": list(self._explainer.bundle.card.class_names),
            "p": made.probability,
            "method": made.method,
            "no_grad_cam": self._explainer.why_no_grad_cam,
            "empty": not made.map.any(),
            "meaning": f"{MEANING[made.method]} It tells {made.n_places} × {made.n_places} places apart.",
            "caveat": CAVEAT,
            "picture": drawn(pixels, "png"),
            "overlay": drawn(painted(made.map), "png"),
        }


def saliency(desk: "Desk", arguments: Arguments) -> Json:
    """Return the map of one image: ``state`` is "running" until it is made, so ask again.

    Arguments: `i`, `run`, and where wanted `class` and `method` (one of `METHODS`).
    """
    run = desk.shelf.run(arguments.text("run"))
    if run.card is None:
        raise ConfigError(f"{run.name} has no model yet; wait until it is finished")
    i = arguments.integer("i", high=len(desk.catalog) - 1)
    class_name = arguments.text("class") if arguments.has("class") else None
    method = arguments.one_of("method", METHODS) if arguments.has("method") else None
    wanted = Wanted(i, class_name, method)  # type: ignore[arg-type]
    return _study(run).ask(wanted, desk.given.samples[i].path)


OPERATIONS: dict[str, Operation] = {"saliency": Operation(saliency)}


@lru_cache(maxsize=2)
def _study(run: StoredRun) -> Study:
    """Return the study of a run's model: a new one when the shelf has read the run anew."""
    return Study(run.folder)


def painted(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return a map as RGBA pixels to lay over the picture, uint8 of shape (size, size, 4).

    Parameters
    ----------
    heat
        float32 of shape (size, size), in [0, 1].
    """
    steps = np.linspace(0, 1, len(_RAMP))
    channels = [np.interp(heat, steps, _RAMP[:, channel]) for channel in range(3)]
    rgba: NDArray[np.uint8] = np.rint(np.stack([*channels, 190 * np.sqrt(heat)], axis=-1)).astype(np.uint8)
    return rgba
