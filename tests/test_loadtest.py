"""The load generator against servers whose capacity is known."""

import asyncio
import json
import re
import socket
import subprocess
import sys

import numpy as np
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from servers import running
from tellapart.data.images import decode
from tellapart.loadtest.figures import Level, all_errors, is_saturated, saturation
from tellapart.loadtest.load import Traffic, measure, rising
from tellapart.loadtest.picture import drawn
from tellapart.loadtest.report import Setting, render

SERVICE_S = 0.02


class Counted:
    """A service that handles `at_once` requests at a time, each in 20 ms, and notes what it was sent."""

    def __init__(self, at_once=2, statuses=(200,)):
        self.at_once, self.statuses = at_once, statuses
        self.bodies, self.headers, self.most = [], None, 0
        self.gate, self.under_way = None, 0

    async def __call__(self, request):
        self.gate = self.gate or asyncio.Semaphore(self.at_once)
        self.bodies.append(await request.body())
        status = self.statuses[len(self.bodies) % len(self.statuses)]
        self.headers = request.headers
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        async with self.gate:
            await asyncio.sleep(SERVICE_S)
        self.under_way -= 1
        return JSONResponse({}, status)

    def running(self):
        return running(Starlette(routes=[Route("/v1/predict", self.__call__, methods=["POST"])]))


def level(load, throughput, *, latencies_s=(0.01,), errors=None, is_open=False):
    return Level(load, is_open, 10.0, int(10 * throughput), np.array(latencies_s), errors or {}, 1.0)


def test_a_closed_loop_keeps_so_many_under_way():
    service = Counted(at_once=100)
    with service.running() as url:
        found = measure(Traffic.to(f"{url}/v1/predict", [b"one", b"two"]), 4, duration_s=1.0)
    assert service.most == 4
    assert set(service.bodies) == {b"one", b"two"}
    assert 60 < found.throughput <= 4 / SERVICE_S
    assert found.percentile_ms(50) >= 1000 * SERVICE_S
    assert found.n_errors == 0
    assert 0 < found.client_cpu_s < 0.5


def test_rising_load_ends_at_saturation():
    with Counted(at_once=4).running() as url:
        levels = list(rising(Traffic.to(f"{url}/v1/predict", [b"x"]), None, duration_s=0.6))
    loads = [one.load for one in levels]
    assert loads == [2**i for i in range(len(loads))]
    assert 3 <= len(loads) <= 8
    best = saturation(levels)
    assert 2 <= best.load <= 16
    assert best.throughput > 2 * levels[0].throughput
    # Beyond saturation requests only wait for one another.
    assert levels[-1].percentile_ms(50) > 1.5 * best.percentile_ms(50)


def test_an_open_loop_comes_at_its_own_rate_and_counts_the_wait():
    with Counted(at_once=1).running() as url:  # at most 50 a second
        calm = measure(Traffic.to(f"{url}/v1/predict", [b"x"]), 10, duration_s=2.0, is_open=True)
        flooded = measure(Traffic.to(f"{url}/v1/predict", [b"x"]), 150, duration_s=1.0, is_open=True)
    assert 5 <= calm.throughput <= 16
    assert flooded.throughput <= 52
    # 150 came in a second, of which 50 were answered: the last of them waited for two.
    assert flooded.percentile_ms(99) > 1000
    assert calm.percentile_ms(50) < 300


def test_refusals_are_errors_and_no_throughput():
    with Counted(at_once=100, statuses=(200, 503, 429)).running() as url:
        found = measure(Traffic.to(f"{url}/v1/predict", [b"x"]), 3, duration_s=1.0)
    assert set(found.errors) == {"503", "429"}
    assert found.error_rate == pytest.approx(2 / 3, abs=0.1)
    assert found.n_answered == pytest.approx(len(found.latencies_s), abs=3)


def test_nobody_there_is_an_error_with_a_reason():
    found = measure(Traffic.to("http://127.0.0.1:9/v1/predict", [b"x"]), 2, duration_s=0.5)
    assert found.n_answered == 0
    assert found.percentile_ms(99) is None
    assert list(found.errors) == ["connection refused"]
    assert found.n_errors < 100  # users pause after an error


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "not http"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno", "connection broke"),
    ],
)
def test_answers_that_are_none(answer, reason):
    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server:
            return await asyncio.to_thread(measure, Traffic.to(url, [b"x"]), 1, duration_s=0.4)

    found = asyncio.run(main())
    assert list(found.errors) == [reason]
    assert found.n_answered == 0


def test_silence_is_a_timeout():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        found = measure(Traffic.to(url, [b"x"]), 2, duration_s=0.5, timeout_s=0.2)
    assert list(found.errors) == ["timeout"]


def test_connections_are_kept_and_renewed_when_the_server_closes_them():
    ports = set()

    async def answer(request):
        ports.add(request.client.port)
        return Response(headers={"Connection": "close"} if request.query_params.get("close") else {})

    with running(Starlette(routes=[Route("/", answer, methods=["POST"])])) as url:
        kept = measure(Traffic.to(f"{url}/", [b"x"]), 2, duration_s=0.3)
        assert len(ports) == 2
        renewed = measure(Traffic.to(f"{url}/?close=1", [b"x"]), 2, duration_s=0.3)
    assert len(ports) > 10
    assert kept.n_errors == renewed.n_errors == 0


def test_the_request_carries_the_key_and_the_body():
    service = Counted()
    with service.running() as url:
        measure(Traffic.to(f"{url}/v1/predict", [b"body"], key="secret"), 1, duration_s=0.2)
    assert service.headers["authorization"] == "Bearer secret"
    assert service.headers["host"] == url.removeprefix("http://")
    assert service.bodies[0] == b"body"


def test_percentiles_are_observed_values():
    found = level(1, 10, latencies_s=np.arange(1, 101) / 1000)
    assert [found.percentile_ms(q) for q in (50, 95, 99)] == pytest.approx([50, 95, 99])


@pytest.mark.parametrize(
    ("throughputs", "ended"),
    [
        ([10], False),
        ([10, 20, 40], False),
        ([10, 20, 20], False),
        ([10, 20, 20.5, 20.5], True),
        ([9, 9, 30], False),
    ],
)
def test_saturated_is_two_loads_that_bring_nothing(throughputs, ended):
    assert is_saturated([level(2**i, t) for i, t in enumerate(throughputs)]) is ended


def test_saturation_is_the_lightest_load_near_the_highest_throughput():
    levels = [level(load, t) for load, t in ((1, 30), (2, 58), (4, 60), (8, 59))]
    assert saturation(levels).load == 2


def test_the_page_is_self_contained_and_says_what_was_found():
    levels = [
        level(1, 20, latencies_s=[0.05]),
        level(2, 40, latencies_s=[0.0512], errors={"503": 7}),
        level(4, 40, latencies_s=[0.1, 0.2], errors={"503": 1, "<timeout>": 2}),
    ]
    setting = Setting("http://127.0.0.1:1", "a<b>", "v1", 3, 40_000, "today", "a machine", 2)
    page = render(levels, setting)
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert "a&lt;b&gt;" in page
    assert "a<b>" not in page
    assert "8 × status 503" in page
    assert "2 × &lt;timeout&gt;" in page
    assert "40</b> requests per second with <b>2</b> under way at once" in page
    assert "it is saturated" in page
    data = json.loads(re.search(r'id="levels-data">(.*?)</script>', page)[1])
    assert [entry["throughput_per_s"] for entry in data] == [20, 40, 40]
    assert data[1]["p99_ms"] == 51.2
    assert all_errors(levels) == {"503": 8, "<timeout>": 2}


@pytest.mark.parametrize(
    "levels", [[level(1, 20)], [level(1, 0, latencies_s=()), level(2, 0, latencies_s=())]]
)
def test_the_page_of_one_load_or_of_no_answer(levels):
    page = render(levels, Setting("http://127.0.0.1:1", "", "", 1, 1, "today", "a machine", 2))
    assert ("One load makes no curve" in page) is (len(levels) == 1)
    assert ("no good answer" in page) is (levels[0].n_answered == 0)


@pytest.mark.browser
def test_the_curves_are_drawn(tmp_path, chromium):
    levels = [level(load, t) for load, t in ((1, 30), (2, 58), (4, 60), (8, 59))]
    setting = Setting("http://127.0.0.1:1", "m", "v1", 3, 40_000, "today", "a machine", 2)
    (tmp_path / "page.html").write_text(render(levels, setting), encoding="utf-8")
    problems = []
    page = chromium.new_page()
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("svg.ta-plot").count() == 2
    assert page.locator("path.ta-used").count() == 1
    ticks = page.locator("svg.ta-plot").first.locator(".ta-tick").all_text_contents()
    assert ticks[-6:] == ["1", "2", "4", "8", "16", "32"]
    page.close()
    assert not problems


def test_the_drawn_picture_is_a_photograph_in_size():
    picture = drawn()
    assert decode(picture).size == (600, 450)
    assert 20_000 < len(picture) < 100_000
    assert drawn(1) != picture == drawn(0)


def test_the_generator_loads_no_engine():
    code = "import tellapart.loadtest.load, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"onnxruntime", "torch", "sklearn", "PIL"} & set(loaded.split())
