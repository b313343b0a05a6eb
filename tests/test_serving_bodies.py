"""Bodies that are larger, longer or other than they claim; over real connections."""

import base64
import gzip
import json
import select
import socket
import zlib

import httpx2
import psutil
import pytest

from peaks import needs_proc, peak
from pictures import encode, solid
from servers import running, send_raw
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings

IMAGE = encode(solid("red"))
LIMIT = 10_000_000


@pytest.fixture(scope="module")
def url(trained):
    with running(create_app(Settings({"lesions": trained.folder}))) as url:
        yield url


def post(url: str, path: str = "/v1/predict", **request) -> httpx2.Response:
    return httpx2.post(url + path, timeout=30, **request)


def test_a_length_above_the_limit_is_refused_before_reading(url):
    """Attack 11: nothing of the body is sent, and the answer is there."""
    head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11000000\r\n\r\n"
    answer = send_raw(url, head)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_chunks_are_counted_and_the_rest_is_not_waited_for(url):
    """Attack 12: the answer is there at the limit, though the body would go on for ever."""
    host, port = url.removeprefix("http://").split(":")
    chunk = b"186a0\r\n" + bytes(100_000) + b"\r\n"
    n_sent = 0
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        while not select.select([connection], [], [], 0.001)[0] and n_sent < 5 * LIMIT:
            connection.sendall(chunk)
            n_sent += 100_000
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")
    assert LIMIT < n_sent < 1.8 * LIMIT  # what lies in the sockets' buffers is sent, and not read


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("GZIP", gzip.compress)]
)
def test_compressed_bodies_are_read(url, encoding, compress):
    answer = post(url, content=compress(IMAGE), headers={"Content-Encoding": encoding})
    assert answer.status_code == 200


@needs_proc
@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_compressed_bomb_is_refused_and_takes_no_memory(url, encoding, compress):
    """Attack 13: 200 MB of zeros in 195 KB, of which no more than the limit is ever unfolded."""
    bomb = compress(bytes(200_000_000))
    with peak() as taken:
        for _ in range(3):
            assert post(url, content=bomb, headers={"Content-Encoding": encoding}).status_code == 413
    assert taken.mb < 60


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "schlüssel".encode("latin-1"), "x" * 500])
def test_an_unknown_encoding_is_refused(url, encoding):
    """Attack 14."""
    assert post(url, content=IMAGE, headers={"Content-Encoding": encoding}).status_code == 415


@pytest.mark.parametrize(
    "body", [b"", b"not gzip", gzip.compress(IMAGE)[:-9], gzip.compress(IMAGE) + b"more"]
)
def test_a_damaged_stream_is_refused(url, body):
    assert post(url, content=body, headers={"Content-Encoding": "gzip"}).status_code == 400


def test_a_body_that_stops_halfway_holds_no_slot(url):
    """Attack 15, with open file handles counted."""
    host, port = url.removeprefix("http://").split(":")
    before = psutil.Process().num_fds()
    for _ in range(50):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n0123456789"
            )
    assert post(url, content=IMAGE).status_code == 200
    assert psutil.Process().num_fds() - before < 20


NO_JSON = (b"[" * 100_000, b'{"images":' * 20_000, b"", b"{", b"\xff\xfe", b"9" * 10_000)  # attack 17
NO_REQUEST = (b"null", b"3", b'"text"', b"[]")
NO_IMAGES = (
    b'{"images": {}}',
    b'{"images": []}',
    b'{"images": [{"base64": "QQ=="}], "top_k": ' + b"9" * 5000 + b"}",
)


@pytest.mark.parametrize("body", [*NO_JSON, *NO_REQUEST, *NO_IMAGES])
def test_json_of_any_shape_is_refused_not_an_error(url, body):
    assert post(url, content=body, headers={"Content-Type": "application/json"}).status_code == 400


@pytest.mark.parametrize("body", [*NO_JSON, *NO_REQUEST])
def test_so_it_is_by_the_other_route(url, body):
    assert post(url, "/score", content=body).status_code == 400


@pytest.mark.parametrize(
    "text", ["not base64!", "QQ=", "QQ", "Q", "ä" * 8, "data:image/png,abc", "\ud800", "====", "QQ==QQ=="]
)
def test_invalid_base64_is_told(url, text):
    """Attack 18."""
    answer = post(
        url, content=json.dumps({"images": [{"base64": text}]}), headers={"Content-Type": "application/json"}
    )
    [result] = answer.json()["predictions"]
    assert answer.status_code == 200
    assert result["status"] == 400
    assert "base64" in result["error"]


def test_base64_may_not_expand_past_the_limit(url):
    """Attack 19: as it is, and compressed."""
    body = json.dumps({"images": [{"base64": base64.b64encode(bytes(LIMIT)).decode()}]}).encode()
    json_type = {"Content-Type": "application/json"}
    assert post(url, content=body, headers=json_type).status_code == 413
    packed = {**json_type, "Content-Encoding": "gzip"}
    assert post(url, content=gzip.compress(body), headers=packed).status_code == 413


def test_very_many_parts_are_refused(url):
    """Attack 20: as files, as fields, and as a part with very many headers."""
    assert post(url, files=[("image", ("a.png", b"x"))] * 10_000).status_code == 400
    part = b'--x\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n1\r\n'
    multipart = {"Content-Type": "multipart/form-data; boundary=x"}
    assert post(url, content=part * 10_000 + b"--x--", headers=multipart).status_code == 400
    many = b'--x\r\nContent-Disposition: form-data; name="a"\r\n' + b"A: b\r\n" * 100_000 + b"\r\n1\r\n--x--"
    assert post(url, content=many, headers=multipart).status_code == 400


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=", b"x"),
        ("multipart/form-data; boundary=x", b"no boundary at all"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nno disposition\r\n--x--"),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\ncut',
        ),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=" + "x" * 5000, b"--x"),
        (
            "multipart/form-data; boundary=x; charset=nonsense",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\xff\r\n--x--',
        ),
    ],
)
def test_damaged_multipart_is_refused(url, kind, body):
    assert post(url, content=body, headers={"Content-Type": kind}).status_code == 400


def test_very_many_images_in_one_call_are_refused(url):
    """Attack 21: before any of them is decoded."""
    images = [{"base64": "QQ=="}] * 10_000
    answer = post(url, json={"images": images})
    assert answer.status_code == 400
    assert "at most 32" in answer.json()["detail"]
    assert post(url, "/score", json=[{"image_in_base64": "QQ=="}] * 10_000).status_code == 400
