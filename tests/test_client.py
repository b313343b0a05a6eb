"""The client against the real service."""

import asyncio

import numpy as np
import pytest
from PIL import Image
from starlette.responses import JSONResponse

import tellapart as ta
from hostile import png_that_claims
from pictures import class_pixels, encode, solid
from scripted import GOOD, refuse
from servers import running
from tellapart.client import Client
from tellapart.client.images import batches, sources
from tellapart.errors import ConfigError, ServiceError
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings


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


def test_one_image_answers_as_the_model_does(lesion_client, trained, lesion_files):
    expected = ta.load(trained.folder).answer(lesion_files[0])
    found = lesion_client.predict(lesion_files[0])
    assert (found.label, found.model, found.source) == (expected.label, "lesions", str(lesion_files[0]))
    assert list(found.probabilities.values()) == pytest.approx(expected.y_prob, abs=1e-6)
    assert found.probability == found.probabilities[found.label]


@pytest.mark.parametrize("form", [str, lambda path: path, lambda path: path.read_bytes()])
def test_paths_and_bytes_are_the_same_image(lesion_client, lesion_files, form):
    assert (
        lesion_client.predict(form(lesion_files[0])).probabilities
        == lesion_client.predict(lesion_files[0]).probabilities
    )


def test_pixels_are_sent_without_loss(lesion_client, lesion_files):
    pixels = np.asarray(Image.open(lesion_files[0]).convert("RGB"))
    assert lesion_client.predict(pixels).probabilities == lesion_client.predict(lesion_files[0]).probabilities
    assert lesion_client.predict(pixels[..., 0]).label in ("benign", "malignant")
    assert len(lesion_client.predict(np.stack([pixels, pixels]))) == 2


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)])
def test_other_arrays_are_refused_with_advice(lesion_client, array):
    with pytest.raises(ConfigError, match=r"give uint8 of shape \(height, width, 3\)"):
        lesion_client.predict(array)


def test_something_else_is_refused(lesion_client):
    with pytest.raises(ConfigError, match="image 1 is a int; give a path"):
        lesion_client.predict([b"x", 7])


def test_long_lists_keep_their_order_and_tell_their_progress(lesion_client, trained, lesion_files):
    many = lesion_files * 2
    bar = Bar()
    found = lesion_client.predict(iter(many), progress=bar)
    expected = ta.load(trained.folder).predict(many).y_prob
    assert [p.source for p in found] == [str(path) for path in many]
    assert np.allclose([list(p.probabilities.values()) for p in found], expected, atol=1e-6)
    assert (bar.total, bar.done) == (len(many), len(many))


def test_a_bar_is_drawn_on_request_and_only_on_a_terminal(lesion_service, lesion_files):
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
        command = [sys.executable, "-c", code, lesion_service, shown, *map(str, lesion_files[:6])]
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


def test_a_bad_image_leaves_the_others_alone(lesion_client, lesion_files, photos):
    given = [
        lesion_files[0],
        photos / "benign" / "broken.jpg",
        "missing.png",
        b"nothing",
        solid(),
        lesion_files[1],
    ]
    given[4] = np.asarray(given[4])
    found = lesion_client.predict(given)
    assert [p.label is None for p in found] == [False, True, True, True, False, False]
    assert found[2].error == "no such file or directory"
    assert "not an image" in found[3].error
    assert lesion_client.predict([*lesion_files[:8], b"alone in its request"])[-1].error.startswith(
        "not an image"
    )
    assert lesion_client.predict(["missing.png"])[0].error == "no such file or directory"
    assert lesion_client.predict([]) == []


@pytest.mark.parametrize("image", ["missing.png", b"nothing", "http://127.0.0.1/a.png"])
def test_a_single_bad_image_raises_one_line(lesion_client, image):
    with pytest.raises(ServiceError) as caught:
        lesion_client.predict(image)
    assert "\n" not in str(caught.value)


def test_options_reach_the_service(lesion_client, lesion_files):
    found = lesion_client.predict(lesion_files[0], top_k=2, threshold=1.0, model="lesions")
    assert [entry["probability"] for entry in found.top] == sorted(found.probabilities.values(), reverse=True)
    assert found.abstained == (found.probability < 1.0)
    with pytest.raises(ServiceError, match=r"answered 404: .*lesions"):
        lesion_client.predict(lesion_files[0], model="other")
    for option in ({"top_k": 0}, {"threshold": 1.5}):
        with pytest.raises(ConfigError, match="it is a"):
            lesion_client.predict(lesion_files[0], **option)


def test_lists_are_cut_by_number_size_and_kind():
    small, large = b"x" * 1000, b"x" * 5_000_000
    given, _ = sources(
        [small] * 5 + [large, large, "http://a.example/1.png", "https://a.example/2.png", small]
    )
    cut = [[source.name for source in batch] for batch in batches(given, 4)]
    assert [len(batch) for batch in cut] == [4, 2, 1, 2, 1]
    assert [name for batch in cut for name in batch] == [source.name for source in given]


def test_a_request_too_large_for_the_service_is_cut_in_two(trained, lesion_files):
    settings = Settings(models={"m": trained.folder}, max_images=3, max_body_bytes=60_000, drain_s=0)
    noise = np.random.default_rng(0)
    large = [encode(Image.fromarray(class_pixels(noise, 0, (90, 90))), "PNG") for _ in range(6)]
    with running(create_app(settings)) as url, Client(url) as client:
        assert [p.error for p in client.predict([*large, *lesion_files[:5]])] == [None] * 11
        alone = client.predict([b"x" * 70_000, lesion_files[0]])
    assert "larger than 60,000 bytes" in alone[0].error
    assert alone[1].error is None


def test_a_bad_image_of_any_kind_alone_in_its_request_is_its_own_error(lesion_client):
    bomb = png_that_claims(20_000, 20_000)
    not_one, too_large = lesion_client.predict([b"x", bomb]), lesion_client.predict([bomb])
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


def test_an_unwelcome_host_name_is_told_once(trained, lesion_files):
    settings = Settings(models={"m": trained.folder}, drain_s=0)
    with running(create_app(settings)) as url, Client(url) as client:
        client._http.headers["Host"] = "service.example"
        with pytest.raises(ServiceError, match="Host header does not name this service"):
            client.predict(lesion_files[:5])


def test_models_and_health(lesion_client):
    (model,) = lesion_client.models()
    assert model["name"] == "lesions"
    assert model["class_names"] == ["benign", "malignant"]
    health = lesion_client.health()
    assert (health.live, health.ready) == (True, True)


def test_the_key_is_sent_and_not_told(scripted, trained, tmp_path, lesion_files):
    from tellapart.serving.keys import Keys

    keys = Keys.open(tmp_path / "keys.json")
    _, key = keys.create()
    settings = Settings(models={"m": trained.folder}, keys_file=tmp_path / "keys.json", drain_s=0)
    with running(create_app(settings)) as url:
        with Client(url, key) as client:
            assert client.predict(lesion_files[0]).label
            assert key not in repr(client)
        with (
            Client(url, key[:-1] + "?") as client,
            pytest.raises(ServiceError, match="answered 401") as caught,
        ):
            client.predict(lesion_files[0])
        assert key[:-1] not in str(caught.value)


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(lesion_service, lesion_files, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Client(lesion_service, retries=0) as client:
        assert client.predict(lesion_files[0]).label


def test_the_async_twin_answers_the_same(lesion_service, lesion_client, lesion_files, photos):
    given = [*lesion_files[:20], photos / "benign" / "broken.jpg", b"x"]
    bar = Bar()

    async def ask():
        async with ta.AsyncClient(lesion_service) as twin:
            assert (await twin.health()).ready
            assert (await twin.models())[0]["name"] == "lesions"
            with pytest.raises(ServiceError):
                await twin.predict(b"x")
            with pytest.raises(ServiceError, match="404"):
                await twin.predict(given, model="other")
            one = await twin.predict(lesion_files[0])
            return one, await twin.predict(given, progress=bar)

    one, several = asyncio.run(ask())
    assert one == lesion_client.predict(lesion_files[0])
    assert several == lesion_client.predict(given)
    assert bar.done == len(given)


def test_the_async_twin_tries_again(scripted):
    url, calls = scripted(refuse(503), JSONResponse(GOOD))

    async def ask():
        async with ta.AsyncClient(url) as twin:
            return await twin.predict(b"x")

    assert asyncio.run(ask()).label == "a"
    assert len(calls) == 2
