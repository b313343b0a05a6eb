"""What a load test finds: one `Level` for each load, and where the service saturates."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SATURATED = 0.95
"""A load is enough to saturate when it brings this share of the highest throughput seen."""


@dataclass(frozen=True, eq=False)
class Level:
    """What one load brought.

    Attributes
    ----------
    load
        Requests under way at once or, if `is_open`, requests per second.
    is_open
        Whether requests came at random times of their own (open loop), rather than each when another was
        answered (closed loop).
    duration_s
        The time over which answers were counted.
    n_answered
        Good answers within it.
    latencies_s
        float64, ascending, of all good answers. In an open loop, from the time a request was due.
    errors
        How many requests failed, by status or reason.
    client_cpu_s
        Processor time that this program took meanwhile.
    """

    load: float
    is_open: bool
    duration_s: float
    n_answered: int
    latencies_s: NDArray[np.float64]
    errors: Mapping[str, int]
    client_cpu_s: float

    @property
    def throughput(self) -> float:
        """Good answers per second."""
        return self.n_answered / self.duration_s

    @property
    def n_errors(self) -> int:
        """Requests that failed."""
        return sum(self.errors.values())

    @property
    def error_rate(self) -> float:
        """Share of requests that failed."""
        total = self.n_errors + len(self.latencies_s)
        return self.n_errors / total if total else 0.0

    @property
    def client_cores(self) -> float:
        """How many cores this program kept busy."""
        return self.client_cpu_s / self.duration_s

    def percentile_ms(self, percent: float) -> float | None:
        """Return a percentile of the latency; None where nothing was answered."""
        if not len(self.latencies_s):
            return None
        # The smallest observed value that so many lie at or below: no latency is made up between two.
        return float(np.percentile(self.latencies_s, percent, method="inverted_cdf")) * 1000

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers for JSON, units in the names."""
        return {
            "load": self.load,
            "loop": "open" if self.is_open else "closed",
            "duration_s": round(self.duration_s, 3),
            "throughput_per_s": round(self.throughput, 2),
            **{f"p{q}_ms": _rounded(self.percentile_ms(q)) for q in (50, 95, 99)},
            "n_answered": self.n_answered,
            "n_errors": self.n_errors,
            "errors": dict(self.errors),
            "client_cpu_s": round(self.client_cpu_s, 3),
        }


def saturation(levels: Sequence[Level]) -> Level:
    """Return the lightest load that brings nearly the highest throughput of all."""
    highest = max(level.throughput for level in levels)
    return next(level for level in levels if level.throughput >= SATURATED * highest)


def is_saturated(levels: Sequence[Level], *, patience: int = 2) -> bool:
    """Say whether the last loads, `patience` of them, brought no more than a lighter one did."""
    if len(levels) <= patience:
        return False
    before = max(level.throughput for level in levels[:-patience])
    return all(level.throughput * SATURATED <= before for level in levels[-patience:])


def all_errors(levels: Sequence[Level]) -> Mapping[str, int]:
    """Return the errors of all levels together, the most frequent first."""
    total: Counter[str] = Counter()
    for level in levels:
        total.update(level.errors)
    return dict(total.most_common())


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
