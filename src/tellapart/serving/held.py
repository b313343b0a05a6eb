"""The memory that requests hold together: bodies, what they inflate to, and images that were fetched."""

from threading import Lock

from tellapart.serving.problems import Problem


class Held:
    """Bytes of all requests that are being read or answered.

    Parameters
    ----------
    limit
        More are refused until other requests have been answered.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.n_bytes = limit, 0
        self.lock = Lock()


class Share:
    """What one request holds of it; threads that fetch its images add to it as they read."""

    def __init__(self, held: Held) -> None:
        self._held, self._n_bytes = held, 0
        self._is_over = False

    def add(self, n_bytes: int) -> None:
        """Count bytes that are in memory from now on.

        Raises
        ------
        Problem
            503 if all requests together hold too many, or if this one is over.
        """
        with self._held.lock:
            if not self._is_over:
                self._n_bytes += n_bytes
                self._held.n_bytes += n_bytes
            if self._is_over or self._held.n_bytes > self._held.limit:
                raise Problem.busy("too many large requests at once; come again later")

    def end(self) -> None:
        """Let go of all; a thread that still fetches for this request stops at its next bytes."""
        with self._held.lock:
            self._is_over = True
            self._held.n_bytes -= self._n_bytes
