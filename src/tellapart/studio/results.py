"""What a run's predictions are worth, and what two runs disagree on."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from tellapart.errors import ConfigError
from tellapart.evaluation.measures import MEASURES, card_names
from tellapart.studio import remarks
from tellapart.studio.difference import rows_of_both
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.tested import KINDS, Tested
from tellapart.studio.wording import figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tellapart.evaluation.paired import Paired
    from tellapart.studio.desk import Desk
    from tellapart.studio.shelf import StoredRun

BY_CLASS = ("precision", "recall", "specificity", "f1", "roc_auc")
"""Figures of each class."""

MOST_SHOWN = 200
"""Images in one answer."""


def results(desk: "Desk", arguments: Arguments) -> Json:
    """Return a run's figures as it stored them, or, if asked, under the labels in force.

    Arguments: `run` (else the one shown last), `corrected`.
    """
    name = arguments.text("run", "") or _shown(desk)
    runs = desk.shelf.tested()
    if not name:
        return {"run": None, "runs": runs, "unfinished": desk.shelf.names()}
    run = desk.shelf.run(name)
    tested = Tested.of(desk, run)
    corrected = arguments.flag("corrected", False)
    metrics = _corrected_figures(desk, run, desk.catalog.version) if corrected else run.metrics
    if metrics is None:
        raise ConfigError(f"{name} has predictions but no metrics.json; evaluate it again")
    relabelled, excluded = int((tested.relabelled & ~tested.excluded).sum()), int(tested.excluded.sum())
    not_here, groups = int((tested.number < 0).sum()), _subgroups(desk, run, desk.catalog.version, corrected)
    return {
        "run": name,
        "runs": runs,
        "metrics": metrics,
        **_figures(metrics),
        "corrected": corrected,
        "labels": tested.labels,
        "basis": remarks.basis(metrics, tested, desk.catalog.given.samples),
        "relabelled": relabelled,
        "excluded": excluded,
        "since": remarks.since(relabelled, excluded),
        "which": remarks.CORRECTED if corrected else remarks.STORED,
        "not_here": not_here,
        "gone": remarks.gone(not_here, metrics["n_samples"]),
        "kinds": {kind: len(tested.ranked(kind, corrected=corrected)) for kind in KINDS},
        "kind_names": KINDS,
        "subgroups": groups,
        "caution": remarks.caution(groups),
    }


def ranked(desk: "Desk", arguments: Arguments) -> Json:
    """Return some of a run's images of one kind, in its order.

    Arguments: `run`, `kind` (one of `KINDS`), `corrected`, `start`, `count`.
    """
    tested = Tested.of(desk, desk.shelf.run(arguments.text("run")))
    kind, corrected = arguments.one_of("kind", KINDS), arguments.flag("corrected", False)
    return _part(desk, tested, tested.ranked(kind, corrected=corrected), arguments)


def compare(desk: "Desk", arguments: Arguments) -> Json:
    """Return how two runs differ on the images that both tested, judged by the labels in force.

    Arguments: `first`, `second`; the difference is the second's accuracy less the first's.
    """
    first, second = _two(desk, arguments)
    rows, paired = _paired(first, second)
    told = {
        "first": first.run.name,
        "second": second.run.name,
        "n": rows.shape[1],
        "n_first": len(first.number),
        "n_second": len(second.number),
        "relabelled": int((first.relabelled[rows[0]] | second.relabelled[rows[1]]).sum()),
    }
    if not rows.shape[1]:
        return {**told, "notes": [remarks.NOTHING_IN_COMMON]}
    return {
        **told,
        "accuracy": [float(paired.first.mean()), float(paired.second.mean())],
        "difference": paired.difference.to_dict(),
        "p_value": paired.p_value,
        "independent": paired.independent,
        "counts": paired.counts,
        "says": remarks.compared(first.run.name, second.run.name, paired),
        "notes": remarks.notes(told["relabelled"], paired),
    }


def outcomes(desk: "Desk", arguments: Arguments) -> Json:
    """Return some of the images that two runs have answered in one way, as the second run scored them.

    Arguments: `first`, `second`, `outcome` (such as ``"fixed"``), `start`, `count`.
    """
    from tellapart.evaluation.paired import OUTCOMES

    first, second = _two(desk, arguments)
    rows, paired = _paired(first, second)
    chosen = rows[:, paired.where(arguments.one_of("outcome", OUTCOMES))]
    answer = _part(desk, second, chosen[1], arguments)
    names, start = first.predictions.class_names, arguments.integer("start", 0)
    for item, row in zip(answer["items"], chosen[0, start:].tolist(), strict=False):
        item["before"] = names[first.y_pred[row]]
    return answer


OPERATIONS: dict[str, Operation] = {
    "results": Operation(results),
    "ranked": Operation(ranked),
    "compare": Operation(compare),
    "outcomes": Operation(outcomes),
}


def _shown(desk: "Desk") -> str:
    """Return the name of the run that the studio shows, empty where none was tested."""
    attached = desk.catalog.predictions
    known = desk.shelf.tested()
    return attached.name if attached and attached.name in known else next(iter(known), "")


def _part(desk: "Desk", tested: Tested, rows: "NDArray[np.int64]", arguments: Arguments) -> Json:
    start = arguments.integer("start", 0)
    count = arguments.integer("count", 24, low=1, high=MOST_SHOWN)
    return {
        "total": len(rows),
        "items": [tested.item(desk, row) for row in rows[start : start + count].tolist()],
    }


def _two(desk: "Desk", arguments: Arguments) -> tuple[Tested, Tested]:
    first, second = (desk.shelf.run(arguments.text(name)) for name in ("first", "second"))
    return Tested.of(desk, first), Tested.of(desk, second)


def _paired(first: Tested, second: Tested) -> "tuple[NDArray[np.int64], Paired]":
    """Return the rows of each image that counts in both, int64 of shape (2, n), and who is right there."""
    from tellapart.evaluation.paired import Paired

    rows = rows_of_both(first.predictions, second.predictions)
    rows = rows[:, first.counts_now[rows[0]] & second.counts_now[rows[1]]]
    mine, other = rows
    groups = second.predictions.groups
    return rows, Paired(
        first.y_pred[mine] == first.y_now[mine],
        second.y_pred[other] == second.y_now[other],
        None if groups is None else [groups[row] for row in other.tolist()],
    )


@lru_cache(maxsize=8)
def _corrected_figures(desk: "Desk", run: "StoredRun", version: int) -> Json:
    """Evaluate anew; kept, because the intervals take seconds.

    Of another `version` of the labels, and of a run that the shelf has read anew because its threshold was
    changed, the figures are others.
    """
    from tellapart.evaluation.evaluation import Evaluation

    tested = Tested.of(desk, run)
    stored = run.metrics or {}
    draws = {key: stored[key] for key in ("n_bootstrap", "seed") if key in stored}
    return Evaluation(tested.corrected, run.threshold, **draws).to_dict()


@lru_cache(maxsize=8)
def _subgroups(desk: "Desk", run: "StoredRun", version: int, corrected: bool) -> list[Json]:
    """Return the figures by metadata of the images that are here; kept as `_corrected_figures` are."""
    from tellapart.evaluation.subgroups import subgroups

    tested = Tested.of(desk, run)
    rows = np.flatnonzero((tested.number >= 0) & (tested.counts_now if corrected else True))
    samples = desk.catalog.given.samples
    metadata = [samples[i].metadata for i in tested.number[rows].tolist()]
    threshold, groups = run.threshold, tested.predictions.groups
    found = subgroups(
        metadata,
        (tested.y_now if corrected else tested.predictions.y_true)[rows],
        tested.y_pred[rows],
        positive=tested.predictions.class_names.index(threshold.positive) if threshold else None,
        groups=None if groups is None else [groups[row] for row in rows.tolist()],
    )
    return [
        {
            "column": one.column,
            "value": one.value,
            "n": one.n_samples,
            "n_units": one.n_units,
            "small": one.is_small,
            "figures": {
                key: {**figure(key, value.to_dict()), "n": one.counts[key]}
                for key, value in one.figures.items()
            },
        }
        for one in found
    ]


def _figures(metrics: Json) -> Json:
    """Return stored figures with their names and in words: on ``cards``, the ``others``, and ``by_class``."""
    stored = [name for name in MEASURES if isinstance(metrics.get(name), dict) and "method" in metrics[name]]
    cards = [name for name in card_names(metrics.get("positive")) if name in stored]
    return {
        "cards": [figure(name, metrics[name]) for name in cards],
        "others": [figure(name, metrics[name]) for name in stored if name not in cards],
        "by_class": [
            {
                "name": name,
                "n": found["support"],
                "figures": [figure(key, found[key]) for key in BY_CLASS if key in found],
            }
            for name, found in metrics["per_class"].items()
        ],
    }
