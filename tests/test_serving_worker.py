"""One process that serves: signals, the drain, and how soon and how small it is."""

import signal
import socket
import sys
import time
from pathlib import Path

import httpx2
import psutil
import pytest

from pictures import encode, solid
from processes import eventually, load, serving
from servers import running, send_raw
from tellapart.serving import connections

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture
def image(photos):
    return (photos / "benign" / "000.png").read_bytes()


def test_it_is_the_only_process_soon_ready_and_small(trained, image, tmp_path):
    started = time.perf_counter()
    with serving(tmp_path / "log", trained.folder) as service:
        ready_s = time.perf_counter() - started
        process = psutil.Process(service.process.pid)
        cpu = process.cpu_times()
        with load(service.url, image) as seen:
            eventually(lambda: len(seen.answers) > 50)
        megabytes = process.memory_info().rss / 1e6
        print(
            f"ready after {ready_s:.2f} s, of which {cpu.user + cpu.system:.2f} s at work; {megabytes:.0f} MB"
        )
        assert process.children() == []
        assert cpu.user + cpu.system < 2  # the machine may be busy with other things besides
        assert megabytes < 400
        libraries = " ".join(region.path for region in process.memory_maps())
        for heavy in ("/torch/", "/sklearn/", "/scipy/", "/matplotlib/", "/pandas/"):
            assert heavy not in libraries


def test_a_drain_says_not_ready_answers_and_ends_with_0(trained, image, tmp_path):
    """Attack 65, for one process."""
    with (
        serving(tmp_path / "log", trained.folder, "--drain-s", 3) as service,
        httpx2.Client(base_url=service.url, timeout=30) as client,
    ):
        assert client.get("/readyz").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: client.get("/readyz").status_code == 503)
        answer = client.post("/v1/predict", content=image)
        assert answer.status_code == 200
        # Open connections end with an answer, and are not cut while a request is on its way.
        eventually(lambda: client.get("/healthz").headers.get("connection") == "close", timeout_s=2.5)
        assert service.process.wait(20) == 0
        with pytest.raises(httpx2.ConnectError):
            client.get("/healthz")


def test_sigterm_under_load_fails_no_request(trained, image, tmp_path):
    with serving(tmp_path / "log", trained.folder, "--drain-s", 2) as service:
        with load(service.url, image, while_ready=True) as seen:
            eventually(lambda: len(seen.answers) > 20)
            assert service.stop() == 0
        assert (seen.broken, seen.refused) == ([], [])


def test_a_second_ctrl_c_ends_at_once(trained, tmp_path):
    with serving(tmp_path / "log", trained.folder, "--drain-s", 60) as service:
        service.process.send_signal(signal.SIGINT)
        eventually(lambda: service.events("draining"))
        assert service.stop(signal.SIGINT, timeout_s=5) == -signal.SIGINT


def test_sighup_reads_the_models_again(trained, image, tmp_path):
    with serving(tmp_path / "log", trained.folder) as service:
        with load(service.url, image) as seen:
            service.process.send_signal(signal.SIGHUP)
            eventually(lambda: service.events("reloaded"))
        assert (seen.broken, seen.refused) == ([], [])


# --- connections


async def hello(scope, receive, send):
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


def test_headers_without_end_are_cut_off():
    with running(hello) as url:
        endless = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (connections.MAX_HEAD_BYTES + 300_000)
        assert send_raw(url, endless).startswith(b"HTTP/1.1 431 ")
        assert httpx2.get(url).text == "hi"


def test_slow_headers_are_cut_off_and_idle_connections_are_not(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.5)
    with running(hello) as url:
        assert send_raw(url, b"GET / HTTP/1.1\r\nHost: x\r\n").startswith(b"HTTP/1.1 408 ")
        assert send_raw(url, b"").startswith(b"HTTP/1.1 408 ")
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            for _ in range(3):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
                time.sleep(0.7)  # longer than a head may take


def test_a_body_of_any_length_after_short_headers_is_the_applications_matter():
    with running(hello) as url:
        assert httpx2.post(url, content=b"x" * 1_000_000).text == "hi"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_the_log_stops_no_answer(trained):
    with serving(Path("/dev/full"), trained.folder, "--drain-s", 0) as service:
        answers = [httpx2.post(f"{service.url}/v1/predict", content=encode(solid("red"))) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert service.stop() == 0
