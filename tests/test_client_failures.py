"""The client against servers that fail in chosen ways."""

import time

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from scripted import GOOD, refuse
from tellapart.client import Client
from tellapart.errors import ConfigError, ServiceError


def test_a_service_that_is_not_there():
    with Client("http://127.0.0.1:9", retries=0) as client:
        assert not client.health().live
        with pytest.raises(
            ServiceError, match=r"no service answers at .* `tellapart serve MODEL` starts one"
        ):
            client.predict(b"x")


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_passing_refusals_are_tried_again(scripted, status):
    url, calls = scripted(refuse(status), refuse(status), JSONResponse(GOOD))
    with Client(url) as client:
        assert client.predict(b"x").label == "a"
    assert len(calls) == 3
    assert calls[2] - calls[1] > 0.15  # the pauses grow


def test_final_refusals_are_not(scripted):
    url, calls = scripted(refuse(500))
    with Client(url) as client, pytest.raises(ServiceError, match="answered 500: come again"):
        client.predict(b"x")
    assert len(calls) == 1


def test_retries_end(scripted):
    url, calls = scripted(refuse(503))
    with Client(url, retries=2) as client, pytest.raises(ServiceError, match="answered 503"):
        client.predict([b"x", b"y"])
    assert len(calls) == 3


def test_the_service_says_how_long_to_wait(scripted):
    url, calls = scripted(refuse(503, **{"Retry-After": "1"}), JSONResponse(GOOD))
    with Client(url) as client:
        client.predict(b"x")
    assert 1.0 <= calls[1] - calls[0] < 2.0


def test_a_service_that_wants_too_long_a_pause_is_given_up(scripted):
    url, calls = scripted(refuse(429, **{"Retry-After": "3600"}))
    with Client(url) as client, pytest.raises(ServiceError, match="answered 429"):
        client.predict(b"x")
    assert len(calls) == 1


def test_a_service_that_comes_up_late_is_found(trained, lesion_files):
    import socket
    from threading import Timer

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # refuses connections until it listens
        app = Starlette(routes=[Route("/v1/predict", lambda request: JSONResponse(GOOD), methods=["POST"])])
        from threading import Thread

        import uvicorn

        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        Timer(0.5, thread.start).start()
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            assert client.predict(lesion_files[0]).label == "a"
        server.should_exit = True
        thread.join(10)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (PlainTextResponse("hello"), "not as tellapart's service does \\(no JSON\\)"),
        (JSONResponse([1]), "not as tellapart's service does"),
        (JSONResponse({**GOOD, "predictions": []}), "not as tellapart's service does"),
        (RedirectResponse("https://elsewhere.example/"), "has moved; use https://elsewhere.example/"),
        (Response(status_code=401), "401: Unauthorized; give one of the service's keys"),
        (Response("<html>\nlong\npage", 500), "answered 500: Internal Server Error$"),
    ],
)
def test_strange_answers_become_one_line(scripted, answer, message):
    url, _ = scripted(answer)
    with Client(url, retries=0) as client, pytest.raises(ServiceError, match=message) as caught:
        client.predict(b"x")
    assert "\n" not in str(caught.value)


def test_slow_answers_are_given_up(scripted):
    url, _ = scripted(lambda: time.sleep(1) or JSONResponse(GOOD))
    with Client(url, timeout_s=0.2) as client, pytest.raises(ServiceError, match=r"within 0\.2 s"):
        client.predict(b"x")


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://a", "http://", "http://a:b", None])
def test_addresses_that_are_none(url):
    with pytest.raises(ConfigError, match="it looks like http://"):
        Client(url)


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("two words", "copy it again"),
        ("ключ", "copy it again"),
        ("a\r\nb: c", "copy it again"),
        ("", "the key is empty; give one, or none"),
    ],
)
def test_keys_that_are_none(key, told):
    with pytest.raises(ConfigError, match=told):
        Client("http://127.0.0.1:8000", key)


@pytest.mark.parametrize("options", [{"retries": -1}, {"timeout_s": 0}, {"max_images": 0}, {"at_once": 0}])
def test_settings_that_cannot_be(options):
    (name,) = options
    with pytest.raises(ConfigError, match=f"{name} is .*; give "):
        Client("http://127.0.0.1:8000", **options)
