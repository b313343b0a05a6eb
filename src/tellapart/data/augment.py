"""Augmented copies of a dataset's images, written beside nothing they could be mistaken for."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from tellapart.data.dataset import Dataset
from tellapart.data.files import write_atomically
from tellapart.data.images import decode
from tellapart.data.pipelines import as_pipeline
from tellapart.errors import ConfigError, UnreadableImage
from tellapart.progress import SILENT, Progress
from tellapart.records import Sample


def augment(
    dataset: Dataset,
    pipelines: Sequence[Callable[..., Any]],
    copies: int,
    out: Path,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Dataset:
    """Write augmented copies as PNG files and return the dataset with them.

    Parameters
    ----------
    pipelines
        Each any callable on an RGB uint8 array of shape (height, width, 3); torchvision v2,
        Albumentations and imgaug objects work too.
    copies
        Copies of each image by each pipeline.
    out
        New or empty folder for the copies, laid out like the ids of their originals.
    seed
        The same seed writes the same copies.

    Returns
    -------
    Dataset
        Originals first. A copy has the label, split, metadata and group of its original; an original
        without a group is given one, so that no copy can ever be on the other side of a split.

    Raises
    ------
    ConfigError
        If `copies` is under 1, or `out` is not empty, or a pipeline returns no picture.
    """
    if copies < 1:
        raise ConfigError(f"copies is {copies}; it must be a whole number from 1")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not empty; augmented copies go into a new folder")
    adapted = [as_pipeline(pipeline) for pipeline in pipelines]
    originals: list[Sample] = []
    made: list[Sample] = []
    bad: dict[str, str] = {}
    with progress.track("augmenting", len(dataset)) as advance:
        for index, sample in enumerate(dataset.samples):
            advance(1)
            original = replace(sample, group=sample.group or f"={sample.id}")
            originals.append(original)
            try:
                pixels = np.asarray(decode(sample.path))
            except UnreadableImage as exc:
                bad[sample.id] = str(exc)
                continue
            for number, pipeline in enumerate(adapted):
                for copy in range(copies):
                    result = pipeline.seeded(pixels, seed, index, number, copy)
                    made.append(_write_copy(original, result, out, f"~{number + 1}.{copy + 1}"))
    kept = replace(dataset, samples=tuple(originals)).without(bad)
    return replace(kept, samples=kept.samples + tuple(made))


def _write_copy(original: Sample, pixels: Any, out: Path, mark: str) -> Sample:
    copy_id = f"{original.id}{mark}.png"
    # A manifest may name images above its folder or anywhere: their copies stay in `out` all the same.
    place = PurePath(copy_id)
    path = out.joinpath(*("_" if part in ("..", place.anchor) else part for part in place.parts))
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
    return replace(original, id=copy_id, path=path, sha256=None)
