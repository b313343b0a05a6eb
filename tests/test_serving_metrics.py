"""What Prometheus and load balancers see of a service."""

import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter, sleep
from types import SimpleNamespace

import httpx2
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from pictures import encode
from processes import serving
from servers import running
from tellapart.serving import metrics
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.metrics import Metrics, route_of
from tellapart.serving.settings import Settings


def samples(text: bytes | str) -> dict[tuple[str, ...], float]:
    """Name and label values (in the order of the labels' names) -> value, as Prometheus reads them."""
    text = text if isinstance(text, str) else text.decode()
    return {
        (sample.name.removeprefix("tellapart_"), *dict(sorted(sample.labels.items())).values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_everything_that_is_counted_comes_out():
    counters = Metrics()
    counters.request_done("/v1/predict", 200, 0.04)
    counters.request_done("/v1/predict", 503, 0.001)
    counters.batch_done(size=2, queue_length=3, seconds=0.02)
    counters.predicted("lesions", "benign", 0.9, abstained=False)
    counters.predicted("lesions", "benign", 0.5, abstained=True)
    counters.image_failed("UnreadableImage")
    counters.drifted("lesions", {"brightness": 0.3})
    found = samples(counters.render()[0])
    assert found["requests_total", "/v1/predict", "200"] == 1
    assert found["errors_total", "/v1/predict", "503"] == 1
    assert ("errors_total", "/v1/predict", "200") not in found
    assert found["request_seconds_count", "/v1/predict"] == 2
    assert (found["batch_size_sum",], found["queue_length",]) == (2, 3)
    assert found["predictions_total", "benign", "lesions"] == 2
    assert found["abstentions_total", "lesions"] == 1
    assert found["confidence_sum", "lesions"] / found["confidence_count", "lesions"] == pytest.approx(0.7)
    assert found["images_failed_total", "UnreadableImage"] == 1
    assert found["drift", "brightness", "lesions"] == 0.3


def test_one_version_of_a_model_serves_at_a_time():
    counters = Metrics()
    counters.serving("lesions", "one")
    counters.serving("lesions", "two")
    found = samples(counters.render()[0])
    assert (found["model_info", "lesions", "one"], found["model_info", "lesions", "two"]) == (0, 1)


def test_processes_add_up(tmp_path):
    code = """if True:
        from tellapart.serving.metrics import Metrics
        counters = Metrics()
        counters.request_done("/score", 200, 0.01)
        counters.batch_done(1, 2, 0.01)
        counters.drifted("m", {"contrast": DRIFT})
        print(counters.render()[0].decode())
    """
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for drift in ("0.5", "0.1"):
        command = [sys.executable, "-c", code.replace("DRIFT", drift)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = samples(done.stdout)
    assert found["requests_total", "/score", "200"] == 2
    assert found["batch_size_count",] == 2
    # Of those that live still, the worst; of queues the sum. Nobody has told that the first one ended.
    assert (found["drift", "contrast", "m"], found["queue_length",]) == (0.5, 4)


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


def test_ready_means_loaded_and_not_draining_and_alive_is_always_so():
    app = Starlette(routes=metrics.routes)
    with TestClient(app) as client:
        assert client.get("/readyz").status_code == 503
        for draining, status in ((False, 200), (True, 503)):
            app.state.service = SimpleNamespace(draining=draining)
            assert client.get("/readyz").status_code == status
            assert client.get("/healthz").status_code == 200


def test_beyond_loopback_metrics_need_a_key(trained, tmp_path):
    """Attack 69."""
    keys = Keys.open(tmp_path / "keys.json")
    _, key = keys.create()
    settings = {"models": {"m": trained.folder}, "keys_file": keys.path}
    for host, status in (("0.0.0.0", 401), ("127.0.0.1", 200)):
        with running(create_app(Settings(host=host, **settings))) as url:
            assert httpx2.get(f"{url}/metrics").status_code == status
            asked = httpx2.get(f"{url}/metrics", headers={"Authorization": f"Bearer {key}"})
            assert asked.status_code == 200
            assert key not in asked.text


def test_health_answers_at_once_under_overload(trained, tmp_path):
    """Attack 68: far more work than can be done, and a probe that must not wait for it."""
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    image = encode(Image.fromarray(noise), "JPEG")
    with serving(tmp_path / "log", trained.folder, "--queue-size", 32) as service:

        def ask(number: int) -> int:
            return callers[number % len(callers)].post("/v1/predict", content=image).status_code

        callers = [httpx2.Client(base_url=service.url, timeout=60) for _ in range(64)]
        probe = httpx2.Client(base_url=service.url, timeout=60)
        with ThreadPoolExecutor(len(callers)) as pool:
            answers = [pool.submit(ask, number) for number in range(2 * len(callers))]
            seconds = []
            while not all(answer.done() for answer in answers):
                started = perf_counter()
                assert probe.get("/healthz").status_code == 200
                seconds.append(perf_counter() - started)
                sleep(0.02)
            statuses = [answer.result() for answer in answers]
        for client in (*callers, probe):
            client.close()
        print(
            f"{Counter(statuses)}; health after {median(seconds) * 1000:.0f} ms, at most {max(seconds):.2f} s"
        )
        assert set(statuses) == {200, 503}  # without any 503 it was no overload
        assert median(seconds) < 0.1
