"""What the service counts, for Prometheus.

With several worker processes each writes its figures into small memory-mapped files of one folder, and
whichever worker is asked adds them up. `prometheus_client` decides so when it is first imported, from
the environment, which `tellapart.serving.worker` sets before it imports the service.
"""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)
_QUEUED = (0, 1, 2, 4, 8, 16, 32, 64, 128)
_PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

_UNKNOWN = -1.0
"""In the place of a figure that is no longer true: no worker can remove one from its file. Less than any
distance, so that another worker's counts where there is one."""


class Metrics:
    """The counters of one service; safe to use from several threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "Answered requests.", "route", "status")
        self._errors = self._counter("errors", "Requests answered with a 4xx or 5xx.", "route", "status")
        self._seconds = self._histogram("request_seconds", "From request to answer.", _SECONDS, "route")
        self._batch_size = self._histogram("batch_size", "Images per run of the network.", _IMAGES, "model")
        self._batch_seconds = self._histogram(
            "batch_seconds", "Decoding and running one batch.", _SECONDS, "model"
        )
        self._queue_seen = self._histogram(
            "queue_at_batch", "Images left waiting at a batch.", _QUEUED, "model"
        )
        self._queue = self._gauge("queue_length", "Images waiting, over all workers.", "livesum", "model")
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
        self._measures: defaultdict[str, set[str]] = defaultdict(set)

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

    def batch_done(self, model: str, size: int, queue_length: int, seconds: float) -> None:
        """Count one batch of `size` images, maybe none, that left `queue_length` images waiting."""
        self._queue.labels(model).set(queue_length)
        if size:
            self._batch_size.labels(model).observe(size)
            self._batch_seconds.labels(model).observe(seconds)
            self._queue_seen.labels(model).observe(queue_length)

    def predicted(self, model: str, label: str, probability: float, abstained: bool) -> None:
        """Count the answer to one image."""
        # The text form is UTF-8, in which a class that is called as a folder was may have no bytes.
        self._predictions.labels(model, label.encode("utf-8", "replace").decode()).inc()
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
            self._measures[model].add(measure)

    def serving(self, model: str, version: str) -> None:
        """Show which version of a model answers from now on, of which nothing has drifted yet."""
        before = self._versions.get(model)
        if before is not None and before != version:
            self._model.labels(model, before).set(0)
        self._versions[model] = version
        self._model.labels(model, version).set(1)
        for measure in self._measures.pop(model, ()):
            self._drift.labels(model, measure).set(_UNKNOWN)

    def render(self) -> tuple[bytes, str]:
        """Return the figures of all workers in Prometheus's text form, and its content type."""
        folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
        everyone: Collector = self._registry
        if folder is not None:
            everyone = MultiProcessCollector(None, folder)  # type: ignore[no-untyped-call]
        return generate_latest(_Known(everyone)), CONTENT_TYPE_LATEST


class _Known(Collector):
    """What another collector has, but for the figures that are unknown."""

    def __init__(self, other: Collector) -> None:
        self._other = other

    def collect(self) -> Iterator[Metric]:
        for metric in self._other.collect():
            metric.samples = [sample for sample in metric.samples if sample.value != _UNKNOWN]
            yield metric
