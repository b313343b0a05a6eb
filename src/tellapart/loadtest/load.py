"""The load itself: requests over asyncio, written once and sent as they are.

The client shares the machine with the service it measures, so what it costs matters: a request is bytes made
beforehand, an answer is parsed by httptools (in C), and nothing else happens between the two.
"""

import asyncio
import itertools
import random
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httptools
import numpy as np

from tellapart.loadtest.figures import Level, is_saturated

PAUSE_AFTER_ERROR_S = 0.05
"""A user whose request failed waits; otherwise refusals would be counted by the million."""

MOST_UNDER_WAY = 1000
"""Requests of an open loop that may wait for an answer; those beyond are counted as errors."""

MOST_AT_ONCE = 512
"""Rising load ends here, saturated or not."""

T = TypeVar("T")


@dataclass(frozen=True)
class Traffic:
    """Requests, ready to be sent in turn, and where to.

    Attributes
    ----------
    host, port, is_tls
        The service.
    messages
        Whole HTTP/1.1 requests.
    """

    host: str
    port: int
    is_tls: bool
    messages: tuple[bytes, ...]

    @classmethod
    def to(
        cls,
        url: str,
        bodies: Sequence[bytes],
        *,
        key: str | None = None,
        content_type: str = "application/octet-stream",
    ) -> "Traffic":
        """Write one POST request to `url`, path included, for each body."""
        parts = urlsplit(url)
        is_tls = parts.scheme == "https"
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = f"POST {target} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {content_type}\r\n"
        head += f"Authorization: Bearer {key}\r\n" if key else ""
        messages = tuple(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies)
        return cls(parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls, messages)


def measure(
    traffic: Traffic, load: float, *, duration_s: float, is_open: bool = False, timeout_s: float = 30.0
) -> Level:
    """Put one load on a service and return what came of it.

    Parameters
    ----------
    traffic
        What to send.
    load
        Requests under way at once or, if `is_open`, requests per second.
    duration_s
        For how long, after a tenth of it (at most a second) that does not count.
    timeout_s
        How long to wait for an answer.
    """
    level = _closed if not is_open else _open
    return _run(level(traffic, load, _Record(duration_s), timeout_s))


def rising(
    traffic: Traffic, loads: Sequence[float] | None, *, duration_s: float, is_open: bool = False
) -> Iterator[Level]:
    """Yield the level of each load; without loads, 1, 2, 4 … at once until the service saturates."""
    if loads is not None:
        for load in loads:
            yield measure(traffic, load, duration_s=duration_s, is_open=is_open)
        return
    levels: list[Level] = []
    for power in itertools.count():
        if 2**power > MOST_AT_ONCE or is_saturated(levels):
            return
        levels.append(measure(traffic, 2**power, duration_s=duration_s))
        yield levels[-1]


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on the fastest event loop there is."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


class _Record:
    """Latencies and errors of one level, counted once the warm-up is over."""

    def __init__(self, duration_s: float) -> None:
        self.starts_at = time.perf_counter() + min(1.0, duration_s / 10)
        self.ends_at = self.starts_at + duration_s
        self._latencies_s: list[float] = []
        self._errors: Counter[str] = Counter()
        self._n_answered = 0
        self._cpu_s = 0.0

    @property
    def is_over(self) -> bool:
        return time.perf_counter() >= self.ends_at

    def answered(self, since: float, status: int) -> None:
        now = time.perf_counter()
        if now < self.starts_at:
            return
        if not 200 <= status < 300:
            self._errors[str(status)] += 1
            return
        # What ends after the time is up says how long it took, but not how many were answered in time.
        self._n_answered += now < self.ends_at
        self._latencies_s.append(now - since)

    def failed(self, reason: str) -> None:
        if time.perf_counter() >= self.starts_at:
            self._errors[reason] += 1

    async def watch_cpu(self) -> None:
        """Take this process's processor time at the beginning and the end."""
        await asyncio.sleep(self.starts_at - time.perf_counter())
        before = time.process_time()
        await asyncio.sleep(self.ends_at - time.perf_counter())
        self._cpu_s = time.process_time() - before

    def level(self, load: float, is_open: bool) -> Level:
        return Level(
            load=load,
            is_open=is_open,
            duration_s=self.ends_at - self.starts_at,
            n_answered=self._n_answered,
            latencies_s=np.sort(np.array(self._latencies_s, dtype=np.float64)),
            errors=dict(self._errors.most_common()),
            client_cpu_s=self._cpu_s,
        )


class _Wire(asyncio.Protocol):
    """One connection, with one request under way at most."""

    def __init__(self) -> None:
        self.is_usable = False
        self._answer: asyncio.Future[int] | None = None
        self._parser: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an isinstance: uvloop's transports are none of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.is_usable = True

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end("not http")

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection broke")

    async def ask(self, message: bytes, timeout_s: float) -> int:
        """Send a request and return the status of its answer.

        Raises
        ------
        ConnectionError
            With the reason, if none comes.
        """
        loop = asyncio.get_running_loop()
        self._answer, self._parser = loop.create_future(), httptools.HttpResponseParser(self)
        self.transport.write(message)
        # A timer costs far less than asyncio.timeout.
        alarm = loop.call_later(timeout_s, self._end, "timeout")
        try:
            return await self._answer
        finally:
            alarm.cancel()

    def close(self) -> None:
        self.is_usable = False
        self.transport.close()

    def _end(self, reason: str) -> None:
        self.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError(reason))


class _Wires:
    """Connections to one service, used again while they last."""

    def __init__(self, traffic: Traffic, record: _Record, timeout_s: float) -> None:
        self._traffic, self._record, self._timeout_s = traffic, record, timeout_s
        self._messages = itertools.cycle(traffic.messages)
        self._tls = ssl.create_default_context() if traffic.is_tls else None
        self._idle: list[_Wire] = []

    async def ask(self, since: float | None = None) -> bool:
        """Send the next request and note how it went; `since` is when it was due, by default now."""
        try:
            wire = await self._wire()
            start = time.perf_counter() if since is None else since
            status = await wire.ask(next(self._messages), self._timeout_s)
        except OSError as exc:
            self._record.failed(_reason(exc))
            return False
        self._record.answered(start, status)
        if wire.is_usable:
            self._idle.append(wire)
        return 200 <= status < 300

    async def _wire(self) -> _Wire:
        while self._idle:
            if (wire := self._idle.pop()).is_usable:
                return wire
        loop = asyncio.get_running_loop()
        where = self._traffic.host, self._traffic.port
        _, wire = await asyncio.wait_for(
            loop.create_connection(_Wire, *where, ssl=self._tls), timeout=self._timeout_s
        )
        return wire

    def close(self) -> None:
        for wire in self._idle:
            wire.close()


@asynccontextmanager
async def _wires(traffic: Traffic, record: _Record, timeout_s: float) -> AsyncIterator[_Wires]:
    wires = _Wires(traffic, record, timeout_s)
    watch = asyncio.create_task(record.watch_cpu())
    try:
        yield wires
        await watch
    finally:
        watch.cancel()
        wires.close()


async def _closed(traffic: Traffic, load: float, record: _Record, timeout_s: float) -> Level:
    """Keep so many requests under way: each user sends again when answered."""

    async def user() -> None:
        while not record.is_over:
            if not await wires.ask():
                await asyncio.sleep(PAUSE_AFTER_ERROR_S)

    async with _wires(traffic, record, timeout_s) as wires:
        await asyncio.gather(*(user() for _ in range(int(load))))
    return record.level(load, is_open=False)


async def _open(traffic: Traffic, load: float, record: _Record, timeout_s: float) -> Level:
    """Send at random times, so many a second, however long the answers take."""
    under_way: set[asyncio.Task[bool]] = set()
    chance = random.Random(0)
    due = time.perf_counter()
    async with _wires(traffic, record, timeout_s) as wires:
        while (due := due + chance.expovariate(load)) < record.ends_at:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if len(under_way) >= MOST_UNDER_WAY:
                record.failed("too many under way")
                continue
            task = asyncio.create_task(wires.ask(since=due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
    return record.level(load, is_open=True)


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return (error.strerror or str(error) or type(error).__name__).lower().split("(")[0].strip()
