"""What is laid beside the images of a catalog: a run's predictions, an audit's findings."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tellapart.audit.findings import Finding
from tellapart.data.dataset import Dataset
from tellapart.records import UNKNOWN, Predictions
from tellapart.studio.columns import Codes, Mask, Names

SUSPECT = "suspected label"
"""The kind of finding that suggests another label."""


class Told(NamedTuple):
    """What a run says of one image: its class, the probability of that, and those of all its classes."""

    predicted: str
    p: float
    y_prob: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Attached:
    """A run's predictions by image.

    Methods that take `names` speak of classes by their numbers there; -1 is none.

    Attributes
    ----------
    name
        Of the run.
    predictions
        As the run stored them.
    y_pred
        int64 of shape (n_predictions,): the classes decided, indices into the run's class names.
    row
        int32 of shape (n_images,): the row of `predictions` about each image, -1 where there is none.
    became
        Label of the data -> class of the run, which may have joined some of the data's.
    """

    name: str
    predictions: Predictions
    y_pred: NDArray[np.int64]
    row: Codes
    became: Mapping[str, str]

    @classmethod
    def lay(
        cls, name: str, predictions: Predictions, y_pred: NDArray[np.int64], given: Dataset, row: Codes
    ) -> Self:
        """Return predictions laid beside the images of `given`; what became of classes is read from `y_true`.

        Parameters
        ----------
        row
            See the attribute.
        """
        known = np.flatnonzero(row >= 0)
        became = what_became(given, known, predictions, row[known])
        return cls(name, predictions, y_pred, row, became)

    def at(self, i: int) -> Told | None:
        """Return what was predicted of image `i`, or None."""
        row = int(self.row[i])
        if row < 0:
            return None
        y_prob, k = self.predictions.y_prob[row], int(self.y_pred[row])
        return Told(self.predictions.class_names[k], float(y_prob[k]), y_prob)

    def predicted(self, names: Names) -> Codes:
        """Return the predicted classes, int32 of shape (n_images,)."""
        codes = np.full(len(self.row), -1, dtype=np.int32)
        known = self.row >= 0
        codes[known] = names.codes(self.predictions.class_names)[self.y_pred[self.row[known]]]
        return codes

    def is_right(self, i: int, label: str) -> bool | None:
        """Return whether the prediction for image `i` is its label in force; None where that is not known."""
        told, seen = self.at(i), self.became.get(label)
        return None if told is None or seen is None else told.predicted == seen

    def sees(self, label: Codes, names: Names) -> Codes:
        """Return labels, int32 of shape (n_images,), as the classes of the run."""
        seen = [names.code(self.became[name]) if name in self.became else -1 for name in list(names)]
        return np.array(seen, dtype=np.int32)[label]

    def confidence(self) -> NDArray[np.float64]:
        """Return the probability of the predicted class, float64 of shape (n_images,); NaN if not known."""
        found = np.full(len(self.row), np.nan)
        known = self.row >= 0
        rows = self.row[known]
        found[known] = self.predictions.y_prob[rows, self.y_pred[rows]]
        return found

    def probability(self, seen: Codes, names: Names) -> NDArray[np.float64]:
        """Return the probability of one class per image, float64 of shape (n_images,); NaN if not known.

        Parameters
        ----------
        seen
            As `sees` returns them.
        """
        own = names.codes(self.predictions.class_names)
        column_of = np.full(len(names), -1, dtype=np.int32)
        column_of[own] = np.arange(len(own))
        found = np.full(len(self.row), np.nan)
        known = (self.row >= 0) & (seen >= 0)
        found[known] = self.predictions.y_prob[self.row[known], column_of[seen[known]]]
        return found


def what_became(
    given: Dataset, numbers: NDArray[np.int64], predictions: Predictions, rows: NDArray[np.integer]
) -> dict[str, str]:
    """Return label of the data -> class of a run, which may have joined some of the data's.

    It is read from the labels that the run was told: the class that most images of a label had there, for
    single ones had been corrected.

    Parameters
    ----------
    numbers, rows
        Of the images that are here: int64 of shape (n,), and the row of `predictions` about each.
    """
    names, y_true = predictions.class_names, predictions.y_true[rows]
    pairs = np.stack([given.targets[numbers], y_true], axis=1)[y_true != UNKNOWN]
    pairs, counts = np.unique(pairs, axis=0, return_counts=True)
    ordered = pairs[np.argsort(counts, kind="stable")]  # of one label, the most frequent comes last
    return {given.class_names[old]: names[new] for old, new in ordered.tolist()} | {own: own for own in names}


@dataclass(frozen=True, eq=False)
class Findings:
    """An audit's findings by image.

    Attributes
    ----------
    about
        Image -> its findings; images without any are left out.
    kinds
        Kind -> where there is one, bool of shape (n_images,).
    suggested
        Image -> the label that the audit holds more likely.
    suspicion
        float64 of shape (n_images,): probability of the label as given where the audit suspects it, else NaN.
    """

    about: Mapping[int, list[Finding]]
    kinds: Mapping[str, Mask]
    suggested: Mapping[int, str]
    suspicion: NDArray[np.float64]

    @classmethod
    def lay(cls, findings: Sequence[Finding], index: Callable[[str], int | None], n_images: int) -> Self:
        """Return findings by image; `index` gives an id's number, or None for images that are not here."""
        about: dict[int, list[Finding]] = defaultdict(list)
        kinds: dict[str, Mask] = {}
        suggested: dict[int, str] = {}
        suspicion = np.full(n_images, np.nan)
        for finding in findings:
            here = [i for sample_id in finding.sample_ids if (i := index(sample_id)) is not None]
            kinds.setdefault(finding.kind, np.zeros(n_images, dtype=np.bool_))[here] = True
            for i in here:
                about[i].append(finding)
            if finding.kind == SUSPECT and here:
                probability = finding.details.get("probability", {})
                suggested[here[0]] = str(finding.details.get("suggested", ""))
                suspicion[here[0]] = probability.get(finding.details.get("label"), np.nan)
        return cls(dict(about), kinds, suggested, suspicion)
