"""Dynamic batching: images of all requests wait in one queue, and engine threads answer them together."""

import asyncio
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from tellapart.data.images import Resize, load_pixels
from tellapart.serving.image_header import check_header

Probabilities = NDArray[np.float64]
Pixels = NDArray[np.uint8]


class QueueFull(Exception):
    """No more images can wait."""


@dataclass(frozen=True, eq=False, slots=True)
class Item:
    """One image that waits for its probabilities."""

    image: bytes | Pixels
    future: "asyncio.Future[Probabilities]"


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """What observers are told of a batch: the squares of pixels and the answers, in the same order.

    Both are empty where none of its images could be decoded, or nobody waited for them any more.
    """

    pixels: Pixels
    y_prob: Probabilities
    queue_length: int
    seconds: float


class Batcher:
    """A bounded queue and the threads that work on it.

    Parameters
    ----------
    run
        uint8 pixels of shape (n, size, size, 3) to float64 probabilities of shape (n, n_classes); called
        from several threads at once.
    resize
        What makes the squares.
    threads
        Engine threads, each of which decodes its images and runs them.
    max_batch, max_wait_s
        Images per run, and how long a thread waits for that many once it has one.
    queue_size
        Images that may wait.
    max_pixels
        Of one image, by its header.
    on_batch
        Called from an engine thread after each run.
    """

    def __init__(
        self,
        run: Callable[[Pixels], Probabilities],
        resize: Resize,
        *,
        threads: int,
        max_batch: int,
        max_wait_s: float,
        queue_size: int,
        max_pixels: int,
        on_batch: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        self._run, self._resize = run, resize
        self._max_batch, self._max_wait_s, self._max_pixels = max_batch, max_wait_s, max_pixels
        self._on_batch = on_batch
        self._queue_size = queue_size
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._threads = [Thread(target=self._work, name="engine", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """How many images wait."""
        return self._queue.qsize()

    def submit(self, image: bytes | Pixels) -> "asyncio.Future[Probabilities]":
        """Put a file's bytes, or a square of pixels, into the queue; call it in an event loop.

        Returns
        -------
        Future of the probabilities, float64 of shape (n_classes,), or of an `UnreadableImage`. Cancel it,
        and the image is passed over.

        Raises
        ------
        QueueFull
            If too many images wait already.
        """
        if len(self) >= self._queue_size:
            raise QueueFull
        future: asyncio.Future[Probabilities] = asyncio.get_running_loop().create_future()
        self._queue.put(Item(image, future))
        return future

    def close(self) -> None:
        """Answer what waits, then end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            items = self._take()
            if not items:
                return
            self._answer([item for item in items if not item.future.cancelled()])

    def _take(self) -> list[Item]:
        """Return the next images, or none when the batcher closes."""
        first = self._queue.get()
        if first is None:
            return []
        items = [first]
        # Threads share what waits, so that none idles while another works on a long batch.
        fair = -(-(len(self) + 1) // len(self._threads))
        n_items = self._max_batch if self._max_wait_s else min(self._max_batch, fair)
        deadline = time.monotonic() + self._max_wait_s
        while len(items) < n_items:
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                self._queue.put(None)
                break
            items.append(item)
        return items

    def _answer(self, items: list[Item]) -> None:
        started = time.perf_counter()
        good: list[Item] = []
        squares: list[Pixels] = []
        for item in items:
            try:
                squares.append(self._pixels(item.image))
                good.append(item)
            except Exception as exc:
                # Also what we did not foresee belongs to this one image, and must not end the thread.
                _deliver([(item.future, exc)])
        if not good:
            nothing = np.empty((0, self._resize.size, self._resize.size, 3), np.uint8)
            self._on_batch(Batch(nothing, np.empty((0, 0)), len(self), time.perf_counter() - started))
            return
        try:
            pixels = np.stack(squares)
            y_prob = self._run(pixels)
        except Exception as exc:
            _deliver([(item.future, exc) for item in good])
            return
        _deliver([(item.future, row) for item, row in zip(good, y_prob, strict=True)])
        self._on_batch(Batch(pixels, y_prob, len(self), time.perf_counter() - started))

    def _pixels(self, image: bytes | Pixels) -> Pixels:
        if isinstance(image, bytes):
            check_header(image, self._max_pixels)
            return load_pixels(image, self._resize)
        return image


def _deliver(results: "list[tuple[asyncio.Future[Probabilities], Probabilities | Exception]]") -> None:
    """Hand results over to the event loops that wait for them."""

    def settle() -> None:
        for future, result in results:
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

    results[0][0].get_loop().call_soon_threadsafe(settle)
