"""A load test and its page: one HTML file that loads nothing, in the clothes of the evaluation report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

import tellapart.evaluation
from tellapart.loadtest.figures import Level, all_errors, saturation

_HERE = Path(__file__).parent
_LOOKS = Path(tellapart.evaluation.__file__).parent / "static"


@dataclass(frozen=True)
class Setting:
    """What was tested, and from where.

    Attributes
    ----------
    url, model, version
        The service and what answered.
    n_images, mean_bytes
        The pictures that were sent in turn.
    started
        When, as text.
    machine
        Where this program ran.
    n_cores
        How many cores it could have used.
    """

    url: str
    model: str
    version: str
    n_images: int
    mean_bytes: int
    started: str
    machine: str
    n_cores: int


def render(levels: Sequence[Level], setting: Setting) -> str:
    """Return the page."""
    best = saturation(levels)
    lightest = min(levels, key=lambda level: level.load)
    return (
        _environment()
        .get_template("report.html")
        .render(
            levels=levels,
            setting=setting,
            best=best,
            lightest=lightest,
            errors=all_errors(levels),
            n_requests=sum(level.n_errors + len(level.latencies_s) for level in levels),
            is_reached=best.load < max(level.load for level in levels),
            unit=_unit(levels),
            charts=_charts(levels, best),
            data=[level.to_dict() for level in levels],
            style="".join(
                (_LOOKS / name).read_text(encoding="utf-8") for name in ("report.css", "curves.css")
            ),
            script=_script(),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ms"] = write_ms
    return environment


def _script() -> str:
    """Return the report's chart module and what puts its charts here, as one module."""
    sources = (_LOOKS / "curves.js", _HERE / "templates" / "charts.js")
    lines = "\n".join(path.read_text(encoding="utf-8") for path in sources).splitlines()
    return "\n".join(line for line in lines if not line.startswith("import "))


def write_ms(value: float | None) -> str:
    """Write milliseconds with three figures."""
    if value is None:
        return "no answer"
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def _unit(levels: Sequence[Level]) -> str:
    return "requests per second sent" if levels[0].is_open else "requests under way at once"


def _charts(levels: Sequence[Level], best: Level) -> list[dict[str, Any]]:
    """Return the two charts as curves.js takes them; none for a single load."""
    if len(levels) < 2:
        return []
    ordered = sorted(levels, key=lambda level: level.load)
    is_open = levels[0].is_open
    # A closed loop doubles its load from step to step: its axis counts the doublings.
    x = {"label": _unit(levels), "from": 0, "to": ordered[-1].load, "is_doubling": not is_open}
    answered: list[list[float | None]] = [[level.load, level.throughput] for level in ordered]
    series: list[dict[str, Any]] = [{"name": "answered", "style": "s1", "points": answered}]
    if is_open:
        sent = [[0, 0], [ordered[-1].load, ordered[-1].load]]
        series.insert(0, {"name": "sent", "style": "base", "points": sent})
    mark = {
        "x": best.load,
        "y": best.throughput,
        "label": f"{best.throughput:.3g} per second",
    }
    latencies = [
        {
            "name": f"p{q}",
            "style": style,
            "points": [[level.load, level.percentile_ms(q)] for level in ordered if len(level.latencies_s)],
        }
        for q, style in ((50, "s1"), (95, "s3"), (99, "s2"))
    ]
    return [
        {
            "title": "Throughput over load",
            "y": "answers per second",
            "x": x,
            "series": series,
            "marks": [mark],
        },
        {"title": "Latency over load", "y": "latency, ms", "x": x, "series": latencies, "marks": []},
    ]
