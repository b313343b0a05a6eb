"""How far work in the background is: its stages, their rate, the time left, and all that in words."""

import re
from collections.abc import Sequence

from tellapart.studio.operation import Json
from tellapart.studio.wording import count, duration

MOST_BARS = 8
"""Of stages, as many as are shown."""


def pace(stages: Sequence[Json]) -> Json:
    """Return ``stages``, and of the last one ``rate`` (per second) and ``left_s``; None where not known."""
    rate = left = None
    if stages and stages[-1]["done"] and stages[-1]["seconds"]:
        now = stages[-1]
        rate = now["done"] / now["seconds"]
        left = max(0, now["total"] - now["done"]) / rate
    return {"stages": list(stages), "rate": rate, "left_s": left}


def in_words(told: Json, epochs_done: int = 0, epochs: int = 0) -> Json:
    """Say how work goes, as `pace` tells it: ``now``, and ``bars``, of which past epochs share one."""
    stages, rate, left = told["stages"], told["rate"], told["left_s"]
    past = [stage for stage in stages[:-1] if not _as_epoch(stage)]
    bars = [stage for stage in [*past, *stages[-1:]] if stage["total"]][-MOST_BARS:]
    if epochs_done:
        shared = {"description": "epochs", "done": epochs_done, "total": epochs, "unit": "epoch"}
        bars.insert(max(0, len(bars) - 1), shared)
    now = ["starting (loading the libraries takes a few seconds)"]
    if stages:
        speed = f"{rate:,.1f} {stages[-1]['unit']}s/s" if rate else ""
        rest = f"about {duration(left)} left" if left is not None else ""
        now = [stages[-1]["description"], ", ".join(filter(None, (speed, rest)))]
    return {
        "now": f"Now: {' · '.join(filter(None, now))}",
        "bars": [
            {
                "name": bar["description"],
                "share": bar["done"] / bar["total"],
                "says": f"{bar['done']:,} of {count(bar['total'], bar['unit'])}",
            }
            for bar in bars
        ],
    }


def n_epochs(stages: Sequence[Json]) -> int:
    """Return how many epochs there may be, as the stage ``epoch 3/20`` says; 0 where there are none."""
    return next((int(found[1]) for stage in reversed(stages) if (found := _as_epoch(stage))), 0)


def _as_epoch(stage: Json) -> re.Match[str] | None:
    """Return which epoch a stage is, of how many, if it is one."""
    return re.fullmatch(r"epoch \d+/(\d+)", stage["description"])
