"""The two clients: the same calls, one blocking and one for asyncio."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any, Self, overload

import httpx2

from tellapart.bars import chosen
from tellapart.client.answers import Health, Prediction
from tellapart.client.connection import Connection, is_too_much, only, params, reason
from tellapart.client.images import Image, Source, batches, sources
from tellapart.data.reader import in_parallel
from tellapart.progress import Progress


class Client(Connection[httpx2.Client]):
    """A blocking client of one service; may be used from several threads at once.

    See `Connection` for its parameters.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8000", key="…") as client:  # doctest: +SKIP
    ...     client.predict("a.jpg").label
    ...     client.predict(["b.png", "https://example.org/c.jpg"], top_k=3)
    """

    @overload
    def predict(  # type: ignore[overload-overlap]  # text is itself an iterable of text
        self,
        images: Image,
        top_k: int | None = ...,
        threshold: float | None = ...,
        *,
        model: str | None = ...,
        progress: Progress | bool = ...,
    ) -> Prediction: ...
    @overload
    def predict(
        self,
        images: Iterable[Image],
        top_k: int | None = ...,
        threshold: float | None = ...,
        *,
        model: str | None = ...,
        progress: Progress | bool = ...,
    ) -> list[Prediction]: ...
    def predict(
        self,
        images: Image | Iterable[Image],
        top_k: int | None = None,
        threshold: float | None = None,
        *,
        model: str | None = None,
        progress: Progress | bool = False,
    ) -> Prediction | list[Prediction]:
        """Ask for the class of one image, or of each of several.

        Parameters
        ----------
        images
            A path, an http address (where the service fetches these), the bytes of a file, or uint8 RGB
            pixels of shape (height, width, 3); or several of them. Long lists go out in several requests.
        top_k
            Also name so many of the most probable classes.
        threshold
            Abstain below this probability.
        model
            Which of the service's models, where it has several.
        progress
            True draws a bar on standard error, where that is a terminal; anything with `track` is told how
            far it is.

        Returns
        -------
        One prediction for one image; for several a list, in their order. There, an image that cannot be
        read has its `error` set and leaves the others alone.

        Raises
        ------
        ServiceError
            If the service cannot be reached or refuses; for a single image also if it cannot be read.
        """
        given, is_one = sources(images)
        query = params(top_k, threshold, model)
        found: list[Prediction] = []
        with chosen(progress).track("scoring", len(given)) as advance:
            requests = batches(given, self.max_images)
            for part in in_parallel(lambda batch: self._score(batch, query), requests, workers=self.at_once):
                found += part
                advance(len(part))
        return only(found) if is_one else found

    def health(self) -> Health:
        """Ask whether the service lives and is ready; one that cannot be reached is not live."""
        try:
            live, ready = self._http.get("/healthz"), self._http.get("/readyz")
        except httpx2.TransportError as exc:
            return Health(live=False, ready=False, detail=reason(exc))
        return _health(live, ready)

    def models(self) -> list[dict[str, Any]]:
        """Return ``name``, ``version``, ``class_names``, ``precision`` and more of each of its models."""
        return self._models(self._send("GET", "/openapi.json"))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, **options: Any) -> httpx2.Client:
        return httpx2.Client(**options)

    def _score(self, batch: list[Source], query: Mapping[str, str]) -> list[Prediction]:
        body, unreadable = self._body(batch)
        if len(unreadable) == len(batch):
            return _all_unreadable(batch, unreadable)
        response = self._send("POST", "/v1/predict", params=query, **body)
        if len(batch) > 1 and is_too_much(response):
            return [p for half in _halves(batch) for p in self._score(half, query)]
        return self._read(response, batch, unreadable)

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        attempt = 0
        while True:
            try:
                response = self._http.request(method, path, **content)
            except httpx2.TransportError as exc:
                pause_s = self._pause_s(attempt, exc)
                if pause_s is None:
                    self._fail(exc)
            else:
                pause_s = self._pause_s(attempt, response)
                if pause_s is None:
                    return response
            time.sleep(pause_s)
            attempt += 1


class AsyncClient(Connection[httpx2.AsyncClient]):
    """The same for asyncio: `Client`, with ``await``.

    Examples
    --------
    >>> async with AsyncClient("http://127.0.0.1:8000") as client:  # doctest: +SKIP
    ...     await client.predict(["a.jpg", "b.png"])
    """

    @overload
    async def predict(  # type: ignore[overload-overlap]
        self,
        images: Image,
        top_k: int | None = ...,
        threshold: float | None = ...,
        *,
        model: str | None = ...,
        progress: Progress | bool = ...,
    ) -> Prediction: ...
    @overload
    async def predict(
        self,
        images: Iterable[Image],
        top_k: int | None = ...,
        threshold: float | None = ...,
        *,
        model: str | None = ...,
        progress: Progress | bool = ...,
    ) -> list[Prediction]: ...
    async def predict(
        self,
        images: Image | Iterable[Image],
        top_k: int | None = None,
        threshold: float | None = None,
        *,
        model: str | None = None,
        progress: Progress | bool = False,
    ) -> Prediction | list[Prediction]:
        """See `Client.predict`."""
        given, is_one = sources(images)
        query = params(top_k, threshold, model)
        found: dict[int, list[Prediction]] = {}
        with chosen(progress).track("scoring", len(given)) as advance:
            # Every worker takes the next batch when it is done with one.
            requests = enumerate(batches(given, self.max_images))

            async def work() -> None:
                for number, batch in requests:
                    found[number] = await self._score(batch, query)
                    advance(len(batch))

            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.at_once):
                        group.create_task(work())
            except BaseExceptionGroup as several:
                raise several.exceptions[0] from None
        ordered = [prediction for number in sorted(found) for prediction in found[number]]
        return only(ordered) if is_one else ordered

    async def health(self) -> Health:
        """See `Client.health`."""
        try:
            live, ready = await self._http.get("/healthz"), await self._http.get("/readyz")
        except httpx2.TransportError as exc:
            return Health(live=False, ready=False, detail=reason(exc))
        return _health(live, ready)

    async def models(self) -> list[dict[str, Any]]:
        """See `Client.models`."""
        return self._models(await self._send("GET", "/openapi.json"))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _open(self, **options: Any) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(**options)

    async def _score(self, batch: list[Source], query: Mapping[str, str]) -> list[Prediction]:
        # Files are read, and pixels encoded, off the event loop.
        body, unreadable = await asyncio.to_thread(self._body, batch)
        if len(unreadable) == len(batch):
            return _all_unreadable(batch, unreadable)
        response = await self._send("POST", "/v1/predict", params=query, **body)
        if len(batch) > 1 and is_too_much(response):
            return [p for half in _halves(batch) for p in await self._score(half, query)]
        return self._read(response, batch, unreadable)

    async def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        attempt = 0
        while True:
            try:
                response = await self._http.request(method, path, **content)
            except httpx2.TransportError as exc:
                pause_s = self._pause_s(attempt, exc)
                if pause_s is None:
                    self._fail(exc)
            else:
                pause_s = self._pause_s(attempt, response)
                if pause_s is None:
                    return response
            await asyncio.sleep(pause_s)
            attempt += 1


def _health(live: httpx2.Response, ready: httpx2.Response) -> Health:
    detail = "" if ready.is_success else " ".join(ready.text.split())[:200]
    return Health(live=live.is_success, ready=ready.is_success, detail=detail)


def _all_unreadable(batch: list[Source], unreadable: Mapping[int, str]) -> list[Prediction]:
    return [Prediction(source.name, error=unreadable[i]) for i, source in enumerate(batch)]


def _halves(batch: list[Source]) -> tuple[list[Source], list[Source]]:
    """Cut a request that holds more than this service takes."""
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]
