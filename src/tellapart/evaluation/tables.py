"""Predictions as a table on disk, from which everyone can recompute every figure."""

import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tellapart.data.files import write_atomically
from tellapart.errors import DataError
from tellapart.records import UNKNOWN, Predictions

_PREFIX = "prob_"
_GROUP = "group"


def write_predictions(path: Path, predictions: Predictions, y_pred: NDArray[np.int64] | None = None) -> None:
    r"""Write ``path,label,predicted,prob_<class>…`` and, where images have groups, ``group``.

    UTF-8 with ``\n`` line ends. Probabilities are written in full, so that reading gives the same numbers;
    an unknown label is an empty field.

    Parameters
    ----------
    path
        The CSV file, replaced in one step.
    predictions
        Its sample ids become the column ``path``.
    y_pred
        int64 of shape (n_samples,): the predicted classes; None takes the most probable ones.
    """
    names = predictions.class_names
    predicted = predictions.y_pred if y_pred is None else y_pred
    grouped = predictions.groups is not None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["path", "label", "predicted", *(_PREFIX + name for name in names)]
    writer.writerow([*header, _GROUP] if grouped else header)
    groups = predictions.groups or ("",) * len(predictions)
    columns = (predictions.sample_ids, predictions.y_true.tolist(), predicted.tolist(), groups)
    for probabilities, sample_id, true, called, group in zip(
        predictions.y_prob.tolist(), *columns, strict=True
    ):
        row = [sample_id, "" if true == UNKNOWN else names[true], names[called], *probabilities]
        writer.writerow([*row, group] if grouped else row)
    # File names that are not valid UTF-8 are written back as the bytes that they were.
    write_atomically(path, text.getvalue().encode("utf-8", errors="surrogateescape"))


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote; the column ``predicted`` is not needed.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or holds a label that no ``prob_`` column has.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            reader = csv.DictReader(file)
            rows, header = list(reader), list(reader.fieldnames or ())
    except OSError as exc:
        raise DataError(f"{path} cannot be read ({exc.strerror}); give the predictions.csv of a run") from exc
    names = tuple(name.removeprefix(_PREFIX) for name in header if name.startswith(_PREFIX))
    if "path" not in header or "label" not in header or not names:
        raise DataError(
            f"{path} has the columns {', '.join(header) or 'none'}; it needs path, label and one "
            "prob_<class> for each class, as predictions.csv of a run has"
        )
    index = {"": UNKNOWN} | {name: i for i, name in enumerate(names)}
    strangers = sorted({row["label"] for row in rows} - index.keys())
    if strangers:
        raise DataError(f"{path} has the label {strangers[0]!r}, which has no column prob_{strangers[0]}")
    return Predictions(
        sample_ids=tuple(row["path"] for row in rows),
        y_true=np.array([index[row["label"]] for row in rows], dtype=np.int64),
        y_prob=_probabilities(path, rows, names),
        class_names=names,
        groups=tuple(row[_GROUP] for row in rows) if _GROUP in header else None,
    )


def _probabilities(path: Path, rows: list[dict[str, str]], names: tuple[str, ...]) -> NDArray[np.float64]:
    y_prob = np.empty((len(rows), len(names)))
    for i, row in enumerate(rows):
        try:
            y_prob[i] = [float(row[_PREFIX + name]) for name in names]
        except (TypeError, ValueError) as exc:
            raise DataError(f"{path}, line {i + 2}: a probability is missing or is not a number") from exc
    return y_prob
