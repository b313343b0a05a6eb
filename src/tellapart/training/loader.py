"""Batches of pixels for the network: decoded by worker processes, in an order that only the seed decides."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils import data

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize, load_pixels
from tellapart.data.pipelines import Pipeline
from tellapart.data.reader import n_cores
from tellapart.errors import TrainingError, UnreadableImage

Key = tuple[int, int]
"""Epoch and index of one sample: with the seed, all that its augmentation depends on."""

Batch = tuple[Tensor, Tensor]
"""uint8 pixels of shape (batch_size, size, size, 3) and int64 targets of shape (batch_size,)."""


def choose_workers(workers: int | None, device: torch.device) -> int:
    """Return how many processes decode: as asked, else all cores (16 at most) for a GPU.

    On a CPU the network itself needs the cores, and processes beside it measured slower than none on two
    cores; so one for every four cores there, two at most.
    """
    if workers is not None:
        return workers
    return min(n_cores(), 16) if device.type == "cuda" else min(n_cores() // 4, 2)


class PixelStore:
    """Decoded pixels in a file that all workers map, so that every image is decoded once.

    Parameters
    ----------
    path
        File to create; one that a killed run left behind is overwritten.
    n_images, size
        How many squares of which edge.
    """

    def __init__(self, path: Path, n_images: int, size: int) -> None:
        self.path, self.shape = path, (n_images, size, size, 3)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(n_images + self.n_bytes(n_images, size))
        self._maps: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    @staticmethod
    def n_bytes(n_images: int, size: int) -> int:
        """Bytes that the pixels take."""
        return n_images * size * size * 3

    def get(self, index: int) -> NDArray[np.uint8] | None:
        """Return uint8 of shape (size, size, 3), or None where nothing was put yet."""
        filled, pixels = self._mapped()
        return pixels[index] if filled[index] else None

    def put(self, index: int, image: NDArray[np.uint8]) -> None:
        """Keep one image."""
        filled, pixels = self._mapped()
        pixels[index] = image
        filled[index] = 1

    def remove(self) -> None:
        """Delete the file."""
        self._maps = None
        with suppress(PermissionError):  # Windows: a worker that is just ending still maps it
            self.path.unlink(missing_ok=True)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": None}

    def _mapped(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if self._maps is None:
            n_images = self.shape[0]
            filled = np.memmap(self.path, np.uint8, "r+", 0, (n_images,))
            self._maps = filled, np.memmap(self.path, np.uint8, "r+", n_images, self.shape)
        return self._maps


class Loader:
    """The batches of a dataset.

    Parameters
    ----------
    dataset, resize
        What to decode, and to which square.
    batch_size
        Images per batch. A last batch of one would break batch normalisation and joins the one before.
    workers
        Processes that decode; 0 decodes in this one.
    device
        ``"cuda"`` pins the batches' memory.
    pipeline
        Augmentation, or None. Its results are scaled to the square again where it changed the shape.
    seed
        Decides each epoch's order and augmentation; None keeps the order of the dataset.
    store
        Where decoded pixels are kept from epoch to epoch, or None.
    """

    def __init__(
        self,
        dataset: Dataset,
        resize: Resize,
        *,
        batch_size: int,
        workers: int = 0,
        device: torch.device | None = None,
        pipeline: Pipeline | None = None,
        seed: int | None = None,
        store: PixelStore | None = None,
    ) -> None:
        self._order = _Order(len(dataset), batch_size, seed)
        workers = min(workers, len(self._order))
        self._batches: data.DataLoader[Batch | str] = data.DataLoader(
            _Reader(dataset, resize, pipeline, seed or 0, store),
            batch_size=None,
            sampler=self._order,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device is not None and device.type == "cuda",
            # Its own generator, so that starting workers draws nothing from the network's.
            generator=torch.Generator(),
        )

    def __len__(self) -> int:
        return len(self._order)

    def epoch(self, epoch: int = 0) -> Iterator[Batch]:
        """Yield every image once.

        Raises
        ------
        TrainingError
            Naming a file that can no longer be read.
        """
        self._order.epoch = epoch
        for batch in self._batches:
            if isinstance(batch, str):
                raise TrainingError(batch)
            pixels, targets = batch
            yield pixels, targets


class _Order(data.Sampler[list[Key]]):
    """Batches of keys; the process that trains draws them, workers only follow."""

    def __init__(self, n_samples: int, batch_size: int, seed: int | None) -> None:
        self.n_samples, self.seed, self.epoch = n_samples, seed, 0
        self._cuts = list(range(batch_size, n_samples, batch_size))
        if self._cuts and n_samples - self._cuts[-1] == 1 < batch_size:
            self._cuts.pop()

    def __len__(self) -> int:
        return len(self._cuts) + 1

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.arange(self.n_samples)
        if self.seed is not None:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        for part in np.split(order, self._cuts):
            yield [(self.epoch, int(index)) for index in part]


class _Reader(data.Dataset[Batch | str]):
    """What a worker does: from a batch's keys to its pixels and targets, or to a message."""

    def __init__(
        self,
        dataset: Dataset,
        resize: Resize,
        pipeline: Pipeline | None,
        seed: int,
        store: PixelStore | None,
    ) -> None:
        self.paths = [sample.path for sample in dataset.samples]
        self.targets = torch.from_numpy(dataset.targets)
        self.resize, self.pipeline, self.seed, self.store = resize, pipeline, seed, store

    def __getitem__(self, keys: list[Key]) -> Batch | str:
        size = self.resize.size
        pixels = np.empty((len(keys), size, size, 3), dtype=np.uint8)
        for row, (epoch, index) in enumerate(keys):
            try:
                pixels[row] = self._augmented(self._decoded(index), epoch, index)
            except UnreadableImage as exc:
                # An exception would reach the user with the worker's traceback in its message.
                return f"{self.paths[index]} can no longer be read: {exc}; restore it, then add --resume"
        return torch.from_numpy(pixels), self.targets[[index for _, index in keys]]

    def _decoded(self, index: int) -> NDArray[np.uint8]:
        kept = self.store.get(index) if self.store else None
        if kept is not None:
            return kept
        pixels = load_pixels(self.paths[index], self.resize)
        if self.store:
            self.store.put(index, pixels)
        return pixels

    def _augmented(self, pixels: NDArray[np.uint8], epoch: int, index: int) -> NDArray[np.uint8]:
        if self.pipeline is None:
            return pixels
        augmented = self.pipeline.seeded(pixels, self.seed, epoch, index)
        if augmented.shape != pixels.shape:
            return Resize(self.resize.size)(Image.fromarray(augmented))
        return augmented
