"""Who counts what the models do, and compares what they see with what they were checked on."""

from dataclasses import dataclass, field
from itertools import count

from tellapart.drift import image_statistics
from tellapart.serving import logs
from tellapart.serving.batcher import Batch
from tellapart.serving.metrics import Metrics
from tellapart.serving.models import ServedModel

DRIFT_EVERY = 20
"""Batches of a model from one publication of its drift to the next."""

SEEN_UNDER_LOAD = 4
"""While images wait, one batch in so many is looked at for drift: a look takes time that answers need."""


@dataclass(eq=False)
class _Watched:
    """The version of a model that answers now, and the numbers of its batches."""

    model: ServedModel
    numbers: "count[int]" = field(default_factory=lambda: count(1))


class Watch:
    """Tells the metrics what each model does."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._watched: dict[str, _Watched] = {}

    def serving(self, model: ServedModel) -> None:
        """Note which version of a model answers; what the one before had seen counts no more."""
        self._watched[model.name] = _Watched(model)
        self._metrics.serving(model.name, model.version)
        logs.event("model", name=model.name, version=model.version)

    def batch_done(self, model: ServedModel, batch: Batch) -> None:
        """Count a batch, and compare the latest images with the reference now and then."""
        self._metrics.batch_done(model.name, len(batch.pixels), batch.queue_length, batch.seconds)
        watched = self._watched[model.name]
        if watched.model is not model or not len(batch.pixels):
            return
        number = next(watched.numbers)
        if batch.queue_length == 0 or number % SEEN_UNDER_LOAD == 0:
            model.drift.add(image_statistics(batch.pixels), batch.y_prob)
        if number % DRIFT_EVERY == 0:
            self._metrics.drifted(model.name, model.drift.distances())
