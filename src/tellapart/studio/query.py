"""Which images, and in which order: what an address of the grid says."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import ConfigError
from tellapart.studio.columns import Mask
from tellapart.studio.operation import Arguments

if TYPE_CHECKING:
    from tellapart.studio.catalog import Catalog

SORTS = {
    "name": "Name",
    "confidence": "Confidence of the prediction",
    "error": "How odd the label is",
    "size": "Size of the file",
    "random": "Random",
}
"""By id, by the probability of the predicted class, by the probability of the label (low is odd), by the
file's bytes, or shuffled, always in the same way; and what a page calls it."""

NAMED = ("label", "given", "split", "predicted", "finding", "by")
"""Facets whose values are names that the data bring."""

FIXED = {
    "correct": ("wrong", "right"),
    "flagged": ("no", "yes"),
    "excluded": ("no", "yes"),
    "changed": ("no", "yes"),
    "reviewed": ("no", "yes"),
}
"""Facets with two values each."""

FACETS = (*NAMED, *FIXED)
"""What images can be chosen by."""

TITLES = {
    "label": "Class",
    "split": "Split",
    "predicted": "Predicted",
    "correct": "Prediction",
    "finding": "Finding",
    "given": "Label as given",
    "by": "Decided by",
}
"""Facets under which a page lists all their values, in its order."""

MARKS = (
    ("changed", "yes", "Label changed"),
    ("flagged", "yes", "Flagged"),
    ("excluded", "yes", "Excluded"),
    ("excluded", "no", "Not excluded"),
    ("reviewed", "yes", "Reviewed by you"),
    ("reviewed", "no", "Not reviewed by you"),
)
"""Values of the other facets that a page lists together, in its order."""


@dataclass(frozen=True)
class Query:
    """A choice of images: those that have one of the values wanted of each facet.

    Attributes
    ----------
    label, given, split, predicted, finding, by
        Values wanted; any, where there are none. `by` is who decided last on the image.
    correct
        Of ``"right"`` and ``"wrong"``: whether the prediction is the label in force.
    flagged, excluded, changed, reviewed
        Of ``"yes"`` and ``"no"``.
    search
        Part of the id, in any case.
    sort
        One of `SORTS`; what is not known comes last, and equals come by id.
    descending
        The other way round.
    run
        Name of the run that `predicted`, `correct` and the orders are about; empty for the one that is shown.
    """

    label: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    predicted: tuple[str, ...] = ()
    finding: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    correct: tuple[str, ...] = ()
    flagged: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    reviewed: tuple[str, ...] = ()
    search: str = ""
    sort: str = "name"
    descending: bool = False
    run: str = ""

    @classmethod
    def read(cls, arguments: Arguments) -> Self:
        """Read a query from an operation's arguments.

        How several values of a facet stand in one text is told at `Arguments.names`.

        Raises
        ------
        ConfigError
            If a value is none that its facet or `sort` can have.
        """
        wanted = {name: tuple(arguments.names(name)) for name in FACETS}
        for name, known in FIXED.items():
            for value in wanted[name]:
                if value not in known:
                    raise ConfigError(f"{name} is {value!r}; accepted: {' or '.join(known)}")
        return cls(
            **wanted,
            search=arguments.text("search", "").strip().casefold(),
            sort=arguments.one_of("sort", SORTS, "name"),
            descending=arguments.flag("descending", False),
            run=arguments.text("run", ""),
        )

    def wanted(self, facet: str) -> tuple[str, ...]:
        """Return the values wanted of a facet; none where any will do."""
        values: tuple[str, ...] = getattr(self, facet)
        return values


def order(query: Query, catalog: "Catalog") -> NDArray[np.int64]:
    """Return the numbers of the images that a query chooses, int64, in its order."""
    chosen = np.logical_and.reduce([_found(query, catalog), *_masks(query, catalog).values()])
    numbers = np.flatnonzero(chosen).astype(np.int64)
    if query.sort == "name":
        return numbers[::-1] if query.descending else numbers
    key = _key(query, catalog)[numbers]
    key = -key if query.descending else key  # NaN stays NaN, which sorts last
    return numbers[np.argsort(key, kind="stable")]


def count(query: Query, catalog: "Catalog") -> dict[str, dict[str, int]]:
    """Return facet -> value -> number of images, among those that the other facets choose.

    Values that no image has are left out, except classes and what the query wants.
    """
    found, masks = _found(query, catalog), _masks(query, catalog)
    told: dict[str, dict[str, int]] = {}
    for facet in FACETS:
        others = [mask for name, mask in masks.items() if name != facet]
        among = np.logical_and.reduce([found, *others])
        kept = dict.fromkeys((*(catalog.class_names if facet == "label" else ()), *query.wanted(facet)), 0)
        told[facet] = kept | catalog.column(facet, query.run).counts(among)
    return told


def _masks(query: Query, catalog: "Catalog") -> dict[str, Mask]:
    """Return what each facet that the query uses lets through."""
    used = {facet: query.wanted(facet) for facet in FACETS if query.wanted(facet)}
    return {facet: catalog.column(facet, query.run).holds(values) for facet, values in used.items()}


def _found(query: Query, catalog: "Catalog") -> Mask:
    """Return the images whose id holds what is searched for."""
    if not query.search:
        return np.ones(len(catalog), dtype=np.bool_)
    samples = catalog.given.samples
    return np.fromiter((query.search in sample.id.casefold() for sample in samples), np.bool_, len(samples))


def _key(query: Query, catalog: "Catalog") -> NDArray[np.float64]:
    match query.sort:
        case "confidence":
            return catalog.confidence(query.run)
        case "error":
            return catalog.plausibility(query.run)
        case "size":
            return catalog.sizes()
        case _:
            return np.random.default_rng(0).random(len(catalog))
