"""Loading models, swapping them under load, and what happens when too many ask."""

import asyncio
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import httpx2
import numpy as np
import pytest

from graphs import write_version
from pictures import encode, solid
from servers import running
from tellapart.bundle import Bundle
from tellapart.errors import BundleError
from tellapart.serving.app import create_app
from tellapart.serving.models import Models, find_bundle
from tellapart.serving.problems import Problem
from tellapart.serving.settings import Settings

IMAGE = encode(solid("red"))


@pytest.fixture
def bundle(trained, tmp_path) -> Path:
    return shutil.copytree(trained.folder / "model", tmp_path / "model")


def test_models_are_known_by_name_and_the_first_answers_by_default(trained):
    models = Models(Settings({"a": trained.folder, "b": trained.folder / "model"}, threads=1))
    try:
        assert models.names() == ("a", "b")
        assert models.get().name == "a"
        assert models.get("b").version == trained.model.bundle.model_sha256[:12]
        for name in ("c", "", "../a", "A"):  # attack 55
            with pytest.raises(Problem, match="there is a, b") as refused:
                models.get(name)
            assert refused.value.status == 404
    finally:
        models.close()


def test_pixels_and_files_give_what_the_classifier_gives(trained, photos):
    path = photos / "benign" / "000.png"
    pixels = np.zeros((64, 64, 3), np.uint8)

    async def ask():
        return await models.get().probabilities_of([path.read_bytes(), pixels])

    models = Models(Settings({"a": trained.folder}))
    of_file, of_pixels = asyncio.run(ask())
    models.close()

    assert of_file == pytest.approx(trained.model.answer(path).y_prob, abs=1e-6)
    assert of_pixels == pytest.approx(trained.model.predict_proba(pixels[None])[0], abs=1e-6)


def test_int8_is_looked_for_in_the_run_folder(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained.folder / "model", run / "model")
    with pytest.raises(BundleError, match=r"tellapart export .*run --precision int8 --out .*model-int8"):
        find_bundle(run, "int8")
    shutil.copytree(run / "model", run / "model-int8")
    card = Bundle.load(run).card
    Bundle.write(run / "model-int8", replace(card, precision="int8"), readme="")

    assert find_bundle(run, "int8").folder == run / "model-int8"
    assert find_bundle(run, "fp32").folder == run / "model"
    assert find_bundle(run).folder == run / "model"
    assert find_bundle(run / "model-int8", "int8").card.precision == "int8"


def test_a_bundle_that_does_not_fit_its_card_is_refused(bundle):
    card = Bundle.load(bundle).card
    Bundle.write(bundle, replace(card, class_names=("a", "b", "c"), threshold=None), readme="")

    with pytest.raises(BundleError, match="each of 3 classes"):
        Models(Settings({"a": bundle}))


def test_a_missing_model_is_told(tmp_path):
    with pytest.raises(BundleError, match="no model at"):
        Models(Settings({"a": tmp_path}))


@pytest.mark.parametrize("damage", ["cut", "noise", "gone", "card"])
def test_a_broken_new_version_leaves_the_old_one_serving(bundle, damage):
    """Attack 60."""

    async def go():
        models = Models(Settings({"a": bundle}))
        before = models.get().version
        content = (bundle / "model.onnx").read_bytes()
        if damage == "cut":
            (bundle / "model.onnx").write_bytes(content[:-100])
        elif damage == "noise":
            half = len(content) // 2
            (bundle / "model.onnx").write_bytes(content[:half] + b"noise" + content[half + 5 :])
        elif damage == "gone":
            (bundle / "model.onnx").unlink()
        else:
            (bundle / "model.json").write_text("{")
        with pytest.raises(BundleError, match=f"version {before} goes on serving"):
            await models.reload()
        assert models.get().version == before
        [y_prob] = await models.get().probabilities_of([IMAGE])
        models.close()
        return y_prob

    assert asyncio.run(go()).sum() == pytest.approx(1)


def test_a_model_that_did_not_change_is_not_loaded_again(bundle):
    async def go():
        models = Models(Settings({"a": bundle, "b": bundle}))
        before = models.get("a"), models.get("b")
        assert await models.reload() == {"a": before[0].version, "b": before[1].version}
        assert (models.get("a"), models.get("b")) == before
        new = write_version(bundle, "2")
        assert await models.reload("a") == {"a": new}
        assert models.get("b") is before[1]
        models.close()

    asyncio.run(go())


def test_new_versions_take_over_without_a_failed_request(bundle):
    """Attack 67: under load, each answer names one version, and versions never go back."""
    app = create_app(Settings({"a": bundle}))
    seen: list[list[str]] = [[] for _ in range(4)]
    failures: list[str] = []
    stop = Event()

    def ask(mine: list[str]) -> None:
        with httpx2.Client(base_url=url) as client:
            while not stop.is_set():
                answer = client.post("/v1/predict", files=[("a", IMAGE), ("b", IMAGE), ("c", IMAGE)])
                if answer.status_code == 200:
                    mine.append(answer.json()["version"])
                else:
                    failures.append(answer.text)

    with running(app) as url:
        versions = [httpx2.post(f"{url}/v1/predict", content=IMAGE).json()["version"]]
        clients = [Thread(target=ask, args=(mine,)) for mine in seen]
        for client in clients:
            client.start()
        for number in range(4):
            versions.append(write_version(bundle, str(number)))
            loaded = httpx2.post(f"{url}/v2/repository/models/a/load", timeout=60)
            assert loaded.status_code == 200, loaded.text
            time.sleep(0.2)
        stop.set()
        for client in clients:
            client.join()

    assert not failures
    assert len(set(versions)) == 5
    for mine in seen:
        order = [versions.index(version) for version in mine]
        assert order == sorted(order)
    assert set(versions[1:]) <= {version for mine in seen for version in mine}


def test_requests_that_began_with_the_old_version_end_with_it(bundle):
    async def go():
        models = Models(Settings({"a": bundle}, request_timeout_s=0.1))
        old = models.get()
        write_version(bundle, "2")
        await models.reload()
        assert models.get() is not old
        assert (await old.probabilities_of([IMAGE]))[0].shape == (2,)
        await asyncio.sleep(1.3)
        assert not any(thread.is_alive() for thread in old.batcher._threads)
        models.close()

    asyncio.run(go())


def test_a_burst_is_refused_with_a_time_to_come_again_and_health_goes_on(trained, monkeypatch):
    """Attacks 63 and 68: far more requests than fit; none fails otherwise, and afterwards all is well."""
    settings = Settings({"a": trained.folder}, queue_size=4, max_images=4, threads=1)
    real = trained.model.__class__.predict_proba

    def slow(self, pixels, **options):
        time.sleep(0.05)
        return real(self, pixels, **options)

    monkeypatch.setattr("tellapart.inference.Classifier.predict_proba", slow)
    with running(create_app(settings)) as url, httpx2.Client(base_url=url, timeout=30) as client:

        def ask(_: int) -> httpx2.Response:
            return client.post("/v1/predict", content=IMAGE)

        health = httpx2.Client(base_url=url)  # its start, which takes a while, is not measured
        with health, ThreadPoolExecutor(16) as pool:
            burst = pool.map(ask, range(300))
            waits_s = []
            for _ in range(10):
                started = time.perf_counter()
                assert health.get("/healthz").status_code == 200
                waits_s.append(time.perf_counter() - started)
            answers = list(burst)
        after = ask(0)

    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 503}
    assert all(answer.headers["retry-after"] for answer in answers if answer.status_code == 503)
    assert sorted(waits_s)[len(waits_s) // 2] < 0.1
    assert after.status_code == 200
