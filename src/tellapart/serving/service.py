"""What the handlers of one process share."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from tellapart.drift import image_statistics
from tellapart.errors import ServiceError
from tellapart.serving import logs
from tellapart.serving.batcher import Batch
from tellapart.serving.downloads import Downloads
from tellapart.serving.keys import Keys
from tellapart.serving.metrics import Metrics
from tellapart.serving.models import Models, ServedModel
from tellapart.serving.settings import Settings

DRIFT_EVERY = 20
"""Batches from one publication of the drift to the next."""

SEEN_UNDER_LOAD = 4
"""While images wait, one batch in so many is looked at for drift: a look takes time that answers need."""


class Watch:
    """Counts what the models do."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._batches = count(1)

    def serving(self, model: ServedModel) -> None:
        """Note which version of a model answers."""
        self._metrics.serving(model.name, model.version)
        logs.event("model", name=model.name, version=model.version)

    def batch_done(self, model: ServedModel, batch: Batch) -> None:
        """Count a batch, and compare the latest images with the reference now and then."""
        self._metrics.batch_done(len(batch.pixels), batch.queue_length, batch.seconds)
        number = next(self._batches)
        if batch.queue_length == 0 or number % SEEN_UNDER_LOAD == 0:
            model.drift.add(image_statistics(batch.pixels), batch.y_prob)
        if number % DRIFT_EVERY == 0:
            self._metrics.drifted(model.name, model.drift.distances())


@dataclass(eq=False)
class Service:
    """One process's models, keys and counters; handlers find it at ``request.app.state.service``.

    Attributes
    ----------
    keys
        None where everybody may ask.
    downloads
        What fetches images by URL.
    draining
        True from SIGTERM on: the service says that it is not ready, and answers nevertheless.
    tell_others
        Has the other worker processes read their models again, as this one has; there may be none.
    """

    settings: Settings
    models: Models
    keys: Keys | None
    metrics: Metrics
    downloads: Downloads
    draining: bool = False
    tell_others: Callable[[], None] = lambda: None

    @classmethod
    def open(cls, settings: Settings) -> "Service":
        """Open the keys and the models.

        Raises
        ------
        BundleError
            If a model cannot be used.
        ServiceError
            If the keys cannot.
        """
        keys = None if settings.keys_file is None else Keys.open(settings.keys_file)
        if keys is not None and not keys.ids():
            raise ServiceError(f"no keys in {keys.path}: nobody could ask; create one first")
        metrics = Metrics()
        return cls(settings, Models(settings, Watch(metrics)), keys, metrics, Downloads(settings))

    def close(self) -> None:
        """End all threads."""
        self.downloads.close()
        self.models.close()
