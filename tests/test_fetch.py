"""Attack list 42-46: what a hostile server or environment may try."""

import contextlib
import dataclasses
import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tellapart.data import fetch as fetching
from tellapart.data.addresses import NO_ANSWER, ForbiddenAddress
from tellapart.data.fetch import Budget, FetchRules, FetchTimeout, NotAnImage, fetch
from tellapart.errors import FetchError
from web import PNG, at, http, redirect, refused

SOON_S = 0.4
"""The deadline of tests in which nothing arrives in time, and half of what it may be overrun by."""


# --------------------------------------------------------------------------------- what works


@pytest.mark.parametrize("content_type", ["image/png", "IMAGE/JPEG; q=1", "application/octet-stream"])
@pytest.mark.parametrize("length", [{}, {"Content_Length": str(len(PNG))}])
def test_an_image_arrives_as_it_was_sent(serve, content_type, length):
    server = serve(http(content_type=content_type, **length))
    assert fetch(server.url, server.rules) == PNG


def test_a_chunked_image(serve):
    halves = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (PNG[:40], PNG[40:]))
    server = serve(http(halves + b"0\r\n\r\n", Transfer_Encoding="chunked"))
    assert fetch(server.url, server.rules) == PNG


def test_the_server_sees_its_name_and_nothing_of_ours(serve):
    server = serve(http())
    url = f"http://Photos.example:{server.port}/a.png?size=2#top"
    assert fetch(url, server.rules, resolver=at("127.0.0.1")) == PNG
    first, *headers = server.heads[0].strip().split("\r\n")
    assert first == "GET /a.png?size=2 HTTP/1.1"
    assert dict(line.split(": ", 1) for line in headers) == {
        "Host": f"photos.example:{server.port}",
        "User-Agent": "tellapart",
        "Accept": "image/*, application/octet-stream",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }


def test_defaults_allow_no_loopback(serve, connected):
    server = serve(http())
    assert refused(server.url, FetchRules(ports=(server.port,)), ForbiddenAddress) == NO_ANSWER
    assert refused(server.url, FetchRules(allow_private=True), ForbiddenAddress) == NO_ANSWER
    assert connected == []


SPELLINGS_OF_LOOPBACK = """
    127.0.0.1  127.0.0.1.  localhost  LocalHost  0.0.0.0  0  127.1  2130706433  0x7f000001  0177.0.0.1  0x7f.1
    [::1]  [::]  [::ffff:127.0.0.1]  [::ffff:7f00:1]  [::127.0.0.1]  [64:ff9b::7f00:1]  [2002:7f00:1::]
    a@127.0.0.1  example.org\\@127.0.0.1  127.0.0.1%23  \uff11\uff12\uff17.0.0.1  rebound.example
"""


@pytest.mark.parametrize("host", SPELLINGS_OF_LOOPBACK.split())
def test_33_34_38_no_spelling_of_loopback_is_connected_to(serve, connected, host):
    server = serve(http())
    rules = FetchRules(ports=(server.port,))
    url = f"http://{host}:{server.port}/a.png"
    assert refused(url, rules, ForbiddenAddress, resolver=at("127.0.0.1")) == NO_ANSWER
    assert connected == []
    assert server.heads == []


# --------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("framing", ["length", "close", "chunked"])
def test_42_the_limit_is_a_limit(serve, extra, framing):
    body = bytes(200_000 + extra)
    answers = {
        "length": http(body, Content_Length=str(len(body))),
        "close": http(body),
        "chunked": http(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), Transfer_Encoding="chunked"),
    }
    server = serve(answers[framing])
    rules = dataclasses.replace(server.rules, max_bytes=200_000)
    if extra:
        assert "larger than 200,000 bytes" in refused(server.url, rules, NotAnImage)
    else:
        assert fetch(server.url, rules) == body


def test_42_several_images_share_their_bytes(serve):
    server = serve(http())
    budget = Budget(2 * len(PNG) + 1, 10)
    assert [fetch(server.url, server.rules, budget) for _ in range(2)] == [PNG, PNG]
    with pytest.raises(NotAnImage, match=f"together are larger than {2 * len(PNG) + 1:,} bytes"):
        fetch(server.url, server.rules, budget)


def test_43_several_images_share_their_time(serve):
    silent, server = serve(lambda _peer, _head: time.sleep(3)), serve(http())
    budget = Budget(10**6, SOON_S)
    refused(silent.url, silent.rules, FetchTimeout, budget=budget)
    assert "0.4 seconds" in refused(server.url, server.rules, FetchTimeout, budget=budget)
    assert server.heads == []


def test_42_a_length_that_is_too_large_is_believed_before_the_body_is_read(serve):
    server = serve(lambda peer, _head: (peer.sendall(http(b"", Content_Length="25000000")), time.sleep(1)))
    started = time.monotonic()
    assert "larger than 20,000,000" in refused(server.url, server.rules, NotAnImage)
    assert time.monotonic() - started < 0.8


@pytest.mark.parametrize(
    ("head", "forever"),
    [
        pytest.param(http(b""), bytes(65536), id="no length"),
        pytest.param(http(b"", Content_Length="0x7fffffff"), bytes(65536), id="nonsense for a length"),
        pytest.param(http(b"", Content_Length="-1"), bytes(65536), id="negative length"),
        pytest.param(
            http(b"", Transfer_Encoding="chunked"), b"10000\r\n" + bytes(65536) + b"\r\n", id="chunks"
        ),
        pytest.param(http(b"-1\r\n", Transfer_Encoding="chunked"), bytes(65536), id="a chunk of size -1"),
        pytest.param(
            http(b"7fffffffffff\r\n", Transfer_Encoding="chunked"), bytes(65536), id="a chunk without end"
        ),
        pytest.param(
            http(b"0\r\n", Transfer_Encoding="chunked"), b"A: b\r\n" * 9999, id="trailers without end"
        ),
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"A: b\r\n" * 9999, id="headers without end"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: ", b"b" * 65536, id="one header without end"),
        pytest.param(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999, id="continue, continue"),
        pytest.param(b"", b"x" * 65536, id="a status line without end"),
    ],
)
def test_42_an_endless_answer_ends_in_little_memory(serve, head, forever):
    def answer(peer, _head):
        peer.sendall(head)
        while not server.stopped.is_set():
            peer.sendall(forever)

    server = serve(answer)
    rules = dataclasses.replace(server.rules, max_bytes=300_000)
    tracemalloc.start()
    try:
        with pytest.raises(FetchError) as caught:
            fetch(server.url, rules)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.status == 400
    assert peak_bytes < 6_000_000


# --------------------------------------------------------------------------------------- time


def drip(content: bytes) -> Callable[[socket.socket, str], None]:
    def answer(peer: socket.socket, _head: str) -> None:
        for byte in content:
            peer.sendall(bytes([byte]))
            time.sleep(0.05)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda _peer, _head: time.sleep(3), id="nothing"),
        pytest.param(drip(http()), id="slow headers"),
        pytest.param(lambda peer, head: (peer.sendall(http(b"")), drip(PNG)(peer, head)), id="slow body"),
        pytest.param(
            lambda peer, head: (
                peer.sendall(http(b"", Transfer_Encoding="chunked")),
                drip(b"1\r\nx\r\n" * 99)(peer, head),
            ),
            id="slow chunks",
        ),
        pytest.param(
            lambda peer, _head: (time.sleep(0.25), peer.sendall(redirect("/b.png"))), id="slow redirects"
        ),
    ],
)
def test_43_one_deadline_for_all(serve, answer):
    server = serve(answer)
    started = time.monotonic()
    message = refused(server.url, dataclasses.replace(server.rules, timeout_s=SOON_S), FetchTimeout)
    assert time.monotonic() - started < 3 * SOON_S
    assert "0.4 seconds" in message


def test_43_a_slow_handshake(serve):
    server = serve(http())  # waits for a request, and gets the beginning of a handshake
    rules = dataclasses.replace(server.rules, timeout_s=SOON_S)
    started = time.monotonic()
    refused(server.url.replace("http:", "https:"), rules, FetchTimeout)
    assert time.monotonic() - started < 3 * SOON_S


def test_43_a_slow_name_server(connected):
    release = threading.Event()

    def resolver(*_args, **_kwargs):
        release.wait(5)
        raise socket.gaierror

    started = time.monotonic()
    refused("http://a.example/", FetchRules(timeout_s=SOON_S), FetchTimeout, resolver=resolver)
    assert time.monotonic() - started < 3 * SOON_S
    release.set()
    assert connected == []


def test_43_hanging_lookups_are_limited_and_come_free_again(serve):
    server, release = serve(http()), threading.Event()

    def hanging(*_args, **_kwargs):
        release.wait(20)
        raise socket.gaierror

    rules = dataclasses.replace(server.rules, timeout_s=SOON_S)

    def ask(_number: int) -> str:
        return refused(f"http://a.example:{server.port}/", rules, FetchTimeout, resolver=hanging)

    with ThreadPoolExecutor(fetching._MAX_LOOKUPS) as pool:
        assert len(list(pool.map(ask, range(fetching._MAX_LOOKUPS)))) == fetching._MAX_LOOKUPS
    refused(server.url, rules, FetchTimeout)
    assert server.heads == []
    release.set()
    assert fetch(server.url, server.rules) == PNG


# ------------------------------------------------------------------------------ what is answered


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "multipart/mixed", "", None, "x"])
def test_44_anything_else_than_an_image_is_refused_unrepeated(serve, content_type):
    server = serve(http(b"<html>SECRET-TOKEN</html>", content_type=content_type))
    message = refused(server.url, server.rules, NotAnImage)
    assert "image/*" in message
    assert "SECRET" not in message
    assert "html" not in message


@pytest.mark.parametrize(
    "status", ["201 SECRET", "204 SECRET", "206 SECRET", "304 SECRET", "404 SECRET", "500 SECRET"]
)
def test_44_another_status_than_200_is_refused_unrepeated(serve, status):
    server = serve(http(b"SECRET", status=status))
    message = refused(server.url, server.rules, NotAnImage)
    assert status[:3] in message
    assert "SECRET" not in message


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "GZIP"])
def test_a_compressed_answer_is_refused_unopened(serve, encoding):
    server = serve(http(gzip.compress(bytes(10_000_000)), Content_Encoding=encoding))
    assert "compressed" in refused(server.url, server.rules, NotAnImage)


def test_half_an_image_is_not_an_image(serve):
    server = serve(http(PNG[:50], Content_Length=str(len(PNG))))
    assert refused(server.url, server.rules, ForbiddenAddress) == NO_ANSWER


def test_45_proxies_of_the_environment_are_ignored(serve, monkeypatch):
    proxy, server = serve(http(b"from the proxy")), serve(http())
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    url = f"http://a.example:{server.port}/"
    assert fetch(url, server.rules, resolver=at("127.0.0.1")) == PNG
    assert proxy.heads == []


def test_46_closed_blocked_unknown_and_odd_servers_read_the_same(serve):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        banner = serve(b"SSH-2.0-OpenSSH_9.2\r\n", speaks_first=True)
        silent = serve(b"")
        rules = FetchRules(ports=(closed, banner.port, silent.port, 80), allow_private=True, timeout_s=20)
        cases = {
            "closed": (f"http://127.0.0.1:{closed}/", at("127.0.0.1")),
            "closed behind a name": (f"http://a.example:{closed}/", at("127.0.0.1")),
            "blocked": ("http://169.254.169.254/", at("127.0.0.1")),
            "blocked behind a name": ("http://a.example/", at("169.254.169.254")),
            "unlisted port": ("http://127.0.0.1:1/", at("127.0.0.1")),
            "unknown name": ("http://a.example/", at(socket.gaierror(-2, "Name or service not known"))),
            "another protocol": (f"http://127.0.0.1:{banner.port}/", at("127.0.0.1")),
            "no TLS": (f"https://127.0.0.1:{banner.port}/", at("127.0.0.1")),
            "no word": (f"http://127.0.0.1:{silent.port}/", at("127.0.0.1")),
            "nonsense": ("\\\\server\\share", at("127.0.0.1")),
        }
        messages = {
            name: refused(url, rules, ForbiddenAddress, resolver=resolver)
            for name, (url, resolver) in cases.items()
        }
    assert messages == dict.fromkeys(cases, NO_ANSWER)


def test_nothing_stays_open(serve):
    def reset(peer, _head):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    banner = serve(b"SSH-2.0-OpenSSH_9.2\r\n", speaks_first=True)
    pages = [http(), http(content_type="text/html"), http(bytes(2_000_000)), redirect("/"), b"x", b""]
    servers = [banner, serve(reset), *map(serve, pages)]
    urls = [banner.url.replace("http:", "https:"), *(server.url for server in servers)]
    ports = tuple(server.port for server in servers)
    rules = FetchRules(ports=ports, allow_private=True, max_bytes=1_000_000)
    process = psutil.Process()

    def ask_all() -> None:
        for url in urls:
            with contextlib.suppress(FetchError):
                fetch(url, rules)

    def files_settle_at(count: int) -> bool:
        deadline_s = time.monotonic() + 5
        while process.num_fds() > count and time.monotonic() < deadline_s:
            time.sleep(0.02)  # the servers' ends close in their own threads
        return process.num_fds() <= count

    before = process.num_fds()
    for _ in range(3):
        ask_all()
    assert files_settle_at(before)
