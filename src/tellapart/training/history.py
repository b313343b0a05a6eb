"""The record of a fine-tuning, epoch by epoch: history.jsonl and, on request, TensorBoard events."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tellapart.errors import MissingExtra

Row = dict[str, float]
"""``epoch`` (from 1), ``learning_rate`` (the head's highest), ``train_loss``, ``train_accuracy``,
``val_loss``, ``val_accuracy``, ``val_balanced_accuracy``, ``seconds``, ``images_per_second``."""


class History:
    """The rows so far, and the files that follow them.

    Parameters
    ----------
    path
        ``history.jsonl``, written anew with `rows`, then one line per epoch.
    rows
        Of the epochs before this process.
    tensorboard
        Folder for events, or None.

    Raises
    ------
    MissingExtra
        If events are wanted and TensorBoard is not installed.
    """

    def __init__(self, path: Path, rows: Sequence[Row] = (), tensorboard: Path | None = None) -> None:
        self.path, self.rows = path, list(rows)
        self._writer = None if tensorboard is None else _summary_writer(tensorboard, len(self.rows) + 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(_line(row) for row in self.rows), encoding="utf-8")

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest validation loss; 0 before any."""
        return int(min(self.rows, key=lambda row: row["val_loss"])["epoch"]) if self.rows else 0

    def is_stale(self, patience: int | None) -> bool:
        """Return whether `patience` epochs have passed since the best one; None is patient for ever."""
        return patience is not None and len(self.rows) - self.best_epoch >= patience

    def add(self, row: Row) -> None:
        """Write the row of an epoch; it is in the files when this returns."""
        self.rows.append(row)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(row))
        if self._writer is not None:
            for name, value in row.items():
                self._writer.add_scalar(name, value, int(row["epoch"]))
            self._writer.flush()

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._writer is not None:
            self._writer.close()


def _line(row: Mapping[str, float]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _summary_writer(folder: Path, first_epoch: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as exc:
        raise MissingExtra("TensorBoard is not installed: pip install 'tellapart[tensorboard]'") from exc
    # Events that a killed run wrote after its last checkpoint are not shown twice.
    return SummaryWriter(str(folder), purge_step=first_epoch)
