"""What an augmentation policy does to these images, at the size that the network sees."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from tellapart.data.images import Resize, load_pixels
from tellapart.data.pipelines import Pipeline
from tellapart.errors import ConfigError, MissingExtra, UnreadableImage
from tellapart.studio.data_urls import drawn
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.recipe import POLICIES

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

MOST_IMAGES, MOST_VARIANTS = 12, 12

_lock = Lock()
"""Seeding touches the process's own generators, so that one picture is made at a time."""

_loading: list[Future[ModuleType]] = []
"""The one import of the training side, which takes seconds; none before somebody asks."""


def augmentations(desk: "Desk", arguments: Arguments) -> Json:
    """Show pictures as training would vary them.

    Arguments are ``items`` (image numbers; left out, ``draw`` is the seed by which some of every class are
    drawn), ``policy``, ``variants`` (how many, each as in another epoch) and ``seed``. The variants of an
    image depend on its number, the seed and the epoch alone.

    Returns
    -------
    dict
        ``state`` is ``"preparing"`` while torch is imported: ask again. Then ``"ready"``, ``size`` (edge in
        pixels), and ``images``: each ``i``, ``id``, ``label``, ``original`` and ``variants`` as data URLs
        of JPEGs, or ``error`` for a file that cannot be read.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """
    name = arguments.one_of("policy", POLICIES, "standard")
    n_variants = arguments.integer("variants", 8, low=1, high=MOST_VARIANTS)
    seed = arguments.integer("seed", 0, high=2**32 - 1)
    training = _training()
    if training is None:
        return {"state": "preparing"}
    items = arguments.integers("items", []) or _some(desk, arguments.integer("draw", 0))
    if len(items) > MOST_IMAGES or any(i >= len(desk.given) for i in items):
        raise ConfigError(f"give at most {MOST_IMAGES} image numbers below {len(desk.given)}")
    resize = _resize(desk)
    policy: Pipeline = training.policy(name, resize.size)
    with _lock:
        images = [_varied(desk, i, policy, resize, seed, n_variants) for i in items]
    return {"state": "ready", "size": resize.size, "policy": name, "images": images}


OPERATIONS: dict[str, Operation] = {"augmentations": Operation(augmentations)}


def _training() -> ModuleType | None:
    """Return the module that makes policies; None while it is being imported in the background."""
    from importlib.util import find_spec

    with _lock:
        if not _loading:
            if not (find_spec("torch") and find_spec("torchvision")):
                raise MissingExtra(
                    "augmentation is done by torch, which is not installed: pip install 'tellapart[train]'"
                )
            pool = ThreadPoolExecutor(1, thread_name_prefix="import")
            _loading.append(pool.submit(_import))
            pool.shutdown(wait=False)
    return _loading[0].result() if _loading[0].done() else None


def _import() -> ModuleType:
    from tellapart.training import augmentation

    return augmentation


def _some(desk: "Desk", seed: int) -> list[int]:
    """Draw as many images of every class, six in all or one of each."""
    names = desk.catalog.class_names
    labels = np.array([names.index(sample.label) for sample in desk.given.samples])
    each = max(1, 6 // len(names))
    rng = np.random.default_rng(seed)
    drawn: list[int] = []
    for k in range(len(names)):
        of_class = np.flatnonzero(labels == k)
        drawn += sorted(rng.permutation(of_class)[:each].tolist())
    return drawn[:MOST_IMAGES]


def _resize(desk: "Desk") -> Resize:
    """Return how the run that is shown makes squares, else how a training does by default."""
    from tellapart.training.backbones import find_backbone
    from tellapart.training.config import DEFAULT_BACKBONE

    names = desk.shelf.names()
    card = desk.shelf.run(names[0]).card if names else None
    return card.preprocessing if card is not None else Resize(find_backbone(DEFAULT_BACKBONE).image_size)


def _varied(desk: "Desk", i: int, policy: Pipeline, resize: Resize, seed: int, n_variants: int) -> Json:
    sample = desk.given.samples[i]
    told: Json = {"i": i, "id": sample.id, "label": desk.catalog.label(i)}
    try:
        pixels = load_pixels(sample.path, resize)
    except UnreadableImage as exc:
        return told | {"error": str(exc), "original": "", "variants": []}
    variants = [policy.seeded(pixels, seed, epoch, i) for epoch in range(1, n_variants + 1)]
    return told | {"original": drawn(pixels, "jpeg"), "variants": [drawn(one, "jpeg") for one in variants]}
