"""Images by URL: fetched in threads that all callers share, each request's within one time and size."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from tellapart.data.fetch import Budget, FetchRules, FetchTimeout, fetch
from tellapart.errors import FetchError
from tellapart.serving.problems import Problem
from tellapart.serving.settings import Settings

AT_ONCE, OF_ONE_CALLER = 64, 32
"""Downloads under way: a key that names addresses which never answer leaves others half of the threads."""

MAX_ASKED = 256
"""Images that one caller's requests may be waiting for or fetching."""


@dataclass(eq=False)
class _Caller:
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(OF_ONE_CALLER))
    n_asked: int = 0


class _HeldBudget(Budget):
    """A budget whose bytes count towards what all requests hold in memory, as they arrive."""

    def __init__(self, n_bytes: int, seconds: float, hold: Callable[[int], None]) -> None:
        super().__init__(n_bytes, seconds)
        self._hold = hold

    def take(self, n_bytes: int) -> None:
        super().take(n_bytes)
        self._hold(n_bytes)


class Downloads:
    """The threads that fetch images, within the operator's rules."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules = FetchRules(
            ports=settings.url_ports,
            allow_private=settings.url_allow_private,
            hosts=frozenset(settings.url_hosts) or None,
            max_bytes=settings.max_body_bytes,
        )
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="download")
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._callers: defaultdict[str, _Caller] = defaultdict(_Caller)

    async def fetch(
        self, urls: Sequence[str], *, caller: str, seconds: float, hold: Callable[[int], None]
    ) -> list[bytes | Problem]:
        """Fetch one request's images.

        Parameters
        ----------
        caller
            The name of its key: callers share what there is evenly.
        seconds
            What the request has left; its images together get half of it, and at most the operator's limit.
        hold
            Told, from threads, how many bytes have come; may refuse.

        Returns
        -------
        For each its bytes, or a problem: 403 where images by URL are off, 400 where this one cannot be had,
        503 where there is no memory for it, 504 where it takes too long.

        Raises
        ------
        Problem
            503 if the caller waits for very many images already.
        """
        if not self._settings.url_scoring:
            off = Problem(403, "images by URL are off; the operator can allow them with --allow-urls")
            return [off for _ in urls]
        known = self._callers[caller]
        if known.n_asked and known.n_asked + len(urls) > MAX_ASKED:
            raise Problem.busy("too many images by URL at once; come again later")
        seconds = min(self._settings.url_timeout_s, seconds / 2)
        budget = _HeldBudget(self._settings.max_body_bytes, seconds, hold)
        known.n_asked += len(urls)
        try:
            return await asyncio.gather(*(self._fetch_one(url, known, budget) for url in urls))
        finally:
            known.n_asked -= len(urls)

    async def _fetch_one(self, url: str, caller: _Caller, budget: Budget) -> bytes | Problem:
        loop = asyncio.get_running_loop()
        try:
            async with AsyncExitStack() as turns:
                async with asyncio.timeout(budget.left_s()):
                    # First among the caller's own images, then among those of all.
                    await turns.enter_async_context(caller.turns)
                    await turns.enter_async_context(self._turns)
                return await loop.run_in_executor(self._threads, fetch, url, self._rules, budget)
        except Problem as problem:
            return problem
        except TimeoutError:
            return Problem(FetchTimeout.status, str(budget.late()))
        except FetchError as exc:
            return Problem(exc.status, str(exc))

    def close(self) -> None:
        """Start no more downloads; those under way end within their time."""
        self._threads.shutdown(wait=False, cancel_futures=True)
