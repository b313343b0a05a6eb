"""One self-contained HTML file from an evaluation and the facts of its run.

Styles, script, data and pictures are all inside the file, and its content security policy forbids it to
load anything. The numbered sections are the outputs that guidelines for medical studies ask for; where a
fact is missing, the section says in one line what to supply.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tellapart.evaluation.facts import RunFacts
from tellapart.evaluation.measures import MEASURES, card_names, write_figure, write_interval, write_label

if TYPE_CHECKING:  # an Evaluation saves itself through this module
    from tellapart.evaluation.evaluation import Evaluation
    from tellapart.evaluation.thresholds import Threshold

Thumbnails = Callable[[str], bytes | None]

_HERE = Path(__file__).parent
_PICTURES = 24

SECTIONS = {
    1: "Intended use and classes",
    2: "Data and flow of images",
    3: "Splits and leakage",
    4: "Who is in the data",
    5: "How the model was made",
    6: "Discrimination",
    7: "Decisions",
    8: "Uncertainty",
    9: "Calibration",
    10: "Clinical utility",
    11: "Probabilities by true class",
    12: "Subgroups",
    13: "Baselines",
    14: "External test set",
    15: "Robustness",
    16: "Failures",
    17: "Explainability",
    18: "Sample size and precision",
    19: "Model card",
    20: "Files to recompute everything",
}
"""The outputs that guidelines ask for, numbered as in the documentation."""


def render(
    evaluation: Evaluation, facts: RunFacts | None = None, thumbnails: Thumbnails | None = None
) -> str:
    """Return the report as one HTML document.

    Parameters
    ----------
    evaluation
        Figures and curves on the test set.
    facts
        What is known of the data and of training; what is not is named in the report.
    thumbnails
        From a sample's id to the bytes of a small JPEG, or None for no picture.
    """
    predictions = evaluation.predictions
    positive = None if evaluation.threshold is None else evaluation.threshold.positive
    facts = facts or RunFacts()
    template = _environment().get_template("report.html")
    return template.render(
        evaluation=evaluation,
        facts=facts,
        positive=positive,
        origin=_origin(evaluation.threshold),
        negative=_other_class(predictions.class_names, positive),
        n_samples=len(predictions),
        n_groups=len(set(predictions.groups)) if predictions.groups is not None else None,
        class_names=predictions.class_names,
        sections=SECTIONS,
        measures=MEASURES,
        cards=[name for name in card_names(positive) if name in evaluation.headline],
        flow=_flow(facts.flow),
        skipped=list(dict.fromkeys([*facts.skipped, *predictions.skipped])),
        precision=_precision(evaluation, positive),
        limits=_limits(evaluation, facts),
        galleries=_galleries(evaluation, thumbnails),
        data=_chart_data(evaluation, facts, positive),
        gaps=[],
        style=_static("report.css") + _static("curves.css"),
        script=_script(),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    environment.filters.update(figure=write_figure, interval=write_interval, label=write_label)
    return environment


def _script() -> str:
    """Return curves.js and report.js as one module: the import lines between them fall away."""
    lines = "\n".join([_static("curves.js"), _static("report.js")]).splitlines()
    return "\n".join(line for line in lines if not line.startswith("import "))


def _static(name: str) -> str:
    return (_HERE / "static" / name).read_text(encoding="utf-8")


# ---- what the sections show --------------------------------------------------------------------------


def _origin(threshold: Threshold | None) -> str:
    """Say where the threshold comes from, to follow "a threshold"."""
    if threshold is None or threshold.chosen_on == "default":
        return "not chosen on any data but taken as the default"
    data = threshold.chosen_on.removesuffix(" data")
    return f"chosen on {data} data by the rule: {threshold.rule}"


def _other_class(class_names: Sequence[str], positive: str | None) -> str | None:
    return None if positive is None else next(name for name in class_names if name != positive)


def _flow(boxes: Sequence[tuple[str, int]]) -> dict[str, list[tuple[str, int]]]:
    """Separate the boxes' trunk from the branches at its end, which add up to the box before them."""
    for i in range(len(boxes) - 2):
        branches = boxes[i + 1 :]
        if sum(count for _, count in branches) == boxes[i][1] and all(count >= 0 for _, count in branches):
            return {"trunk": list(boxes[: i + 1]), "branches": list(branches)}
    return {"trunk": list(boxes), "branches": []}


def _precision(evaluation: Evaluation, positive: str | None) -> list[dict[str, Any]]:
    """Return name, n, figure and half-width in points, of what the number of test images limits most."""
    figures: list[tuple[str, int, float]] = []
    headline, per_class = evaluation.headline, evaluation.per_class
    if positive is not None and "sensitivity" in headline:
        n_positive = int(per_class[positive]["support"])
        figures.append((f"sensitivity ({positive})", n_positive, headline["sensitivity"]))
        figures.append(("specificity", len(evaluation.predictions) - n_positive, headline["specificity"]))
    else:
        figures.append(("accuracy", len(evaluation.predictions), headline["accuracy"]))
        figures.extend(
            (f"recall of {name}", int(row["support"]), row["recall"]) for name, row in per_class.items()
        )
    rows = []
    for name, n_images, value in figures:
        ends = getattr(value, "ci95", None)
        half = 50 * (ends[1] - ends[0]) if ends is not None else math.nan
        rows.append({"name": name, "n": n_images, "value": value, "half": half})
    return rows


def _limits(evaluation: Evaluation, facts: RunFacts) -> list[str]:
    """Return the limits that the figures themselves show."""
    per_class = evaluation.per_class
    rarest = min(per_class, key=lambda name: per_class[name]["support"])
    limits = [f"The rarest class, {rarest}, has only {per_class[rarest]['support']} test images."]
    if not facts.external_test:
        limits.insert(0, "Tested on images of the same source only; other clinics and cameras may do worse.")
    for name, row in per_class.items():
        if row["support"] and row["recall"] < 0.5:
            limits.append(f"Fewer than half of the {name} images are recognised ({row['recall']:.0%}).")
    return [*limits, *facts.leakage]


def _galleries(evaluation: Evaluation, thumbnails: Thumbnails | None) -> dict[str, list[dict[str, Any]]]:
    """Return the images of section 16, each with its picture as base64."""
    predictions = evaluation.predictions

    def entry(index: int) -> dict[str, Any]:
        sample_id, truth = predictions.sample_ids[index], int(predictions.y_true[index])
        predicted = int(evaluation.y_pred[index])
        picture = thumbnails(sample_id) if thumbnails is not None else None
        return {
            "path": sample_id,
            "label": predictions.class_names[truth],
            "predicted": predictions.class_names[predicted],
            "probability": float(predictions.y_prob[index, predicted]),
            "p_label": float(predictions.y_prob[index, truth]),
            "correct": truth == predicted,
            "picture": None if picture is None else base64.b64encode(picture).decode("ascii"),
        }

    return {
        "errors": [entry(int(index)) for index in evaluation.most_confident_errors(_PICTURES)],
        "doubts": [entry(int(index)) for index in evaluation.least_certain(_PICTURES)],
    }


# ---- data of the charts ------------------------------------------------------------------------------


def _chart_data(evaluation: Evaluation, facts: RunFacts, positive: str | None) -> dict[str, Any]:
    """Return what report.js draws, by the name that the template's data-from gives."""
    predictions = evaluation.predictions
    candidates = predictions.class_names if positive is None else (positive,)
    # A class that no test image has, or that all have, has no curve.
    support = {name: evaluation.per_class[name]["support"] for name in candidates}
    names = [name for name in candidates if 0 < support[name] < len(predictions)]
    classes = [_operating_points(evaluation, name) for name in names]
    macro = None
    if len(names) > 1:
        curve = evaluation.macro_roc_curve()
        macro = [[_short(x), _short(y)] for x, y in zip(curve.x, curve.y, strict=True)]
    return {
        "explorer": {"classes": classes, "macro": macro},
        "utility": [{"title": f"Net benefit, {c['name']}", "name": c["name"], "points": c} for c in classes],
        "reliability": _reliability(evaluation, positive),
        "histograms": [_histogram(evaluation, name) for name in names],
        "history": _history(facts.history),
    }


def _operating_points(evaluation: Evaluation, class_name: str) -> dict[str, Any]:
    """Return counts at rising thresholds, among them the one in use or, where there is none, 0.5."""
    curve, threshold, predictions = (
        evaluation.roc_curve(class_name),
        evaluation.threshold,
        evaluation.predictions,
    )
    start_value = 0.5 if threshold is None else threshold.value
    column = predictions.class_names.index(class_name)
    is_called, is_positive = predictions.y_prob[:, column] >= start_value, predictions.y_true == column
    start = int(np.searchsorted(curve.thresholds[::-1], start_value, side="left"))
    thresholds = np.insert(curve.thresholds[::-1], start, start_value)
    return {
        "name": class_name,
        "positives": int(is_positive.sum()),
        "negatives": int((~is_positive).sum()),
        "thresholds": [_short(value) if np.isfinite(value) else None for value in thresholds],
        "tp": np.insert(curve.tp[::-1], start, (is_called & is_positive).sum()).tolist(),
        "fp": np.insert(curve.fp[::-1], start, (is_called & ~is_positive).sum()).tolist(),
        "in_use": None if threshold is None else start,
        "start": start,
    }


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _reliability(evaluation: Evaluation, positive: str | None) -> dict[str, Any]:
    edges, confidence, correct, count, low, high = evaluation.reliability(class_name=positive)
    bins = [
        {
            "from": _short(edges[i]),
            "to": _short(edges[i + 1]),
            "confidence": _short(confidence[i]),
            "correct": _short(correct[i]),
            "low": _short(low[i]),
            "high": _short(high[i]),
            "count": int(count[i]),
        }
        for i in range(len(count))
        if count[i] > 0
    ]
    of = "the class that was called" if positive is None else positive
    return {"title": "Reliability diagram", "of": of, "bins": bins}


def _histogram(evaluation: Evaluation, class_name: str, n_bins: int = 20) -> dict[str, Any]:
    counts = {name: np.asarray(row) for name, row in evaluation.histogram(class_name, n_bins=n_bins).items()}
    others = [row for name, row in counts.items() if name != class_name]
    names = [name for name in counts if name != class_name]
    threshold = evaluation.threshold
    return {
        "title": f"Probability of {class_name} by true class",
        "xLabel": f"predicted probability of {class_name}",
        "edges": np.linspace(0, 1, n_bins + 1).round(6).tolist(),
        "above": {"name": f"truly {class_name}", "counts": counts[class_name].tolist()},
        "below": {
            "name": f"truly {names[0]}" if len(names) == 1 else "all other classes",
            "counts": np.sum(others, axis=0).tolist(),
        },
        "threshold": None if threshold is None else threshold.value,
    }


def _history(epochs: Sequence[Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return one chart each for losses, scores and the learning rate, of what the epochs recorded."""
    keys = list(dict.fromkeys(key for epoch in epochs for key in epoch))
    groups = {
        "loss": [key for key in keys if key.endswith("loss")],
        "score": [key for key in keys if any(part in key for part in ("accuracy", "auc", "f1"))],
        "learning rate": [key for key in keys if key == "learning_rate"],
    }
    return [_history_chart(name, members, epochs) for name, members in groups.items() if members]


def _history_chart(name: str, keys: list[str], epochs: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    series: list[dict[str, Any]] = []
    values = [epoch[key] for epoch in epochs for key in keys if math.isfinite(epoch.get(key, math.nan))]
    for number, key in enumerate(keys):
        points = [[i, e[key]] for i, e in enumerate(epochs, 1) if math.isfinite(e.get(key, math.nan))]
        words = key.replace("train_", "training ").replace("val_", "validation ").replace("_", " ")
        series.append({"name": words, "style": f"s{number % 4 + 1}", "points": points})
    low, high = min(values, default=0.0), max(values, default=1.0)
    if name == "score":
        low, high = max(0.0, low - 0.05), min(1.0, high + 0.05)
    else:
        low, high = min(0.0, low), high * 1.05 or 1.0
    return {
        "title": f"{name} by epoch",
        "x": {"label": "epoch", "domain": [1, max(2, len(epochs))]},
        "y": {"label": name, "domain": [low, high]},
        "series": series,
    }
