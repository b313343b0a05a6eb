"""What the service counts, for Prometheus; and the three routes that other machines watch it by.

With several worker processes each writes its figures into small memory-mapped files of one folder, and
whichever worker is asked adds them up. `prometheus_client` decides so when it is first imported, from
the environment, which `tellapart.serving.worker` sets before it imports the service.
"""

import os
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tellapart.serving.documents import Document

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
_QUEUED = (0, 1, 2, 4, 8, 16, 32, 64, 128)
_PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """The counters of one service; safe to use from several threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answered requests.", "route", "status")
        self._errors = self._counter("errors", "Requests answered with a 4xx or 5xx.", "route", "status")
        self._seconds = self._histogram("request_seconds", "From request to answer.", _SECONDS, "route")
        self._batch_size = self._histogram("batch_size", "Images per run of the network.", _IMAGES)
        self._batch_seconds = self._histogram("batch_seconds", "Decoding and running one batch.", _SECONDS)
        self._queue_seen = self._histogram("queue_at_batch", "Images left waiting at a batch.", _QUEUED)
        self._queue = self._gauge("queue_length", "Images waiting, over all workers.", "livesum")
        self._predictions = self._counter("predictions", "Images per answered class.", "model", "label")
        self._abstained = self._counter("abstentions", "Answers that leave it to a person.", "model")
        self._confidence = self._histogram(
            "confidence",
            "Probability of the answered class; its mean is _sum divided by _count.",
            _PROBABILITIES,
            "model",
        )
        self._failed = self._counter("images_failed", "Images without an answer.", "reason")
        self._drift = self._gauge(
            "drift",
            "Distance of recent images from the reference, the worst worker.",
            "livemax",
            "model",
            "measure",
        )
        self._model = self._gauge(
            "model_info", "1 for each model version being served.", "livemax", "model", "version"
        )
        self._versions: dict[str, str] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tellapart_{name}", text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"tellapart_{name}", text, labels, buckets=buckets, registry=self._registry)

    def _gauge(self, name: str, text: str, mode: Any, *labels: str) -> Gauge:
        return Gauge(f"tellapart_{name}", text, labels, multiprocess_mode=mode, registry=self._registry)

    def request_done(self, route: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a pattern (see `route_of`), never a path that a caller made up."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if status >= 400:
            self._errors.labels(route, str(status)).inc()

    def batch_done(self, size: int, queue_length: int, seconds: float) -> None:
        """Count one batch of `size` images that left `queue_length` images waiting."""
        self._batch_size.observe(size)
        self._batch_seconds.observe(seconds)
        self._queue_seen.observe(queue_length)
        self._queue.set(queue_length)

    def predicted(self, model: str, label: str, probability: float, abstained: bool) -> None:
        """Count the answer to one image."""
        self._predictions.labels(model, label).inc()
        self._confidence.labels(model).observe(probability)
        if abstained:
            self._abstained.labels(model).inc()

    def image_failed(self, reason: str) -> None:
        """Count an image without an answer; `reason` is one of few words, such as an error's class."""
        self._failed.labels(reason).inc()

    def drifted(self, model: str, distances: Mapping[str, float]) -> None:
        """Show how far this worker's recent images are from those the model was checked on."""
        for measure, distance in distances.items():
            self._drift.labels(model, measure).set(distance)

    def serving(self, model: str, version: str) -> None:
        """Show which version of a model answers from now on."""
        before = self._versions.get(model)
        if before is not None and before != version:
            self._model.labels(model, before).set(0)
        self._versions[model] = version
        self._model.labels(model, version).set(1)

    def render(self) -> tuple[bytes, str]:
        """Return the figures of all workers in Prometheus's text form, and its content type."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        if folder is None:
            return generate_latest(self._registry), CONTENT_TYPE_LATEST
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, folder)  # type: ignore[no-untyped-call]
        return generate_latest(everyone), CONTENT_TYPE_LATEST


def route_of(scope: Mapping[str, Any]) -> str:
    """Return the pattern of the route that answered a request, ``"other"`` where there was none.

    Never the path itself: a caller could invent paths without end, and each would be a new time series.
    """
    endpoint = scope.get("endpoint")
    if endpoint is not None:
        for route in scope["app"].routes:
            if endpoint in (getattr(route, "endpoint", None), getattr(route, "app", None)):
                return str(route.path) or "/"
    return "other"


def metrics(request: Request) -> Response:
    """Answer Prometheus; not a coroutine, so that adding up the workers' files does not hold up others."""
    body, content_type = request.app.state.service.metrics.render()
    return Response(body, headers={"Content-Type": content_type})


async def healthz(request: Request) -> Response:
    """Say that the process lives, overloaded, loading or draining as it may be."""
    return Document({"status": "alive"})


async def readyz(request: Request) -> Response:
    """Say whether new requests should be sent here; not while models load, nor when about to end."""
    service = getattr(request.app.state, "service", None)
    if service is None:
        return Document({"status": "loading"}, status_code=503, headers={"Retry-After": "1"})
    if service.draining:
        return Document({"status": "draining"}, status_code=503, headers={"Retry-After": "5"})
    return Document({"status": "ready"})


routes = [Route("/metrics", metrics), Route("/healthz", healthz), Route("/readyz", readyz)]
