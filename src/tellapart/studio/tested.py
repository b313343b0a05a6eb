"""The images that a run tested, beside what is said of them now."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import ConfigError
from tellapart.records import UNKNOWN, Predictions
from tellapart.studio.attached import what_became
from tellapart.studio.operation import Json
from tellapart.studio.shelf import StoredRun

if TYPE_CHECKING:
    from tellapart.studio.desk import Desk

KINDS = {
    "wrong": "Wrong",
    "confident": "Confident and wrong",
    "uncertain": "Least certain",
    "right": "Right",
}
"""Wrong ones by name; wrong ones by the probability of the wrong class; the hardest to decide; right ones.
And what a page calls them."""

MOST_SCORES = 5
"""Classes whose probabilities are shown of one image, the most probable first."""


@dataclass(frozen=True, eq=False)
class Tested:
    """A run's predictions, one row per image that it tested.

    Attributes
    ----------
    run
        It has predictions.
    predictions, y_pred
        As the run stored them, with the labels that stood then.
    number
        int64 of shape (n_rows,): each image's number in the studio, -1 for one that is not here.
    y_now
        int64 of shape (n_rows,): the labels in force now, `UNKNOWN` for a class that the run does not have.
        As stored for images that are not here.
    excluded
        bool of shape (n_rows,): images that somebody has left out since.
    labels
        Of each class of the run, the labels in the data that belong to it: more than its own name where
        the run joined classes.
    """

    run: StoredRun
    predictions: Predictions
    y_pred: NDArray[np.int64]
    number: NDArray[np.int64]
    y_now: NDArray[np.int64]
    excluded: NDArray[np.bool_]
    labels: dict[str, list[str]]

    @classmethod
    def of(cls, desk: "Desk", run: StoredRun) -> "Tested":
        """Read a run's predictions and look up what its images are called now.

        Raises
        ------
        ConfigError
            If it tested nothing.
        """
        catalog, predictions, y_pred = desk.catalog, run.predictions, run.y_pred
        if predictions is None or y_pred is None:
            raise ConfigError(f"{run.name} has no predictions of a test set; choose another run")
        catalog.refresh()
        numbers = [catalog.index(sample_id) for sample_id in predictions.sample_ids]
        number = np.array([-1 if i is None else i for i in numbers], dtype=np.int64)
        names, y_now = predictions.class_names, predictions.y_true.copy()
        here = np.flatnonzero(number >= 0)
        told = what_became(catalog.given, number[here], predictions, here)
        became = {label: names.index(own) for label, own in told.items()}
        y_now[here] = [became.get(catalog.label(i), UNKNOWN) for i in number[here].tolist()]
        excluded = np.zeros(len(number), dtype=np.bool_)
        excluded[here] = [catalog.is_excluded(i) for i in number[here].tolist()]
        labels = {own: sorted(name for name, at in became.items() if at == k) for k, own in enumerate(names)}
        return cls(run, predictions, y_pred, number, y_now, excluded, labels)

    @property
    def counts_now(self) -> NDArray[np.bool_]:
        """Which rows an evaluation would use now, bool of shape (n_rows,)."""
        counts: NDArray[np.bool_] = ~self.excluded & (self.y_now != UNKNOWN)
        return counts

    @property
    def relabelled(self) -> NDArray[np.bool_]:
        """Which rows have another label now than the run was told, bool of shape (n_rows,)."""
        relabelled: NDArray[np.bool_] = self.y_now != self.predictions.y_true
        return relabelled

    @property
    def corrected(self) -> Predictions:
        """The predictions with the labels in force, without images that are left out now."""
        chosen = np.flatnonzero(self.counts_now)
        ids, groups = self.predictions.sample_ids, self.predictions.groups
        return replace(
            self.predictions,
            sample_ids=tuple(ids[i] for i in chosen),
            y_true=self.y_now[chosen],
            y_prob=self.predictions.y_prob[chosen],
            groups=None if groups is None else tuple(groups[i] for i in chosen),
        )

    def ranked(self, kind: str, *, corrected: bool) -> NDArray[np.int64]:
        """Return the rows of one of `KINDS`, in its order.

        Parameters
        ----------
        corrected
            Judge by the labels in force, not by those that the run was told.
        """
        y_true = self.y_now if corrected else self.predictions.y_true
        rows = np.flatnonzero(self.counts_now if corrected else y_true != UNKNOWN).astype(np.int64)
        right = self.y_pred[rows] == y_true[rows]
        stated = self.predictions.y_prob[rows, self.y_pred[rows]]
        if kind == "uncertain":
            return _sorted(rows, self._margin()[rows])
        wanted = right if kind == "right" else ~right
        return rows[wanted] if kind == "wrong" else _sorted(rows[wanted], -stated[wanted])

    def item(self, desk: "Desk", row: int) -> Json:
        """Return what a page shows of one image: the catalog's item, and how the run scored it."""
        names, y_prob = self.predictions.class_names, self.predictions.y_prob[row]
        i, called = int(self.number[row]), int(self.y_pred[row])
        then, now = (
            None if k == UNKNOWN else names[k] for k in (self.predictions.y_true[row], self.y_now[row])
        )
        known: Json = {"i": None, "id": self.predictions.sample_ids[row], "label": now, "excluded": False}
        if i >= 0:
            known = desk.catalog.item(i, self.run.name)
        top = np.argsort(-y_prob, kind="stable")[:MOST_SCORES]
        return {
            **known,
            "then": then,
            "predicted": names[called],
            "p": float(y_prob[called]),
            "right": bool(self.y_now[row] == called),
            "scores": [[names[k], float(y_prob[k])] for k in top.tolist()],
            "more": max(0, len(names) - MOST_SCORES),
        }

    def _margin(self) -> NDArray[np.float64]:
        """Return how far each image is from being decided otherwise, float64 of shape (n_rows,)."""
        y_prob, threshold = self.predictions.y_prob, self.run.threshold
        if threshold is not None and threshold.positive in self.predictions.class_names:
            positive = self.predictions.class_names.index(threshold.positive)
            return np.abs(y_prob[:, positive] - threshold.value)
        highest = np.sort(y_prob, axis=1)
        margin: NDArray[np.float64] = highest[:, -1] - highest[:, -2]
        return margin


def _sorted(rows: NDArray[np.int64], key: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return rows by rising key, equals in their order."""
    ordered: NDArray[np.int64] = rows[np.argsort(key, kind="stable")]
    return ordered
