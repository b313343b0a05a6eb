"""What changed from one run to a later one, on the test images that both have."""

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tellapart.errors import ConfigError
from tellapart.evaluation.measures import MEASURES, write_figure
from tellapart.records import Predictions
from tellapart.studio.operation import Arguments, Json, Operation
from tellapart.studio.shelf import StoredRun
from tellapart.studio.wording import change, count

if TYPE_CHECKING:
    from tellapart.evaluation.estimate import Estimate
    from tellapart.studio.desk import Desk

FIGURES = (
    "accuracy",
    "balanced_accuracy",
    "roc_auc_macro",
    "sensitivity",
    "specificity",
    "log_loss",
    "ece",
)

N_DRAWS = 1000


def run_difference(desk: "Desk", arguments: Arguments) -> Json:
    """Compare run ``after`` with run ``before`` on the test images of both; see `difference`."""
    before, after = arguments.text("before"), arguments.text("after")
    told = difference(desk.shelf.run(before), desk.shelf.run(after))
    return {
        "before": before,
        "after": after,
        **told,
        "says": _says(before, after, told),
    }


OPERATIONS: dict[str, Operation] = {"run_difference": Operation(run_difference)}


def difference(before: StoredRun, after: StoredRun) -> Json:
    """Compare two runs on their common test images, with the labels that the later run was tested with.

    Returns
    -------
    dict
        ``n`` common images, ``n_before``, ``n_after``, ``relabelled`` (common images whose label differs
        between the runs), and ``figures``: rows of ``name``, ``before``, ``after``, ``difference``,
        ``ci95`` of the difference, and ``words`` for all of it; what is not defined is None.

    Raises
    ------
    ConfigError
        If a run has no test set, or they share no image, or tell different classes apart.
    """
    first, second = _tested(before), _tested(after)
    if first.class_names != second.class_names:
        raise ConfigError(
            f"{before.name} tells {', '.join(first.class_names)} apart, {after.name} "
            f"{', '.join(second.class_names)}; only runs with the same classes can be compared"
        )
    i, j = rows_of_both(first, second)
    if not len(i):
        raise ConfigError(
            f"{before.name} and {after.name} were tested on different images; "
            f"keep the test images of {before.name} when you train again"
        )
    return {
        "n": len(i),
        "n_before": len(first),
        "n_after": len(second),
        "relabelled": int((first.y_true[i] != second.y_true[j]).sum()),
        "figures": _rows(before, after, i, j),
    }


def rows_of_both(first: Predictions, second: Predictions) -> NDArray[np.int64]:
    """Return the two rows of each image that both are about, int64 of shape (2, n), in the second's order."""
    row = {sample_id: i for i, sample_id in enumerate(first.sample_ids)}
    pairs = [(row[key], j) for j, key in enumerate(second.sample_ids) if key in row]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T


def _rows(before: StoredRun, after: StoredRun, i: NDArray[np.int64], j: NDArray[np.int64]) -> list[Json]:
    """Return the figures of both runs on rows `i` of the one's predictions and `j` of the other's."""
    from tellapart.evaluation.intervals import Resampling, bootstrap_estimate
    from tellapart.evaluation.metrics import WeightedMetrics
    from tellapart.evaluation.paired import Paired

    later = _tested(after)
    y_true = later.y_true[j]
    groups = None if later.groups is None else [later.groups[k] for k in j]
    positive = None if after.threshold is None else later.class_names.index(after.threshold.positive)
    resampling = Resampling.of(len(y_true), groups)
    metrics = [
        WeightedMetrics(y_true, _decided(run)[rows], _tested(run).y_prob[rows], positive)
        for run, rows in ((before, i), (after, j))
    ]
    whole = [one(np.ones((len(y_true), 1))).overall for one in metrics]
    # Both runs on the same draws: the interval is that of the difference.
    drawn = [[one(weights).overall for one in metrics] for weights in resampling.weights(N_DRAWS, 0)]
    told = []
    for name in FIGURES:
        if name not in whole[0]:
            continue
        old, new = (float(one[name][0]) for one in whole)
        draws = np.concatenate([second[name] - first[name] for first, second in drawn])
        bounds = (-math.inf, math.inf) if name == "log_loss" else (-1.0, 1.0)
        gain = bootstrap_estimate(new - old, draws, resampling, bounds=bounds, n_exact=resampling.n_units)
        if name == "accuracy":
            gain = Paired(_decided(before)[i] == y_true, _decided(after)[j] == y_true, groups).difference
        told.append(
            {
                "name": name,
                "before": old if math.isfinite(old) else None,
                "after": new if math.isfinite(new) else None,
                "difference": gain.to_dict()["value"],
                "ci95": gain.to_dict()["ci95"],
                "words": _words(name, old, new, gain),
            }
        )
    return told


def _says(before: str, after: str, told: Json) -> str:
    """Say on which images two runs are compared, and by which labels."""
    n, n_before, n_after, relabelled = (told[key] for key in ("n", "n_before", "n_after", "relabelled"))
    some = f" (of {n_before:,} and {n_after:,})" if n < max(n_before, n_after) else ""
    other = f": {relabelled:,} of them with another label than when {before} was tested" if relabelled else ""
    images = f"the same {count(n, 'test image')}{some}"
    return f"Both on {images}, with the labels that {after} was tested with{other}."


def _words(name: str, old: float, new: float, gain: "Estimate") -> Json:
    """Return a row as people read it: what it is called, what was, is and has changed."""
    ends = gain.ci95
    return {
        "label": MEASURES[name].label,
        "note": "less is better" if MEASURES[name].lower_is_better else "",
        "before": write_figure(old, name),
        "after": write_figure(new, name),
        "difference": change(name, gain.to_dict()["value"]),
        "interval": " to ".join(change(name, end, unit=False) for end in ends) if ends else "not estimable",
        "chance": "may be chance" if ends and ends[0] <= 0 <= ends[1] else "",
    }


def _tested(run: StoredRun) -> Predictions:
    if run.predictions is None:
        raise ConfigError(f"{run.name} has no test set to compare on")
    return run.predictions


def _decided(run: StoredRun) -> NDArray[np.int64]:
    assert run.y_pred is not None  # there are predictions
    return run.y_pred
