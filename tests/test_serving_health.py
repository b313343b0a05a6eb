"""What load balancers and Prometheus ask."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter, sleep
from types import SimpleNamespace

import httpx2
import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from pictures import encode
from processes import serving
from servers import running
from tellapart.serving import health
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings


def test_ready_means_loaded_and_not_draining_and_alive_is_always_so():
    app = Starlette(routes=health.routes)
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
