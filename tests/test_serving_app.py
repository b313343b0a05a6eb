"""The service as a whole: routes, form of refusals, start and weight."""

import base64
import json
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import httpx2
import pytest

from graphs import leave_to_a_person
from pictures import encode, solid
from servers import running
from tellapart.bundle import Bundle
from tellapart.errors import BundleError, ServiceError
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.service import Service
from tellapart.serving.settings import Settings


@pytest.fixture(scope="module")
def url(trained):
    with running(create_app(Settings({"lesions": trained.folder}))) as url:
        yield url


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/metrics", "/", "/docs", "/openapi.json", "/v2/health/live"]
)
def test_what_can_be_looked_at(url, path):
    assert httpx2.get(url + path, timeout=30).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/predict", 405),
        ("DELETE", "/score", 405),
        ("POST", "/v1/predict/", 404),
        ("GET", "/static/../app.py", 404),
        ("GET", "/static/%2e%2e/app.py", 404),
        ("GET", "/static/nothing.js", 404),
    ],
)
def test_refusals_are_problem_details(url, method, path, status):
    answer = httpx2.request(method, url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"] == problem["error"]


def test_requests_and_answers_are_counted(url, photos):
    picture = (photos / "malignant" / "002.png").read_bytes()
    httpx2.post(f"{url}/v1/predict", content=picture)
    httpx2.post(f"{url}/v1/predict", content=b"no image")

    text = httpx2.get(f"{url}/metrics").text

    assert 'tellapart_requests_total{route="/v1/predict",status="200"}' in text
    assert 'tellapart_requests_total{route="/v1/predict",status="400"}' in text
    assert 'tellapart_predictions_total{label="malignant",model="lesions"}' in text
    assert 'tellapart_images_failed_total{reason="UnreadableImage"}' in text
    assert 'tellapart_model_info{model="lesions"' in text
    assert "tellapart_batch_size_count" in text


def test_answers_that_leave_it_to_a_person_are_counted_by_every_route(trained, photos, tmp_path):
    bundle = shutil.copytree(trained.folder / "model", tmp_path / "model")
    leave_to_a_person(bundle)
    text = base64.b64encode((photos / "malignant" / "002.png").read_bytes()).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    with running(create_app(Settings({"m": bundle}))) as url:
        httpx2.post(f"{url}/v1/predict", json={"images": [{"base64": text}]}).raise_for_status()
        httpx2.post(f"{url}/score", json=[{"image_in_base64": text}]).raise_for_status()
        httpx2.post(f"{url}/v2/models/m/infer", json={"inputs": [tensor]}).raise_for_status()
        assert 'tellapart_abstentions_total{model="m"} 3.0' in httpx2.get(f"{url}/metrics").text


def test_classes_called_as_no_text_is_can_be_answered(trained, tmp_path):
    """A folder's name that is not UTF-8 becomes a class with half a surrogate pair in its name."""
    bundle = shutil.copytree(trained.folder / "model", tmp_path / "model")
    card = Bundle.load(bundle).card
    Bundle.write(bundle, replace(card, class_names=("caf\udce9", "\udcff"), threshold=None), readme="")
    text = base64.b64encode(encode(solid("red"))).decode()
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    with running(create_app(Settings({"m": bundle}))) as url:
        answers = [
            httpx2.post(f"{url}/v1/predict?top_k=2", json={"images": [{"base64": text}]}),
            httpx2.post(f"{url}/score", json=[{"image_in_base64": text}]),
            httpx2.post(f"{url}/v2/models/m/infer", json={"inputs": [tensor]}),
            httpx2.get(f"{url}/metrics"),
            httpx2.get(f"{url}/openapi.json"),
        ]
    assert [answer.status_code for answer in answers] == [200] * 5
    assert list(answers[1].json()[0]["scores"]) == ["caf?", "?"]


def test_drift_shows_when_other_images_come(trained):
    image = encode(solid("white"))
    app = create_app(Settings({"lesions": trained.folder}))
    with running(app) as url, httpx2.Client(base_url=url) as client:
        for _ in range(100):
            client.post("/v1/predict", content=image)
        text = client.get("/metrics").text

    [line] = [line for line in text.splitlines() if 'measure="contrast"' in line]
    assert float(line.rsplit(" ", 1)[1]) > 0.25


def test_a_service_without_models_or_keys_does_not_start(trained, tmp_path):
    with pytest.raises(BundleError, match="no model at"):
        Service.open(Settings({"a": tmp_path}))
    with pytest.raises(ServiceError, match="no keys in"):
        Service.open(Settings({"a": trained.folder}, keys_file=tmp_path / "keys.json"))
    keys = Keys.open(tmp_path / "keys.json")
    keys.create()
    Service.open(Settings({"a": trained.folder}, keys_file=keys.path)).close()


def test_the_service_starts_soon_and_without_heavy_libraries(trained):
    """No torch, no scikit-learn, no plotting: what serving needs is small."""
    program = """
import asyncio, json, sys
from pathlib import Path
from tellapart.serving.app import create_app
from tellapart.serving.settings import Settings

async def start():
    app = create_app(Settings({"m": Path(sys.argv[1])}))
    async with app.router.lifespan_context(app):
        print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))

asyncio.run(start())
"""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, str(trained.folder)], capture_output=True, text=True, check=True
    )
    took_s = time.monotonic() - started

    loaded = set(json.loads(done.stdout))
    assert not loaded & {
        "torch",
        "timm",
        "torchvision",
        "sklearn",
        "matplotlib",
        "pandas",
        "onnx",
        "rich",
        "typer",
    }
    assert took_s < 20  # on a busy machine; benchmarks/ has the figure
