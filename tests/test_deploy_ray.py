"""Deployments on a Ray cluster that runs on this machine: the same answers, and what survives what."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import onnx
import psutil
import pytest

from pictures import write_class_folders
from tellapart.bundle import Bundle
from tellapart.client import Client
from tellapart.deploy.deployment import Deployment, deploy
from tellapart.errors import DeploymentError, ServiceError
from tellapart.inference import Classifier

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def own_data(tmp_path_factory):
    before = os.environ.get("TELLAPART_DATA")
    os.environ["TELLAPART_DATA"] = str(tmp_path_factory.mktemp("data"))
    yield
    os.environ.pop("TELLAPART_DATA")
    if before is not None:
        os.environ["TELLAPART_DATA"] = before


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return sorted(
        write_class_folders(tmp_path_factory.mktemp("new"), {"benign": 4, "malignant": 4}).rglob("*.png")
    )


@pytest.fixture(scope="module")
def lesions(trained):
    deployment = deploy(trained.folder, "lesions", target="ray", replicas=2)
    yield deployment
    cluster = deployment.record.options["pid"]
    deployment.delete()
    assert not psutil.pid_exists(cluster) or psutil.Process(cluster).status() == psutil.STATUS_ZOMBIE


class Load:
    """Requests in a row from several threads, while something happens to the service."""

    def __init__(self, deployment, picture, n_threads=4):
        self.statuses, self.versions, self.labels = Counter(), set(), set()
        self._over = threading.Event()
        self._arguments = deployment.url, deployment.key, picture
        self._threads = [threading.Thread(target=self._ask) for _ in range(n_threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *exc_info):
        time.sleep(1)
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self):
        import httpx2

        url, key, picture = self._arguments
        content, headers = picture.read_bytes(), {"Authorization": f"Bearer {key}"}
        with httpx2.Client(timeout=60) as client:
            while not self._over.is_set():
                try:
                    answer = client.post(f"{url}/v1/predict", content=content, headers=headers)
                except httpx2.TransportError as exc:
                    self.statuses[type(exc).__name__] += 1
                    continue
                self.statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    self.versions.add(answer.json()["version"])
                    self.labels.add(answer.json()["predictions"][0]["label"])


def replicas_of(name):
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or ()).startswith(f"ray::ServeReplica:{name}"):
            found.append(process)
    return found


def test_a_node_may_die(trained, pictures):
    """Two nodes on one machine; the replica on the dead one is placed on the other."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=2)
        deployment = deploy(trained.folder, "nodes", target="ray", replicas=2, address=cluster.address)
        first = deployment.score(pictures[0]).probabilities
        cluster.remove_node(second, allow_graceful=False)
        wait_until(lambda: answers(deployment, pictures[0]) == first, limit_s=60)
        wait_until(lambda: len(replicas_of("nodes")) == 2, limit_s=60)
    finally:
        cluster.shutdown()
    assert deployment.status().state == "unreachable"
    with pytest.raises(DeploymentError, match=r"whether 'nodes' still runs .* --force"):
        deployment.delete()
    deployment.delete(force=True)
    with pytest.raises(DeploymentError, match="no deployment 'nodes'"):
        Deployment.find("nodes")


def test_what_the_replicas_say_can_be_read(lesions, pictures):
    lesions.score(pictures[0])
    lines = [json.loads(line) for line in lesions.logs(1000)]
    asked = [line for line in lines if line["event"] == "request" and line["route"] == "/v1/predict"]
    assert asked
    assert {line["event"] for line in lines} >= {"model", "request"}


def test_no_cluster_at_the_address_is_one_line(trained):
    with pytest.raises(DeploymentError, match=r"no Ray cluster answers at 127\.0\.0\.1:9"):
        deploy(trained.folder, "nowhere", target="ray", address="127.0.0.1:9")


def test_answers_as_predict_does(lesions, trained, pictures):
    expected = Classifier.load(trained.folder).predict(pictures)
    answers = lesions.score(pictures)
    got = [[answer.probabilities[name] for name in expected.class_names] for answer in answers]
    np.testing.assert_allclose(got, expected.y_prob, atol=1e-6)


def test_the_inference_protocol_answers_the_same(lesions, trained, pictures):
    from tritonclient.http import InferenceServerClient, InferInput

    expected = Classifier.load(trained.folder).predict(pictures[:2]).y_prob
    client = InferenceServerClient(lesions.url.removeprefix("http://"))
    tensor = InferInput("image", [2], "BYTES")
    tensor.set_data_from_numpy(np.array([p.read_bytes() for p in pictures[:2]], dtype=np.object_))
    headers = {"Authorization": f"Bearer {lesions.key}"}
    result = client.infer("lesions", [tensor], headers=headers).as_numpy("probabilities")
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_two_replicas_run_and_answer(lesions):
    assert lesions.status().state == "ready"
    assert len(replicas_of("lesions")) == 2


def test_keys_open_and_close_without_a_restart(lesions, pictures):
    before = {process.pid for process in replicas_of("lesions")}
    name, key = lesions.new_key()
    other = Deployment.find("lesions", key)
    wait_until(lambda: accepts(other, pictures[0]))
    lesions.revoke_key(name)
    wait_until(lambda: not accepts(other, pictures[0]))
    with pytest.raises(ServiceError, match="key"):
        Client(lesions.url, "wrong").predict(pictures[0])
    assert {process.pid for process in replicas_of("lesions")} == before


def test_a_killed_replica_comes_back_and_nobody_gets_a_wrong_answer(lesions, trained, pictures):
    expected = Classifier.load(trained.folder).predict(pictures[:1])
    label = expected.class_names[int(expected.y_prob[0].argmax())]
    with Load(lesions, pictures[0]) as load:
        victim = replicas_of("lesions")[0]
        victim.send_signal(signal.SIGKILL)
        wait_until(lambda: victim.pid not in {p.pid for p in replicas_of("lesions")})
        wait_until(lambda: len(replicas_of("lesions")) == 2, limit_s=60)
    failed = sum(n for status, n in load.statuses.items() if status != 200)
    assert load.labels == {label}
    assert load.statuses[200] > 20
    assert failed <= 8, load.statuses  # at most those in flight on it, and what the proxy had sent after them


def test_another_model_under_load_fails_no_request(lesions, trained, pictures, tmp_path):
    before = lesions.record.version
    changed = other_model(trained, tmp_path)
    with Load(lesions, pictures[0]) as load:
        after = lesions.update(changed)
    assert set(load.statuses) == {200}, load.statuses
    assert before != after
    assert load.versions == {before, after}


def test_a_name_that_the_cluster_runs_already_is_refused(lesions, trained):
    with pytest.raises(DeploymentError, match="exists already"):
        deploy(trained.folder, "lesions", target="ray")


def test_the_service_itself_never_imports_ray():
    program = "import tellapart.serving.app, tellapart.deploy.deployment, sys; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def accepts(deployment, picture):
    try:
        deployment.score(picture)
    except ServiceError:
        return False
    return True


def answers(deployment, picture):
    try:
        return deployment.score(picture).probabilities
    except ServiceError:
        return None


def other_model(trained, folder):
    """Return a copy of a model whose graph differs by a note in it, which changes no answer."""
    copy = folder / "other"
    shutil.copytree(trained.folder / "model", copy)
    graph = onnx.load(copy / "model.onnx")
    graph.doc_string = "another version"
    onnx.save(graph, copy / "model.onnx")
    Bundle.write(copy, Bundle.load(trained.folder).card, readme="")
    return copy


def wait_until(is_true, limit_s=30.0):
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)
