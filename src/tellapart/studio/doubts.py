"""Images worth a second look, and why: the audit suspects the label, or a run predicts another one."""

from typing import NamedTuple

import numpy as np

from tellapart.audit.findings import Finding
from tellapart.studio.attached import SUSPECT
from tellapart.studio.catalog import Catalog
from tellapart.studio.query import Query

SUSPECTED, DISAGREEMENT = REASONS = ("suspected", "disagreement")
"""Why an image is in doubt: the audit suspects its label, or a run's prediction is another."""


class Doubt(NamedTuple):
    """An image worth a second look, why, and whether its label is still another than the one suggested."""

    i: int
    reason: str
    stands: bool


def doubts(catalog: Catalog) -> list[Doubt]:
    """Return the images in doubt: suspected labels first, then what the run that is shown sees otherwise.

    In both, the images whose own label is least probable come first.
    """
    suspects = catalog.select(Query(finding=(SUSPECT,), sort="error")).tolist()
    found = [Doubt(i, SUSPECTED, catalog.label(i) != suggested(catalog, i)) for i in suspects]
    known = set(suspects)
    return found + [doubt for doubt in _seen_otherwise(catalog) if doubt.i not in known]


def suspicion(catalog: Catalog, i: int) -> Finding | None:
    """Return the finding that suspects the label of image `i`, if there is one."""
    return next((finding for finding in catalog.findings(i) if finding.kind == SUSPECT), None)


def suggested(catalog: Catalog, i: int) -> str:
    """Return the class that an image in doubt may be: the audit's suggestion, else the run's prediction."""
    finding = suspicion(catalog, i)
    if finding is not None:
        return str(finding.details.get("suggested", ""))
    attached = catalog.predictions
    told = attached.at(i) if attached else None
    return told.predicted if told else ""


def _seen_otherwise(catalog: Catalog) -> list[Doubt]:
    """Return the images of which a run predicts another class than the label, given or in force.

    Those that were corrected meanwhile are among them, so that a second reviewer sees the same images.
    """
    attached = catalog.predictions
    if attached is None:
        return []
    wrong = catalog.column("correct").holds(("wrong",))
    corrected = np.flatnonzero(catalog.column("changed").holds(("yes",)) & (attached.row >= 0) & ~wrong)
    again = [i for i in corrected.tolist() if catalog.given.samples[i].label != suggested(catalog, i)]
    numbers = np.array([*np.flatnonzero(wrong).tolist(), *again], dtype=np.int64)
    rows = attached.row[numbers]
    names = {name: k for k, name in enumerate(attached.predictions.class_names)}
    column = np.array(
        [names.get(catalog.given.samples[i].label, -1) for i in numbers.tolist()], dtype=np.int64
    )
    own = np.where(column >= 0, attached.predictions.y_prob[rows, column], 1.0)
    return [Doubt(i, DISAGREEMENT, bool(wrong[i])) for i in numbers[np.lexsort((numbers, own))].tolist()]
