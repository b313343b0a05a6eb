"""How long work tells its caller how far it is, without printing anything itself."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Progress(Protocol):
    """What long work calls; the command line draws bars, the default is silence."""

    def track(
        self, description: str, total: int, unit: str = "image"
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Open a bar of `total` units and return the function that advances it by n."""
        ...

    def say(self, message: str) -> None:
        """Tell the user one line."""
        ...


class Silent:
    """Progress that shows nothing."""

    @contextmanager
    def track(self, description: str, total: int, unit: str = "image") -> Iterator[Callable[[int], None]]:
        """See `Progress.track`."""
        yield lambda n: None

    def say(self, message: str) -> None:
        """See `Progress.say`."""


SILENT = Silent()
