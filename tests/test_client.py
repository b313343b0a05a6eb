"""The client against the real service, and against servers that fail in chosen ways."""

import asyncio
import time

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

import tellapart as ta
from hostile import png_that_claims
from pictures import class_pixels, encode, solid
from servers import running
from tellapart.client import Client
from tellapart.client.images import batches, sources
from tellapart.errors import ConfigError, ServiceError
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings


@pytest.fixture(scope="module")
def service(trained):
    settings = Settings(models={"lesions": trained.folder}, max_images=8, drain_s=0)
    with running(create_app(settings)) as url:
        yield url


@pytest.fixture
def client(service):
    with Client(service) as client:
        yield client


@pytest.fixture(scope="module")
def files(photos):
    return sorted((photos / "malignant").glob("*.png"))


class Bar:
    """Progress that remembers."""

    def __init__(self):
        self.total, self.done = 0, 0

    def track(self, description, total, unit="image"):
        from contextlib import contextmanager

        @contextmanager
        def tracked():
            self.total = total

            def advance(n):
                self.done += n

            yield advance

        return tracked()

    def say(self, message):
        raise AssertionError(message)


@pytest.fixture
def scripted():
    """Start a server that answers /v1/predict with the given responses in turn, the last one for ever."""
    servers = []

    def start(*responses):
        calls = []

        async def predict(request):
            await request.body()
            calls.append(time.monotonic())
            answer = responses[min(len(calls), len(responses)) - 1]
            return answer if isinstance(answer, Response) else answer()

        context = running(Starlette(routes=[Route("/v1/predict", predict, methods=["POST"])]))
        url = context.__enter__()
        servers.append(context)
        return url, calls

    yield start
    for context in servers:
        context.__exit__(None, None, None)


GOOD = {
    "model": "m",
    "version": "1",
    "predictions": [
        {"label": "a", "probability": 0.9, "probabilities": {"a": 0.9, "b": 0.1}, "abstained": False}
    ],
}


def refuse(status, **headers):
    return lambda: JSONResponse({"detail": "come again"}, status, headers=headers)


def test_one_image_answers_as_the_model_does(client, trained, files):
    expected = ta.load(trained.folder).answer(files[0])
    found = client.predict(files[0])
    assert (found.label, found.model, found.source) == (expected.label, "lesions", str(files[0]))
    assert list(found.probabilities.values()) == pytest.approx(expected.y_prob, abs=1e-6)
    assert found.probability == found.probabilities[found.label]


@pytest.mark.parametrize("form", [str, lambda path: path, lambda path: path.read_bytes()])
def test_paths_and_bytes_are_the_same_image(client, files, form):
    assert client.predict(form(files[0])).probabilities == client.predict(files[0]).probabilities


def test_pixels_are_sent_without_loss(client, files):
    pixels = np.asarray(Image.open(files[0]).convert("RGB"))
    assert client.predict(pixels).probabilities == client.predict(files[0]).probabilities
    assert client.predict(pixels[..., 0]).label in ("benign", "malignant")
    assert len(client.predict(np.stack([pixels, pixels]))) == 2


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused_with_advice(client, array):
    with pytest.raises(ConfigError, match=r"give uint8 of shape \(height, width, 3\)"):
        client.predict(array)


def test_something_else_is_refused(client):
    with pytest.raises(ConfigError, match="image 1 is a int; give a path"):
        client.predict([b"x", 7])


def test_long_lists_keep_their_order_and_tell_their_progress(client, trained, files):
    many = files * 2
    bar = Bar()
    found = client.predict(iter(many), progress=bar)
    expected = ta.load(trained.folder).predict(many).y_prob
    assert [p.source for p in found] == [str(path) for path in many]
    assert np.allclose([list(p.probabilities.values()) for p in found], expected, atol=1e-6)
    assert (bar.total, bar.done) == (len(many), len(many))


def test_a_bar_is_drawn_on_request_and_only_on_a_terminal(service, files):
    import os
    import pty
    import subprocess
    import sys

    code = (
        "import sys, tellapart as ta\n"
        "with ta.Client(sys.argv[1]) as client: client.predict(sys.argv[3:], progress=sys.argv[2] == 'shown')"
    )

    def on_terminal(shown: str) -> str:
        mine, theirs = pty.openpty()
        command = [sys.executable, "-c", code, service, shown, *map(str, files[:6])]
        done = subprocess.run(command, stderr=theirs, stdout=subprocess.PIPE, text=True, timeout=60)
        os.close(theirs)
        assert (done.returncode, done.stdout) == (0, "")
        os.set_blocking(mine, False)
        try:
            return os.read(mine, 100_000).decode()
        except (BlockingIOError, OSError):  # nothing was written; the terminal has closed
            return ""
        finally:
            os.close(mine)

    assert "6/6" in on_terminal("shown")
    assert on_terminal("hidden") == ""


def test_a_bad_image_leaves_the_others_alone(client, files, photos):
    given = [files[0], photos / "benign" / "broken.jpg", "missing.png", b"nothing", solid(), files[1]]
    given[4] = np.asarray(given[4])
    found = client.predict(given)
    assert [p.label is None for p in found] == [False, True, True, True, False, False]
    assert found[2].error == "no such file or directory"
    assert "not an image" in found[3].error
    assert client.predict([*files[:8], b"alone in its request"])[-1].error.startswith("not an image")
    assert client.predict(["missing.png"])[0].error == "no such file or directory"
    assert client.predict([]) == []


@pytest.mark.parametrize("image", ["missing.png", b"nothing", "http://127.0.0.1/a.png"])
def test_a_single_bad_image_raises_one_line(client, image):
    with pytest.raises(ServiceError) as caught:
        client.predict(image)
    assert "\n" not in str(caught.value)


def test_options_reach_the_service(client, files):
    found = client.predict(files[0], top_k=2, threshold=1.0, model="lesions")
    assert [entry["probability"] for entry in found.top] == sorted(found.probabilities.values(), reverse=True)
    assert found.abstained == (found.probability < 1.0)
    with pytest.raises(ServiceError, match=r"answered 404: .*lesions"):
        client.predict(files[0], model="other")
    for option in ({"top_k": 0}, {"threshold": 1.5}):
        with pytest.raises(ConfigError, match="it is a"):
            client.predict(files[0], **option)


def test_lists_are_cut_by_number_size_and_kind():
    small, large = b"x" * 1000, b"x" * 5_000_000
    given, _ = sources(
        [small] * 5 + [large, large, "http://a.example/1.png", "https://a.example/2.png", small]
    )
    cut = [[source.name for source in batch] for batch in batches(given, 4)]
    assert [len(batch) for batch in cut] == [4, 2, 1, 2, 1]
    assert [name for batch in cut for name in batch] == [source.name for source in given]


def test_a_request_too_large_for_the_service_is_cut_in_two(trained, files):
    settings = Settings(models={"m": trained.folder}, max_images=3, max_body_bytes=60_000, drain_s=0)
    noise = np.random.default_rng(0)
    large = [encode(Image.fromarray(class_pixels(noise, 0, (90, 90))), "PNG") for _ in range(6)]
    with running(create_app(settings)) as url, Client(url) as client:
        assert [p.error for p in client.predict([*large, *files[:5]])] == [None] * 11
        alone = client.predict([b"x" * 70_000, files[0]])
    assert "larger than 60,000 bytes" in alone[0].error
    assert alone[1].error is None


def test_a_bad_image_of_any_kind_alone_in_its_request_is_its_own_error(client):
    bomb = png_that_claims(20_000, 20_000)
    not_one, too_large = client.predict([b"x", bomb]), client.predict([bomb])
    assert not_one[0].error.startswith("not an image")
    assert "shrink it first" in not_one[1].error
    assert "shrink it first" in too_large[0].error


@pytest.mark.parametrize("images", [b"x", [b"x"], [b"x"] * 20])
def test_a_refusal_of_the_whole_service_is_no_error_of_an_image(scripted, images):
    """A Host header that is not allowed, say: once, in one line, and not for each image."""
    url, calls = scripted(refuse(400))
    with Client(url) as client, pytest.raises(ServiceError, match="answered 400: come again"):
        client.predict(images)
    assert len(calls) <= client.at_once


def test_an_unwelcome_host_name_is_told_once(trained, files):
    settings = Settings(models={"m": trained.folder}, drain_s=0)
    with running(create_app(settings)) as url, Client(url) as client:
        client._http.headers["Host"] = "service.example"
        with pytest.raises(ServiceError, match="Host header does not name this service"):
            client.predict(files[:5])


def test_models_and_health(client):
    (model,) = client.models()
    assert model["name"] == "lesions"
    assert model["class_names"] == ["benign", "malignant"]
    health = client.health()
    assert (health.live, health.ready) == (True, True)


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


def test_a_service_that_comes_up_late_is_found(trained, files):
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
            assert client.predict(files[0]).label == "a"
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


def test_the_key_is_sent_and_not_told(scripted, trained, tmp_path, files):
    from tellapart.serving.keys import Keys

    keys = Keys.open(tmp_path / "keys.json")
    _, key = keys.create()
    settings = Settings(models={"m": trained.folder}, keys_file=tmp_path / "keys.json", drain_s=0)
    with running(create_app(settings)) as url:
        with Client(url, key) as client:
            assert client.predict(files[0]).label
            assert key not in repr(client)
        with (
            Client(url, key[:-1] + "?") as client,
            pytest.raises(ServiceError, match="answered 401") as caught,
        ):
            client.predict(files[0])
        assert key[:-1] not in str(caught.value)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(service, files, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Client(service, retries=0) as client:
        assert client.predict(files[0]).label


def test_the_async_twin_answers_the_same(service, client, files, photos):
    given = [*files[:20], photos / "benign" / "broken.jpg", b"x"]
    bar = Bar()

    async def ask():
        async with ta.AsyncClient(service) as twin:
            assert (await twin.health()).ready
            assert (await twin.models())[0]["name"] == "lesions"
            with pytest.raises(ServiceError):
                await twin.predict(b"x")
            with pytest.raises(ServiceError, match="404"):
                await twin.predict(given, model="other")
            one = await twin.predict(files[0])
            return one, await twin.predict(given, progress=bar)

    one, several = asyncio.run(ask())
    assert one == client.predict(files[0])
    assert several == client.predict(given)
    assert bar.done == len(given)


def test_the_async_twin_tries_again(scripted):
    url, calls = scripted(refuse(503), JSONResponse(GOOD))

    async def ask():
        async with ta.AsyncClient(url) as twin:
            return await twin.predict(b"x")

    assert asyncio.run(ask()).label == "a"
    assert len(calls) == 2
