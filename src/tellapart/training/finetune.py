"""Fine-tuning: the whole network learns, from a new head down to the pixels."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.errors import TrainingError
from tellapart.progress import SILENT, Progress
from tellapart.training import schedule
from tellapart.training.augmentation import pipeline_for
from tellapart.training.checkpoint import Checkpoint, settings_of
from tellapart.training.config import TrainConfig
from tellapart.training.device import device_name
from tellapart.training.history import History, Row
from tellapart.training.loader import Loader, PixelStore, choose_workers
from tellapart.training.update import Update, balanced_class_weights
from tellapart.training.validation import logits_of, validation_figures

LOOK_EVERY = 20
"""Steps between two looks at the loss: each makes the processor wait for the GPU."""

STOP_FILE = "stop"
"""A file in the folder of the run: where somebody puts it, the epoch under way is the last one."""

STORE_LIMIT_BYTES = 2**30
"""Decoded training and validation pixels are kept between epochs if they take no more than this."""


@dataclass(frozen=True, eq=False)
class Finetuned:
    """What a fine-tuning came to; the network itself is left with the best epoch's weights.

    Attributes
    ----------
    history
        One row per epoch; see `tellapart.training.history.Row`.
    best_epoch
        From 1: the first with the lowest validation loss.
    val_logits
        float64 of shape (n_val, n_classes), of the best epoch.
    stopped_early
        Whether `patience` ended it before `epochs`.
    images_per_second
        Of the training passes, the median over epochs.
    """

    history: list[Row]
    best_epoch: int
    val_logits: NDArray[np.float64]
    stopped_early: bool
    images_per_second: float


def choose_device(config: TrainConfig) -> torch.device:
    """Return the device to train on.

    Raises
    ------
    ConfigError
        If CUDA was asked for and there is none.
    """
    return torch.device(device_name(config))


def finetune(  # noqa: PLR0913 (everything after `resize` has a name)
    network: nn.Module,
    train: Dataset,
    val: Dataset,
    config: TrainConfig,
    resize: Resize,
    *,
    out: Path,
    resume: bool = False,
    progress: Progress = SILENT,
    fingerprint: str = "",
) -> Finetuned:
    """Train a network, and leave it with the weights of the epoch that validation images chose.

    On a CPU the result depends on the arguments alone: a run that was killed at any moment and resumed
    ends with the same history and weights as one that was not.

    Parameters
    ----------
    network
        Maps uint8 pixels of shape (n, size, size, 3) to logits of shape (n, n_classes); has sub-modules
        ``body`` and ``head``.
    train, val
        Images to learn from, and to choose the epoch with.
    out
        Folder of the run: ``history.jsonl`` and ``checkpoints/last.pt``. A file `STOP_FILE` there ends the
        training after the epoch under way, as the end of patience does.
    resume
        Go on from the last checkpoint, if there is one.
    fingerprint
        Identifies the data; a checkpoint made with another one is refused.

    Raises
    ------
    TrainingError
        If the loss is no longer finite, memory runs out, a file can no longer be read, or the checkpoint
        is damaged or was made with other settings.
    MissingExtra
        If `config.tensorboard` is given and TensorBoard is not installed.
    """
    settings = settings_of(config, resize=resize, class_names=train.class_names, data=fingerprint)
    path = out / "checkpoints" / "last.pt"
    checkpoint = _to_go_on_from(path, settings, progress) if resume else None
    if checkpoint is None:
        path.unlink(missing_ok=True)
    history = History(out / "history.jsonl", checkpoint.history if checkpoint else (), config.tensorboard)
    with history, _stores(path.parent, (train, val), resize.size) as stores:
        tuning = _Tuning(network, train, val, config, resize, stores)
        try:
            best = tuning.run(history, path, settings, checkpoint, progress)
        except torch.OutOfMemoryError as exc:
            smaller = max(1, config.batch_size // 2)
            raise TrainingError(
                f"the GPU's memory does not hold a batch of {config.batch_size}: try --batch-size {smaller}"
            ) from exc
    return Finetuned(
        history=history.rows,
        best_epoch=history.best_epoch,
        val_logits=best.best_logits.numpy(),
        stopped_early=len(history.rows) < config.epochs,
        images_per_second=float(np.median([row["images_per_second"] for row in history.rows])),
    )


def predict_logits(
    network: nn.Module,
    dataset: Dataset,
    resize: Resize,
    *,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    workers: int | None = None,
    progress: Progress = SILENT,
) -> NDArray[np.float64]:
    """Return logits of shape (n_samples, n_classes), float64, in the order of the dataset.

    Raises
    ------
    TrainingError
        Naming a file that cannot be read.
    """
    device = torch.device(device)
    loader = Loader(
        dataset, resize, batch_size=batch_size, workers=choose_workers(workers, device), device=device
    )
    with progress.track("predicting", len(dataset)) as advance:
        return logits_of(network.to(device), loader, device, advance)


class _Tuning:
    """A network that learns, with the images it learns from and those that judge it."""

    def __init__(
        self,
        network: nn.Module,
        train: Dataset,
        val: Dataset,
        config: TrainConfig,
        resize: Resize,
        stores: tuple[PixelStore | None, PixelStore | None],
    ) -> None:
        self.config, self.train, self.val = config, train, val
        self.device = choose_device(config)
        # Pixels come as (n, height, width, channel), and convolutions that take them so are faster.
        self.network = network.to(self.device)
        self.network.to(memory_format=torch.channels_last)
        weights = balanced_class_weights(train.targets, len(train.class_names)) if config.balance else None
        self.update = Update(self.network, config, weights)
        load = partial(
            Loader,
            resize=resize,
            batch_size=config.batch_size,
            workers=choose_workers(config.workers, self.device),
            device=self.device,
        )
        pipeline = pipeline_for(config.augment, resize)
        self.train_loader = load(train, pipeline=pipeline, seed=config.seed, store=stores[0])
        self.val_loader = load(val, store=stores[1])

    def run(
        self,
        history: History,
        path: Path,
        settings: dict[str, Any],
        last: Checkpoint | None,
        progress: Progress,
    ) -> Checkpoint:
        """Learn until the last epoch, the end of patience or a stop; the network is left at its best."""
        if last is not None:
            self.network.load_state_dict(last.network)
            self.update.load_state_dict(last.update)
        epochs, patience = self.config.epochs, self.config.patience
        stop = path.parents[1] / STOP_FILE
        while last is None or (
            len(history.rows) < epochs and not history.is_stale(patience) and not stop.exists()
        ):
            epoch = len(history.rows) + 1
            with progress.track(f"epoch {epoch}/{epochs}", len(self.train) + len(self.val)) as advance:
                row, logits = self._epoch(epoch, advance)
            last = self._checkpoint(settings, [*history.rows, row], logits, last)
            last.save(path)
            history.add(row)
        stop.unlink(missing_ok=True)
        self.network.load_state_dict(last.best_network)
        self.network.requires_grad_(True).eval()
        self.network.to(memory_format=torch.contiguous_format)
        return last

    def _checkpoint(
        self, settings: dict[str, Any], rows: list[Row], logits: NDArray[np.float64], last: Checkpoint | None
    ) -> Checkpoint:
        state = self.network.state_dict()
        if last is None or rows[-1]["val_loss"] < min(row["val_loss"] for row in last.history):
            best, best_logits = _copied(state), torch.from_numpy(logits)
        else:
            best, best_logits = last.best_network, last.best_logits
        return Checkpoint(settings, state, self.update.state_dict(), rows, best, best_logits)

    def _epoch(self, epoch: int, advance: Callable[[int], None]) -> tuple[Row, NDArray[np.float64]]:
        started = time.perf_counter()
        row: Row = {"epoch": epoch, **self._learn(epoch, advance)}
        learning_seconds = time.perf_counter() - started
        logits = logits_of(self.network, self.val_loader, self.device, advance)
        row |= validation_figures(logits, self.val.targets)
        _check_finite(row["val_loss"], epoch)
        row["seconds"] = time.perf_counter() - started
        row["images_per_second"] = len(self.train) / learning_seconds
        return row, logits

    def _learn(self, epoch: int, advance: Callable[[int], None]) -> Row:
        # What an epoch draws at random depends on its number alone: a resumed run draws the same.
        torch.manual_seed(int(np.random.SeedSequence((self.config.seed, epoch)).generate_state(1)[0]))
        schedule.set_mode(
            self.network,
            head_only=epoch <= schedule.head_epochs(self.config),
            keep_statistics=self.config.weights != "none",
        )
        steps = len(self.train_loader)
        rates: list[float] = []
        loss_sum, n_right = torch.zeros(2, device=self.device)
        for step, (pixels, targets) in enumerate(self.train_loader.epoch(epoch)):
            rates.append(schedule.learning_rate_at((epoch - 1) * steps + step, steps, self.config))
            loss, right = self.update(pixels, targets, rates[-1])
            loss_sum += loss * len(targets)
            n_right += right
            if step % LOOK_EVERY == 0 or step == steps - 1:
                _check_finite(loss_sum.item(), epoch)
            advance(len(targets))
        return {
            "learning_rate": max(rates),
            "train_loss": loss_sum.item() / len(self.train),
            "train_accuracy": n_right.item() / len(self.train),
        }


def _to_go_on_from(path: Path, settings: dict[str, Any], progress: Progress) -> Checkpoint | None:
    if path.exists():
        return Checkpoint.load(path, settings)
    progress.say(f"no checkpoint in {path.parent}: training starts with the first epoch")
    return None


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _check_finite(loss: float, epoch: int) -> None:
    if not np.isfinite(loss):
        raise TrainingError(f"the loss is no longer finite in epoch {epoch}: try a lower --learning-rate")


@contextmanager
def _stores(
    folder: Path, datasets: tuple[Dataset, Dataset], size: int
) -> Iterator[tuple[PixelStore | None, PixelStore | None]]:
    """Keep decoded pixels in files for as long as the training lasts, if they are small enough."""
    n_bytes = sum(PixelStore.n_bytes(len(dataset), size) for dataset in datasets)
    # A mapped file that a full disk cannot hold ends the process without a word.
    if n_bytes > STORE_LIMIT_BYTES or 2 * n_bytes > shutil.disk_usage(folder.parent).free:
        yield None, None
        return
    train, val = (
        PixelStore(folder / f"{name}.pixels", len(dataset), size)
        for name, dataset in zip(("train", "val"), datasets, strict=True)
    )
    try:
        yield train, val
    finally:
        train.remove()
        val.remove()
