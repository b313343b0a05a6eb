"""Who is let in, for how long, and what refusals look like; over real connections."""

import asyncio
import gzip
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from pictures import encode, solid
from processes import eventually
from servers import running, send_raw
from tellapart.serving.app import create_app
from tellapart.serving.bodies import read_body
from tellapart.serving.guard import Guard, route_of
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings

IMAGE = encode(solid("red"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys.open(tmp_path_factory.mktemp("keys") / "keys.json")


@pytest.fixture(scope="module")
def key(keys) -> str:
    return keys.create("primary")[1]


@pytest.fixture(scope="module")
def url(trained, keys, key):
    settings = Settings({"lesions": trained.folder}, keys_file=keys.path, request_timeout_s=2)
    with running(create_app(settings)) as url:
        yield url


def predict(url: str, **headers: str) -> httpx2.Response:
    return httpx2.post(f"{url}/v1/predict", content=IMAGE, headers=headers)


def raw(url: str, *headers: bytes, line: bytes = b"GET /v2 HTTP/1.1", host: bytes | None = None) -> int:
    """The status of a request that no client library would send."""
    if host is None:
        host = b"Host: " + url.removeprefix("http://").encode()
    request = b"\r\n".join([line, host, b"Connection: close", *headers, b"", b""])
    answer = send_raw(url, request)
    return int(answer.split(b" ", 2)[1])


def test_requests_need_a_key(url, key):
    """Attacks 1 and 2."""
    assert predict(url, Authorization=f"Bearer {key}").status_code == 200
    refused = predict(url)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["error"] == refused.json()["detail"]
    assert refused.json()["request_id"] == refused.headers["x-request-id"]
    assert predict(url, Authorization="Bearer ta_wrong").status_code == 401


@pytest.mark.parametrize(
    "path", ["/v1/predict", "/score", "/v2", "/v2/repository/index", "/nothing", "/v2/health/other"]
)
def test_all_but_the_public_paths_need_a_key(url, path):
    assert httpx2.get(url + path).status_code == 401
    assert httpx2.post(url + path).status_code == 401


PROBES = ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"]


@pytest.mark.parametrize("path", [*PROBES, "/", "/docs", "/openapi.json", "/metrics"])
def test_public_paths_need_none(url, path):
    assert httpx2.get(url + path).status_code == 200


def test_a_key_that_is_almost_right_is_wrong(url, key):
    """Attack 3. (Space at the end of a header is no part of it, as HTTP says.)"""
    known = key.encode()
    assert raw(url, b"Authorization: Bearer " + known) == 200
    assert raw(url, b"authorization: bearer " + known) == 200
    for value in (
        b"Bearer  " + known,
        b"Bearer " + known + b" x",
        b"Bearer " + known[:-1],
        b"Bearer " + known + b"A",
        b"Bearer " + known.swapcase(),
        b"Bearer",
        b"Bearer ",
        b"Basic " + known,
        known,
    ):
        assert raw(url, b"Authorization: " + value) == 401, value


def test_two_keys_in_one_request_are_none(url, key):
    header = b"Authorization: Bearer " + key.encode()
    assert raw(url, header, header) == 401


def test_a_key_of_any_bytes_is_refused_not_an_error(url):
    """Attack 4."""
    assert raw(url, b"Authorization: Bearer \xff\xfe\xc3\xbc") == 401
    assert raw(url, "Authorization: Bearer schlüssel".encode()) == 401


def test_huge_headers_are_refused(url, key):
    """Attack 5: as one header, and as many."""
    assert raw(url, b"Authorization: Bearer " + b"A" * 1_000_000) == 431
    assert raw(url, b"Authorization: Bearer " + key.encode(), *[b"X-A: " + b"a" * 100] * 300) == 431


def test_a_key_in_the_address_is_not_looked_at(url, key):
    """Attack 6: addresses end up in logs."""
    for name in ("key", "api_key", "access_token", "Authorization"):
        assert httpx2.post(f"{url}/v1/predict?{name}={key}", content=IMAGE).status_code == 401


def test_several_keys_and_their_end(url, keys):
    """Attack 7."""
    _, second = keys.create("second")
    assert predict(url, Authorization=f"Bearer {second}").status_code == 200
    third = keys.rotate("second")
    assert predict(url, Authorization=f"Bearer {second}").status_code == 401
    assert predict(url, Authorization=f"Bearer {third}").status_code == 200
    keys.revoke("second")
    assert predict(url, Authorization=f"Bearer {third}").status_code == 401


def test_keys_are_nowhere_to_be_read(url, key, caplog):
    """Attack 8: not in logs, refusals or metrics."""
    caplog.set_level(logging.DEBUG, "tellapart")
    answers = [
        predict(url, Authorization=f"Bearer {key}"),
        predict(url, Authorization=f"Bearer {key}x"),
        httpx2.post(f"{url}/v1/predict?key={key}", headers={"Authorization": f"Bearer {key}"}),
        httpx2.get(f"{url}/metrics"),
    ]

    told = caplog.text + "".join(str(record.__dict__) for record in caplog.records)
    told += "".join(answer.text + str(answer.headers) for answer in answers[:2] + answers[3:])
    assert caplog.records
    assert key not in told


@pytest.mark.parametrize(
    "host", [b"evil.example", b"127.0.0.1.evil.example", b"localhost:80:80", b"", b"a b"]
)
def test_a_service_on_loopback_answers_to_its_own_names_only(url, key, host):
    """A page on the web whose name is made to resolve to 127.0.0.1 gets nothing."""
    assert raw(url, b"Authorization: Bearer " + key.encode(), host=b"Host: " + host) == 400


@pytest.mark.parametrize("host", [b"localhost", b"127.0.0.1:9", b"[::1]:8000", b"LOCALHOST"])
def test_names_of_this_machine_are_accepted(url, key, host):
    assert raw(url, b"Authorization: Bearer " + key.encode(), host=b"Host: " + host) == 200


def test_two_hosts_are_refused(url, key):
    authorization = b"Authorization: Bearer " + key.encode()
    assert raw(url, authorization, b"Host: localhost") == 400


@pytest.mark.parametrize("path", PROBES)
def test_health_is_told_whatever_the_host_is_called(url, path):
    assert raw(url, line=f"GET {path} HTTP/1.1".encode(), host=b"Host: 10.1.2.3:8000") == 200


def test_pages_of_other_sites_are_refused(url, key):
    """Cross-origin requests get neither an answer nor leave to read one."""
    known = {"Authorization": f"Bearer {key}"}
    foreign = predict(url, **known, Origin="https://evil.example")
    assert foreign.status_code == 403
    assert not any(name.startswith("access-control") for name in foreign.headers)
    assert predict(url, **known, Origin="null").status_code == 403
    assert predict(url, **known, Origin=url).status_code == 200
    preflight = httpx2.options(f"{url}/v1/predict", headers={"Origin": "https://evil.example"})
    assert preflight.status_code == 403


def test_smuggled_requests_are_refused(url, key):
    """Attack 54."""
    line = b"POST /v1/predict HTTP/1.1"
    authorization = b"Authorization: Bearer " + key.encode()
    assert raw(url, authorization, b"Content-Length: 3", b"Transfer-Encoding: chunked", line=line) == 400
    assert raw(url, authorization, b"Content-Length: 3", b"Content-Length: 4", line=line) == 400
    assert raw(url, authorization, b"Content-Length: -3", line=line) == 400


def test_answers_carry_security_headers_and_a_request_id(url, key):
    answer = predict(url, Authorization=f"Bearer {key}", **{"X-Request-ID": "case-17"})

    assert answer.headers["x-request-id"] == "case-17"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src" in answer.headers["content-security-policy"]
    forged = predict(url, Authorization=f"Bearer {key}", **{"X-Request-ID": 'a"b<script>'})
    assert "script" not in forged.headers["x-request-id"]


def test_a_slow_body_meets_the_deadline_and_harms_nobody(url, key):
    """Attack 16."""
    import socket

    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(
            f"POST /v1/predict HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
            "Content-Length: 1000\r\n\r\n".encode()
        )
        started = time.monotonic()
        for _ in range(3):
            slow.sendall(b"x")
            time.sleep(0.3)
            assert httpx2.get(f"{url}/healthz").status_code == 200
        answer = slow.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408")
    assert 1.5 < time.monotonic() - started < 5


def test_a_client_that_goes_away_leaves_nothing_behind(url, key):
    """Attack 15: a hundred bodies that stop halfway."""
    head = (
        f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        "Content-Length: 100\r\n\r\n"
    )
    import socket

    host, port = url.removeprefix("http://").split(":")
    for _ in range(100):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + b"0123456789")
    assert predict(url, Authorization=f"Bearer {key}").status_code == 200


def test_a_key_may_not_ask_too_often(trained, keys, key):
    """Attack 64."""
    settings = Settings({"lesions": trained.folder}, keys_file=keys.path, rate_per_s=3)
    _, other = keys.create("other")
    with running(create_app(settings)) as url, httpx2.Client(base_url=url) as client:
        known = {"Authorization": f"Bearer {key}"}
        answers = [client.get("/v2", headers=known) for _ in range(6)]

        assert [answer.status_code for answer in answers[:3]] == [200] * 3
        assert answers[-1].status_code == 429
        wait_s = int(answers[-1].headers["retry-after"])
        assert client.get("/v2", headers={"Authorization": f"Bearer {other}"}).status_code == 200
        time.sleep(wait_s)
        assert client.get("/v2", headers=known).status_code == 200


def app_of(endpoint, settings: Settings) -> Starlette:
    return Starlette(routes=[Route("/", endpoint)], middleware=[Middleware(Guard, settings=settings)])


def test_what_we_did_not_foresee_is_a_500_without_details(caplog):
    async def fails(request):
        raise RuntimeError("secret path /home/someone")

    with running(app_of(fails, Settings({"m": Path("run")}))) as url:
        answer = httpx2.get(url)

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.json()["request_id"] in caplog.text


def test_an_answer_that_does_not_come_is_a_503():
    async def never(request):
        await asyncio.sleep(60)

    with running(app_of(never, Settings({"m": Path("run")}, request_timeout_s=0.3))) as url:
        answer = httpx2.get(url)

    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_all_bodies_together_have_a_limit(monkeypatch):
    monkeypatch.setattr("tellapart.serving.guard.MAX_HELD_BODIES", 1)

    async def read(request):
        return PlainTextResponse(str(len(await request.body())))

    with running(app_of(read, Settings({"m": Path("run")}, max_body_bytes=1000))) as url:
        assert httpx2.post(url, content=b"x" * 1000).status_code == 405
        assert httpx2.request("GET", url, content=b"x" * 1000).text == "1000"
        answers = [httpx2.request("GET", url, content=b"x" * 1001) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [503] * 3
        assert httpx2.request("GET", url, content=b"x" * 1000).text == "1000"


def test_what_compressed_bodies_become_counts_towards_that_limit(monkeypatch):
    """Attack 13, by many at once: each is small on the wire, and within its own limit."""
    monkeypatch.setattr("tellapart.serving.guard.MAX_HELD_BODIES", 2)
    settings = Settings({"m": Path("run")}, max_body_bytes=100_000)
    held, go = [], Event()

    async def hold(request):
        held.append(await read_body(request, settings))
        await asyncio.to_thread(go.wait, 10)
        return PlainTextResponse("done")

    def ask() -> httpx2.Response:
        return httpx2.request(
            "GET", url, content=gzip.compress(bytes(95_000)), headers={"Content-Encoding": "gzip"}
        )

    with running(app_of(hold, settings)) as url, ThreadPoolExecutor(2) as pool:
        first = [pool.submit(ask) for _ in range(2)]
        eventually(lambda: len(held) == 2)
        refused = ask()
        go.set()
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert [answer.result().status_code for answer in first] == [200, 200]
        assert ask().status_code == 200


def test_beyond_loopback_metrics_need_a_key_and_names_are_free_unless_listed(trained, keys, key):
    """Attack 69."""
    settings = Settings({"m": trained.folder}, host="0.0.0.0", keys_file=keys.path)
    with running(create_app(settings)) as url:
        assert httpx2.get(f"{url}/metrics").status_code == 401
        assert httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200
        authorization = b"Authorization: Bearer " + key.encode()
        assert raw(url, authorization, host=b"Host: service.example") == 200
    with running(create_app(replace(settings, allowed_hosts=("service.example",)))) as url:
        assert raw(url, authorization, host=b"Host: service.example:80") == 200
        assert raw(url, authorization, host=b"Host: other.example") == 400


def test_routes_are_patterns_never_paths_that_callers_invent():
    seen = []

    async def note(request):
        seen.append(route_of(request.scope))
        return Response()

    async def files(scope, receive, send):
        seen.append(route_of(scope))
        await Response()(scope, receive, send)

    app = Starlette(routes=[Route("/v2/models/{name}", note), Mount("/static", files)])
    with TestClient(app) as client:
        client.get("/v2/models/lesions")
        client.get("/v2/models/%2e%2e")
    assert seen == ["/v2/models/{name}"] * 2
    assert route_of({"app": app, "path": "/admin.php"}) == "other"
    assert route_of({"app": app, "endpoint": files}) == "/static"
