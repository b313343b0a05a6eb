"""Figures and counts in words: named and written as in the report."""

import math

from tellapart.evaluation.estimate import Estimate
from tellapart.evaluation.measures import MEASURES, write_figure, write_interval, write_label
from tellapart.studio.operation import Json
from tellapart.studio.verdicts import EXCLUDED

_SIGNS = {1: "+", -1: "\N{MINUS SIGN}", 0: "±"}


def figure(name: str, estimate: Json) -> Json:
    """Return an estimate as JSON, with what it is called, and value and interval as people read them."""
    value, ci95 = estimate["value"], estimate["ci95"]
    told = Estimate(math.nan if value is None else value, ci95=ci95)
    return {
        **estimate,
        "name": name,
        "label": write_label(name),
        "says": write_figure(told, name),
        "range": write_interval(told, name) or "no interval",
    }


def change(name: str, value: float | None, *, unit: bool = True) -> str:
    """Write a difference: ``"+3.1 points"`` of a share, ``"−0.021"`` of another figure."""
    if value is None:
        return "not defined"
    share = MEASURES[name].is_percent
    sign = _SIGNS[(value > 0) - (value < 0)]
    return f"{sign}{abs(100 * value):.1f}{' points' * unit}" if share else f"{sign}{abs(value):.3f}"


def moved(field: str, old: str, new: str, n: int = 1) -> str:
    """Say what changed, such as ``2 × cat → dog``; the two values of a mark are "yes" and ""."""
    if field == "excluded":
        change = "excluded" if new else "taken in again"
    elif field == "flagged":
        change = "flagged" if new else "flag taken off"
    elif field == "review":
        change = "answered " + ("not to be used" if new == EXCLUDED else new or "nothing any more")
    else:
        change = f"{old or 'blank'} → {new or 'blank'}"
    return f"{n:,} × {change}" if n > 1 else change


def count(n: int, noun: str) -> str:
    """Return such as ``"1 image"`` or ``"1,200 images"``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def corrections(relabelled: int, excluded: int) -> str:
    """Return how many labels were changed, such as ``"3 label changes"``."""
    return count(relabelled + excluded, "label change")


def duration(seconds: float) -> str:
    """Return such as ``"40 s"``, ``"12 min"`` or ``"1.5 h"``."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def is_or_are(n: int) -> str:
    """Return the verb for so many."""
    return "is" if n == 1 else "are"


def was_or_were(n: int) -> str:
    """Return the verb for so many, of what has passed."""
    return "was" if n == 1 else "were"
