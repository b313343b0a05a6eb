"""What is refused before it is a request: heads too long or too slow, and what is no HTTP."""

import json
import socket

import pytest

from servers import running, send_raw
from tellapart.serving import connections


async def fine(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


@pytest.fixture(scope="module")
def url():
    with running(fine, lifespan="off") as url:
        yield url


def problem_in(answer: bytes) -> dict:
    """The problem document of an answer, whose head must fit it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    problem = json.loads(body)
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(body))
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == problem["request_id"]
    assert status == f"HTTP/1.1 {problem['status']} {problem['title']}"
    assert problem["error"] == problem["detail"]  # for clients of the inference protocol
    return problem


@pytest.mark.parametrize(
    "request_",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_told_so(url, request_):
    assert problem_in(send_raw(url, request_))["status"] == 400


def test_a_head_without_end_is_cut_off(url):
    """Attack 5."""
    problem = problem_in(send_raw(url, b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"a" * 70_000))
    assert problem["status"] == 431
    assert "65,536" in problem["detail"]


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_given_up(url, monkeypatch, begun):
    """Attack 16, in the headers."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.2)
    assert problem_in(send_raw(url, begun))["status"] == 408


def test_a_connection_that_rests_between_requests_is_left_alone(url, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.2)
    host, port = url.removeprefix("http://").split(":")
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        for _ in range(2):
            connection.sendall(request)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            connection.settimeout(0.6)
            with pytest.raises(TimeoutError):
                connection.recv(4096)
            connection.settimeout(10)
