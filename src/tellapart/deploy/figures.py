"""What a deployment has done so far, read from its ``/metrics``."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tellapart.errors import ServiceError

WATCHING = frozenset({"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"})
"""Routes by which machines watch the service; their requests say nothing of its use."""


@dataclass(frozen=True)
class Figures:
    """Sums over all workers since the start.

    Attributes
    ----------
    requests, errors
        Answered requests, and those of them that were answered with a 4xx or 5xx.
    mean_seconds
        From request to answer; None before the first.
    predictions
        Class -> images answered with it.
    mean_confidence
        Of the answered class; None before the first.
    drift
        Measure -> distance of recent images from those the model was checked on; empty where too few
        came or the model has no such reference.
    """

    requests: int = 0
    errors: int = 0
    mean_seconds: float | None = None
    predictions: Mapping[str, int] = field(default_factory=dict)
    mean_confidence: float | None = None
    drift: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> "Figures":
        """Read Prometheus's text form."""
        from prometheus_client.parser import text_string_to_metric_families

        samples: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.labels.get("route") not in WATCHING:
                    samples[sample.name.removeprefix("tellapart_")].append((sample.labels, sample.value))

        def total(name: str) -> float:
            return sum(value for _, value in samples[name])

        def mean(name: str) -> float | None:
            count = total(f"{name}_count")
            return total(f"{name}_sum") / count if count else None

        predictions: dict[str, int] = defaultdict(int)
        for labels, value in samples["predictions_total"]:
            predictions[labels["label"]] += int(value)
        return cls(
            requests=int(total("requests_total")),
            errors=int(total("errors_total")),
            mean_seconds=mean("request_seconds"),
            predictions=dict(predictions),
            mean_confidence=mean("confidence"),
            drift={labels["measure"]: value for labels, value in samples["drift"]},
        )


def fetch_figures(url: str, key: str | None) -> Figures:
    """Ask a service for its figures.

    Raises
    ------
    ServiceError
        If it does not answer, or refuses.
    """
    import httpx2

    headers: dict[str, Any] = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx2.get(f"{url}/metrics", headers=headers, timeout=5, trust_env=False)
    except httpx2.HTTPError as exc:
        raise ServiceError(f"{url}/metrics does not answer ({exc})") from exc
    if answer.status_code == 401:
        raise ServiceError(f"{url}/metrics asks for a key; give --key, or set TELLAPART_KEY")
    if answer.status_code != 200:
        raise ServiceError(f"{url}/metrics answered {answer.status_code}")
    return Figures.read(answer.text)
