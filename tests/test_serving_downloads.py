"""Images by URL: one time for all of a request's, and threads that callers share."""

import asyncio
import time
from pathlib import Path
from threading import Event

import pytest

from tellapart.errors import FetchError
from tellapart.serving import downloads as downloading
from tellapart.serving.downloads import Downloads
from tellapart.serving.problems import Problem
from tellapart.serving.settings import Settings


@pytest.fixture
def web(monkeypatch):
    """A web in which "/good" answers at once and "/hangs" not before its time is over."""
    stop = Event()

    def fetch(url, rules, budget):
        if url.endswith("/good"):
            budget.take(4)
            return b"good"
        if url.endswith("/bad"):
            raise FetchError("nothing there")
        stop.wait(budget.left_s())
        raise budget.late()

    monkeypatch.setattr(downloading, "fetch", fetch)
    yield
    stop.set()


def settings(**options) -> Settings:
    return Settings({"m": Path("run")}, **{"url_scoring": True, "url_timeout_s": 0.5, **options})


async def ask(downloads, *urls, caller="", seconds=30.0, hold=lambda n: None):
    found = await downloads.fetch(urls, caller=caller, seconds=seconds, hold=hold)
    return [content if isinstance(content, bytes) else content.status for content in found]


def test_each_address_has_its_own_answer_in_order(web):
    downloads = Downloads(settings())
    assert asyncio.run(ask(downloads, "/good", "/bad", "/hangs", "/good")) == [b"good", 400, 504, b"good"]


def test_where_they_are_off_nothing_is_asked(web):
    assert asyncio.run(ask(Downloads(settings(url_scoring=False)), "/good")) == [403]


def test_many_that_hang_take_no_longer_than_one(web, monkeypatch):
    """With two threads, the ones that wait for a thread give up together with those that have one."""
    monkeypatch.setattr(downloading, "AT_ONCE", 2)
    started = time.monotonic()
    assert asyncio.run(ask(Downloads(settings()), *["/hangs"] * 20)) == [504] * 20
    assert time.monotonic() - started < 1.5


def test_half_of_a_requests_time_is_left_for_the_rest_of_it(web):
    started = time.monotonic()
    assert asyncio.run(ask(Downloads(settings(url_timeout_s=9)), "/hangs", seconds=0.8)) == [504]
    assert 0.3 < time.monotonic() - started < 0.8


def test_a_caller_whose_addresses_hang_leaves_room_for_others(web, monkeypatch):
    monkeypatch.setattr(downloading, "AT_ONCE", 4)
    monkeypatch.setattr(downloading, "OF_ONE_CALLER", 2)

    async def both():
        downloads = Downloads(settings(url_timeout_s=2))
        hanging = asyncio.create_task(ask(downloads, *["/hangs"] * 20, caller="one"))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        assert await ask(downloads, *["/good"] * 8, caller="another") == [b"good"] * 8
        assert time.monotonic() - started < 1
        hanging.cancel()

    asyncio.run(both())


def test_a_caller_may_not_wait_for_very_many(web, monkeypatch):
    monkeypatch.setattr(downloading, "MAX_ASKED", 5)

    async def both():
        downloads = Downloads(settings())
        waiting = asyncio.create_task(ask(downloads, *["/hangs"] * 4, caller="one"))
        await asyncio.sleep(0.05)
        with pytest.raises(Problem) as refused:
            await ask(downloads, "/good", "/good", caller="one")
        assert refused.value.status == 503
        assert "Retry-After" in refused.value.headers
        assert await ask(downloads, "/good", "/good", caller="another") == [b"good"] * 2
        await waiting
        assert await ask(downloads, *["/good"] * 9, caller="one") == [b"good"] * 9

    asyncio.run(both())


def test_what_comes_is_counted_and_may_be_refused(web):
    counted = []

    def hold(n_bytes):
        counted.append(n_bytes)
        if len(counted) > 1:
            raise Problem.busy("no memory")

    assert sorted(map(str, asyncio.run(ask(Downloads(settings()), "/good", "/good", hold=hold)))) == [
        "503",
        "b'good'",
    ]
    assert counted == [4, 4]
