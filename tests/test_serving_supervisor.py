"""Several worker processes behind one port: balanced, replaced when they die, drained when they are told."""

import shutil
import signal
import socket
import sys
from collections import Counter
from pathlib import Path

import httpx2
import onnx
import psutil
import pytest
from onnx import numpy_helper

from processes import eventually, load, serving
from tellapart.bundle import MODEL_FILE, Bundle
from tellapart.data.files import write_atomically
from tellapart.errors import ServiceError, TellapartError
from tellapart.serving.listener import bind, url_of
from tellapart.serving.settings import Settings
from tellapart.serving.supervisor import serve

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")


@pytest.fixture
def image(photos):
    return (photos / "benign" / "000.png").read_bytes()


@pytest.fixture
def bundle(trained, tmp_path):
    return Path(shutil.copytree(trained.folder / "model", tmp_path / "model"))


def put_opposite(bundle: Path) -> str:
    """Put a model into the bundle that says "malignant" of what is benign; return its version."""
    model = onnx.load(bundle / "model.onnx")
    for tensor in model.graph.initializer:
        if tensor.name in ("head.weight", "head.bias"):
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    card = Bundle.load(bundle).card
    write_atomically(bundle / MODEL_FILE, model.SerializeToString())
    return Bundle.write(bundle, card, readme="").model_sha256[:12]


def test_a_worker_killed_under_load_costs_its_own_requests_only_and_comes_back(trained, image, tmp_path):
    """Attack 66."""
    callers = 4
    with serving(tmp_path / "log", trained.folder, "--workers", 2) as service:
        before = service.workers()
        assert len(before) == 2
        with load(service.url, image, callers=callers) as seen:
            eventually(lambda: len(seen.answers) > 20)
            before[0].kill()
            eventually(lambda: len(service.events("worker ended")) == 1)
            n_answers = len(seen.answers)
            eventually(lambda: len(seen.answers) > n_answers + 20)  # the other one answers
            back_s = eventually(lambda: len(service.events("worker started")) == 3)
        assert back_s < 5
        assert len(seen.broken) <= callers, seen.broken
        assert seen.refused == []
        assert {label for _, label in seen.answers} == {"benign"}
        assert before[0].pid not in {worker.pid for worker in service.workers()}
        assert service.stop() == 0


def test_models_change_under_load_without_a_failed_request(bundle, image, tmp_path):
    """Attack 67: each reply names one version, and is that version's."""
    old = Bundle.load(bundle).model_sha256[:12]
    with serving(tmp_path / "log", bundle, "--workers", 2) as service:
        with load(service.url, image) as seen:
            eventually(lambda: len(seen.answers) > 20)
            new = put_opposite(bundle)
            service.process.send_signal(signal.SIGHUP)
            eventually(lambda: len(service.events("reloaded")) == 2)
            n_answers = len(seen.answers)
            eventually(lambda: len(seen.answers) > n_answers + 20)
        assert (seen.broken, seen.refused) == ([], [])
        assert set(seen.answers) == {(old, "benign"), (new, "malignant")}
        assert {version for version, _ in seen.answers[n_answers + 8 :]} == {new}


def test_a_broken_new_model_leaves_the_old_one_serving(bundle, image, tmp_path):
    with serving(tmp_path / "log", bundle, "--workers", 2) as service:
        (bundle / "model.onnx").write_bytes(b"not a model")
        with load(service.url, image) as seen:
            service.process.send_signal(signal.SIGHUP)
            eventually(lambda: len(service.events("reload failed")) == 2)
        assert (seen.broken, seen.refused) == ([], [])
        assert "goes on serving" in service.events("reload failed")[0]["reason"]


def test_one_caller_reloads_the_models_of_all_workers(bundle, image, tmp_path):
    with serving(tmp_path / "log", bundle, "--workers", 2, "--drain-s", 0) as service:
        new = put_opposite(bundle)
        index = httpx2.post(f"{service.url}/v2/repository/index").json()
        answer = httpx2.post(f"{service.url}/v2/repository/models/{index[0]['name']}/load")
        assert answer.status_code == 200, answer.text
        eventually(lambda: len(service.events("reloaded")) == 1)  # the worker that was not asked
        with load(service.url, image) as seen:
            eventually(lambda: len(seen.answers) > 20)
        assert set(seen.answers) == {(new, "malignant")}


def test_sigterm_under_load_fails_no_request(trained, image, tmp_path):
    """Attack 65: readiness goes first, and whoever heeds it is answered to the last request."""
    with serving(tmp_path / "log", trained.folder, "--workers", 2, "--drain-s", 2) as service:
        workers = service.workers()
        with load(service.url, image, while_ready=True) as seen:
            eventually(lambda: len(seen.answers) > 20)
            assert service.stop() == 0
        assert (seen.broken, seen.refused) == ([], [])
        assert not any(worker.is_running() for worker in workers)
        assert len(service.events("draining")) == 2


def test_a_second_ctrl_c_ends_at_once(trained, tmp_path):
    with serving(tmp_path / "log", trained.folder, "--workers", 2, "--drain-s", 60) as service:
        workers = service.workers()
        service.process.send_signal(signal.SIGINT)
        eventually(lambda: len(service.events("draining")) == 2)
        assert service.process.poll() is None
        service.stop(signal.SIGINT, timeout_s=5)
        assert not any(worker.is_running() for worker in workers)


def test_no_worker_outlives_its_supervisor(trained, tmp_path):
    with serving(tmp_path / "log", trained.folder, "--workers", 2, "--drain-s", 0) as service:
        workers = service.workers()
        service.process.kill()
        psutil.wait_procs(workers, timeout=20)
        assert not any(worker.is_running() for worker in workers)


def test_few_open_connections_are_dealt_evenly(trained, image, tmp_path):
    with serving(tmp_path / "log", trained.folder, "--workers", 2) as service:
        clients = [httpx2.Client() for _ in range(8)]
        for client in clients:
            assert client.post(f"{service.url}/v1/predict", content=image).status_code == 200
            client.get(f"{service.url}/healthz")

        def answered_by() -> Counter[int]:
            return Counter(line["pid"] for line in service.events("request") if line["route"] == "/healthz")

        eventually(lambda: answered_by().total() == len(clients))  # a line is written after the answer
        assert sorted(answered_by().values()) == [4, 4]
        for client in clients:
            client.close()


def test_metrics_are_those_of_all_workers(trained, image, tmp_path):
    with serving(tmp_path / "log", trained.folder, "--workers", 2) as service:
        clients = [httpx2.Client() for _ in range(4)]
        for client in clients:
            client.post(f"{service.url}/v1/predict", content=image)
        eventually(lambda: len({line["pid"] for line in service.events("request")}) == 2)
        text = httpx2.get(f"{service.url}/metrics").text
        assert 'tellapart_requests_total{route="/v1/predict",status="200"} 4.0' in text
        for client in clients:
            client.close()


def test_each_worker_is_small_and_has_neither_torch_nor_sklearn(trained, image, tmp_path):
    with serving(tmp_path / "log", trained.folder, "--workers", 2) as service:
        with load(service.url, image) as seen:
            eventually(lambda: len(seen.answers) > 50)
        for worker in service.workers():
            megabytes = worker.memory_info().rss / 1e6
            print(f"worker {worker.pid}: {megabytes:.0f} MB")
            assert megabytes < 400
            libraries = " ".join(region.path for region in worker.memory_maps())
            assert "onnxruntime" in libraries
            for heavy in ("/torch/", "/sklearn/", "/scipy/", "/matplotlib/", "/pandas/"):
                assert heavy not in libraries


def test_a_taken_port_is_told_with_what_to_type(trained):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for workers in (1, 2):
            with pytest.raises(ServiceError, match=f"port {port}.*choose another --port"):
                serve(Settings({"m": trained.folder}, port=port, workers=workers))


def test_an_address_of_another_machine_is_told():
    with pytest.raises(ServiceError, match=r"192\.0\.2\.1 is no address to serve on"):
        bind("192.0.2.1", 0)
    with pytest.raises(ServiceError, match="no address to serve on"):
        bind("no.such.name.invalid", 0)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_missing_or_damaged_model_is_told_in_one_line(bundle, tmp_path, workers):
    with pytest.raises(TellapartError, match="no model at"):
        serve(Settings({"m": tmp_path / "nothing"}, port=0, workers=workers))
    (bundle / "model.onnx").write_bytes(b"\x08\x07 damaged")
    with pytest.raises(TellapartError, match=r"model\.onnx is damaged"):
        serve(Settings({"m": bundle}, port=0, workers=workers))


def test_the_url_is_one_that_a_browser_here_takes():
    for host, expected in (("0.0.0.0", "http://127.0.0.1:"), ("::1", "http://[::1]:")):
        try:
            sock = bind(host, 0)
        except ServiceError:
            pytest.skip(f"this machine has no {host}")
        with sock:
            assert url_of(sock).startswith(expected)
