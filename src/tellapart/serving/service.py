"""What the handlers of one process share."""

from collections.abc import Callable
from dataclasses import dataclass

from tellapart.errors import ServiceError
from tellapart.serving.downloads import Downloads
from tellapart.serving.keys import Keys
from tellapart.serving.metrics import Metrics
from tellapart.serving.models import Models
from tellapart.serving.settings import Settings
from tellapart.serving.watch import Watch


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
