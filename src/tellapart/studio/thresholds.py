"""Choosing the operating point of a two-class model, on the images that its run kept for that."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tellapart.bundle import VALIDATION_FILE
from tellapart.errors import ConfigError
from tellapart.records import Predictions, Threshold
from tellapart.studio import calls
from tellapart.studio.decision import choices, choose_anew
from tellapart.studio.operation import Arguments, Json, Operation

if TYPE_CHECKING:
    from tellapart.evaluation.operating_points import OperatingPoints
    from tellapart.studio.desk import Desk
    from tellapart.studio.shelf import StoredRun

METHODS = ("youden", "sensitivity", "cost", "band", "hand")
"""Ways to choose: by Youden's index, a target sensitivity, what mistakes cost, two targets, or freely."""

MOST_NEAR = 100
"""Images that are shown of those near a threshold, or of those that change sides."""

_GRID = np.arange(1, 99) / 100
"""The probabilities at which the decision curve is drawn, those of curves.js."""


class Held:
    """What a run says of its validation images, for one class against the rest.

    Parameters
    ----------
    run
        With stored validation predictions.
    class_name
        Of the class; empty for the positive one of two, or the last of several.

    Raises
    ------
    ConfigError
        If the run has no such class, or no stored validation predictions.
    """

    def __init__(self, run: "StoredRun", class_name: str = "") -> None:
        if run.validation is None:
            raise ConfigError(_why_none(run))
        self.run, self.predictions = run, run.validation
        names = self.predictions.class_names
        self.in_use = None if run.card is None else run.card.threshold
        self.name = class_name or (names[-1] if self.in_use is None else self.in_use.positive)
        if self.name not in names:
            raise ConfigError(f"no class is called {self.name!r}; the classes are {', '.join(names)}")
        column = names.index(self.name)
        self.positive: NDArray[np.bool_] = self.predictions.y_true == column
        self.score: NDArray[np.float64] = self.predictions.y_prob[:, column]

    @property
    def storable(self) -> bool:
        """Whether a threshold of this class can go into the bundle."""
        return self.in_use is not None and self.name == self.in_use.positive

    @cached_property
    def resampling(self) -> Any:
        """What the bootstrap draws; see `tellapart.evaluation.intervals.Resampling`."""
        from tellapart.evaluation.intervals import Resampling

        return Resampling.of(len(self.predictions), self.predictions.groups)

    def at(self, thresholds: Sequence[float] | NDArray[np.float64]) -> "OperatingPoints":
        """Return counts and figures at some thresholds, rising ones."""
        from tellapart.evaluation.operating_points import OperatingPoints

        return OperatingPoints(self.positive, self.score, np.asarray(thresholds, float), self.resampling)


def threshold(desk: "Desk", arguments: Arguments) -> Json:
    """Return exact counts at every threshold, on validation images.

    Arguments: `run` (default: the first that can be chosen for), `class`, `at` and `and` (thresholds that
    must be among those of the answer).
    """
    runs = [name for name in desk.shelf.names() if desk.shelf.run(name).finished]
    name = arguments.text("run", "") or _first(desk, runs)
    if not name:
        return {"run": None, "runs": [], "missing": "there is no finished run yet; train one first"}
    run = desk.shelf.run(name)
    if run.validation is None:
        return {"run": name, "runs": runs, "missing": _why_none(run)}
    held = Held(run, arguments.text("class", ""))
    keep = [arguments.number(end, low=0, high=1) for end in ("at", "and") if arguments.has(end)]
    in_use = held.in_use
    chosen_on = "validation" if in_use is None else in_use.chosen_on
    return {
        "run": name,
        "runs": runs,
        "class_names": list(held.predictions.class_names),
        "positive": held.name,
        "others": _others(held.predictions, held.name),
        "storable": held.storable and not desk.read_only,
        "data": chosen_on.removesuffix(" data"),
        "n": len(held.predictions),
        "unit": held.resampling.name,
        "in_use": _told(in_use) if in_use is not None and held.storable else None,
        **_looks(run),
        **(drawn := _points(run, held.name, tuple(keep))),
        "basis": calls.basis(
            held.name,
            _others(held.predictions, held.name),
            len(held.predictions),
            drawn["points"]["positives"],
            is_out_of_fold=chosen_on.startswith("out-of-fold"),
            is_grouped=held.resampling.name == "groups",
        ),
    }


def choose(desk: "Desk", arguments: Arguments) -> Json:
    """Return the threshold or band that a method chooses on validation images; nothing is written.

    Arguments: `run`, `class`, `method` (one of `METHODS`), and what it needs: `sensitivity` and `surely`;
    `cost` and `prevalence`; `sensitivity` and `specificity`; `at` and `and`.
    """
    held = Held(desk.shelf.run(arguments.text("run")), arguments.text("class", ""))
    value, band, rule = _choose(held, arguments)
    return {"value": value, "band": band, "rule": rule}


def near(desk: "Desk", arguments: Arguments) -> Json:
    """Return the validation images at a threshold, and those that change sides on the way there.

    Arguments: `run`, `class`, `at`, `and` (the band's other end), `from` (another threshold), `count`.

    Returns
    -------
    dict
        ``nearest``: images, the nearest first; ``flips``: how many become the class (``gained``) and how
        many no longer are (``lost``), how many of them rightly (``right``), and some of the images;
        ``band``: counts and figures with a band, else None.
    """
    held = Held(desk.shelf.run(arguments.text("run")), arguments.text("class", ""))
    at = arguments.number("at", low=0, high=1)
    before = arguments.number("from", at, low=0, high=1)
    count = arguments.integer("count", 12, low=1, high=MOST_NEAR)
    nearest = np.argsort(np.abs(held.score - at), kind="stable")[:count]
    ends = _ends(at, arguments.number("and", low=0, high=1)) if arguments.has("and") else None
    to = at if ends is None else ends[0]  # a label changes at a band's lower end
    flips = np.flatnonzero((held.score >= min(to, before)) & (held.score < max(to, before)))
    flips = flips[np.argsort(np.abs(held.score[flips] - to), kind="stable")]
    gains = to < before
    right = int((held.positive[flips] == gains).sum())
    others = _others(held.predictions, held.name)
    return {
        "nearest": [_item(desk, held, row) for row in nearest.tolist()],
        "flips": {
            "gained": len(flips) if gains else 0,
            "lost": 0 if gains else len(flips),
            "right": right,
            "says": calls.flips(len(flips), held.name if gains else others, right, before),
            "items": [_item(desk, held, row) for row in flips[:count].tolist()],
        },
        "band": None if ends is None else _with_band(held, ends),
    }


def use_threshold(desk: "Desk", arguments: Arguments) -> Json:
    """Write a threshold into the run's model, and say what the test set says of it: once.

    Arguments: those of `choose`, `why` and `seen` (the value that was in use). See
    `tellapart.studio.decision.choose_anew` for what is written.
    """
    run = desk.shelf.run(arguments.text("run"))
    held = Held(run)
    if held.in_use is None:
        names = held.predictions.class_names
        raise ConfigError(
            f"a threshold is stored for two classes, and this model has {len(names)}: its answer is the most "
            "probable class; train again with --merge NEW=OLD,OLD for two"
        )
    why = " ".join(arguments.text("why").split())
    if not why:
        raise ConfigError("say why this threshold: the reason goes into the model's card")
    value, band, rule = _choose(held, arguments)
    chosen = Threshold(
        value,
        held.in_use.positive,
        held.in_use.chosen_on if held.in_use.chosen_on != "default" else "validation",
        rule,
        band=band,
        chosen_by=desk.actor,
        why=why,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    test = choose_anew(run, chosen, desk.given.thumbnail, instead_of=arguments.number("seen"))
    desk.arrivals.decided_anew(run.name)
    looks = _looks(run)
    return {
        "in_use": _told(chosen),
        **looks,
        "test": {**test, **calls.tested(test, overlap=looks["overlap"] > 0)} if test else None,
        "elsewhere": _elsewhere(run),
    }


OPERATIONS: dict[str, Operation] = {
    "threshold": Operation(threshold),
    "choose": Operation(choose),
    "near": Operation(near),
    "use_threshold": Operation(use_threshold, writes=True),
}


def _first(desk: "Desk", runs: Sequence[str]) -> str:
    """Return the run that the studio shows if it can be chosen for, else the one named, else any."""
    able = [name for name in runs if name in desk.shelf.folders(VALIDATION_FILE)]
    attached = desk.catalog.predictions
    shown = [name for name in able if attached is not None and name == attached.name]
    return next(iter([*shown, *([] if desk.run is None else runs[:1]), *able, *runs]), "")


def _why_none(run: "StoredRun") -> str:
    return (
        f"the run {run.name} has no {VALIDATION_FILE}: it was trained before tellapart kept what a model "
        "says of its validation images, and a threshold must not be chosen on test images; train it again"
    )


@lru_cache(maxsize=8)
def _points(run: "StoredRun", class_name: str, keep: tuple[float, ...]) -> Json:
    """Return what curves.js draws: ``points`` for the explorer, ``utility`` for the decision curve."""
    from tellapart.evaluation.operating_points import SHARES, OperatingPoints

    held = Held(run, class_name)
    in_use = held.in_use.value if held.in_use is not None and held.storable else None
    start = 0.5 if in_use is None else in_use
    # The last point calls nothing positive; no model can be told so.
    points = OperatingPoints.across(held.positive, held.score, held.resampling, keep=[start, *keep, np.inf])
    n = len(points.thresholds)
    figures = [points.estimates(index) for index in range(n)]
    position = int(np.searchsorted(points.thresholds, start))
    grid = held.at(_GRID)
    sides = {"positives": int(held.positive.sum()), "negatives": int((~held.positive).sum())}
    return {
        "points": {
            "name": held.name,
            **sides,
            "thresholds": [*points.thresholds[:-1].tolist(), None],
            "tp": points.tp.tolist(),
            "fp": points.fp.tolist(),
            "in_use": None if in_use is None else position,
            "start": position,
            "intervals": {name: [figure[name].ci95 for figure in figures] for name in SHARES},
        },
        "utility": {**sides, "thresholds": _GRID.tolist(), "tp": grid.tp.tolist(), "fp": grid.fp.tolist()},
    }


def _choose(held: Held, arguments: Arguments) -> tuple[float, tuple[float, float] | None, str]:
    """Return a threshold's value, its band or None, and the rule in words."""
    from tellapart.evaluation.thresholds import choose_band, choose_by_cost, choose_threshold

    method, sample = arguments.one_of("method", METHODS), (held.positive, held.score)
    if method == "youden":
        return choose_threshold(*sample, target_sensitivity=None), None, "Youden's index"
    if method == "sensitivity":
        target, surely = arguments.number("sensitivity"), arguments.flag("surely", False)
        resampling = held.resampling if surely else None
        value = choose_threshold(*sample, target_sensitivity=target, surely=resampling)
        how = " by the lower end of its 95 % interval" if surely else ""
        return value, None, f"sensitivity of at least {target:g}{how}"
    if method == "cost":
        cost = arguments.number("cost")
        prevalence = arguments.number("prevalence") if arguments.has("prevalence") else None
        value = choose_by_cost(*sample, miss_cost=cost, prevalence=prevalence)
        where = "" if prevalence is None else f", at a prevalence of {prevalence:g}"
        return value, None, f"least cost, a missed {held.name} as bad as {cost:g} false alarms{where}"
    if method == "band":
        sensitivity, specificity = arguments.number("sensitivity"), arguments.number("specificity")
        low, high = choose_band(*sample, sensitivity=sensitivity, specificity=specificity)
        rule = f"sensitivity of at least {sensitivity:g} and specificity of at least {specificity:g}"
        if low == high:
            return low, None, f"{rule}, which one threshold reaches"
        return low, (low, high), f"{rule}, a person deciding in between"
    at = arguments.number("at", low=0, high=1)
    if not arguments.has("and"):
        return at, None, "set by hand"
    low, high = _ends(at, arguments.number("and", low=0, high=1))
    return low, ((low, high) if low < high else None), "set by hand"


def _ends(one: float, other: float) -> tuple[float, float]:
    return min(one, other), max(one, other)


def _with_band(held: Held, band: tuple[float, float]) -> Json:
    """Return counts and figures where a person decides between two thresholds."""
    points = held.at(band)
    tp, fp = points.tp.tolist(), points.fp.tolist()
    told = {
        "tp": tp[1],
        "fp": fp[1],
        "fn": int(held.positive.sum()) - tp[0],
        "tn": int((~held.positive).sum()) - fp[0],
        "referred": tp[0] - tp[1] + fp[0] - fp[1],
        "figures": {name: figure.to_dict() for name, figure in points.estimates(0, 1).items()},
    }
    others = _others(held.predictions, held.name)
    says = calls.band(told, band, held.name, others, len(held.predictions))
    return {**told, **calls.counted(told), "says": says}


def _item(desk: "Desk", held: Held, row: int) -> Json:
    """Return a validation image; ``i`` is None where it is not among the studio's."""
    sample_id, names = held.predictions.sample_ids[row], held.predictions.class_names
    return {
        "i": desk.catalog.index(sample_id),
        "id": sample_id,
        "label": names[held.predictions.y_true[row]],
        "p": float(held.score[row]),
    }


def _others(predictions: Predictions, name: str) -> str:
    rest = [other for other in predictions.class_names if other != name]
    return rest[0] if len(rest) == 1 else "the rest"


def _overlap(run: "StoredRun") -> int:
    """Return how many test images are among the validation images, as in a cross-validation."""
    if run.predictions is None or run.validation is None:
        return 0
    return len({*run.predictions.sample_ids} & {*run.validation.sample_ids})


def _looks(run: "StoredRun") -> Json:
    """Return what was chosen for a run since its training, and what that means for its test set."""
    chosen, overlap = choices(run.folder), _overlap(run)
    n_test = 0 if run.predictions is None else len(run.predictions)
    return {
        "choices": chosen,
        "n_test": n_test,
        "overlap": overlap,
        "looks": calls.looks(len(chosen), n_test),
        "shared": calls.shared(overlap, n_test),
    }


def _told(chosen: Threshold) -> Json:
    return {
        "value": chosen.value,
        "band": chosen.band,
        "rule": chosen.rule,
        "by": chosen.chosen_by,
        "why": chosen.why,
        "at": chosen.at,
    }


def _elsewhere(run: "StoredRun") -> list[Json]:
    """Return what to type for copies of the model that were made before."""
    run_folder = shlex.quote(str(run.folder))
    told = [
        {"where": "a deployment of this model", "command": f"tellapart deploy update NAME {run_folder}"},
        {"where": "a service that serves this run", "command": "kill -HUP PID"},
        {"where": "an exported copy", "command": f"tellapart export {run_folder} --out NEW_FOLDER"},
    ]
    if (run.folder / "model-int8").is_dir():
        command = f"tellapart export {run_folder} --precision int8 --out NEW_FOLDER"
        told.append({"where": "the int8 model in this run", "command": command})
    return told
