"""Deployments on a Ray cluster that runs on this machine: the same answers, and what survives what."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import numpy as np
import psutil
import pytest

from graphs import write_version
from pictures import write_class_folders
from processes import eventually, load
from tellapart.client import Client
from tellapart.deploy.creation import deploy
from tellapart.deploy.deployment import Deployment
from tellapart.errors import DeploymentError, ServiceError
from tellapart.inference import Classifier

pytest.importorskip("ray", reason="Ray is not installed")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("own_deployments")]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return sorted(
        write_class_folders(tmp_path_factory.mktemp("new"), {"benign": 4, "malignant": 4}).rglob("*.png")
    )


@pytest.fixture(scope="module")
def lesions(trained):
    before = models_on_disk()
    deployment = deploy(trained.folder, "lesions", target="ray", replicas=2)
    assert len(models_on_disk()) == len(before) + 2
    yield deployment
    cluster = deployment.record.options["pid"]
    deployment.delete()
    assert len(models_on_disk() - before) <= 1  # of the replica that a test kills
    assert not psutil.pid_exists(cluster) or psutil.Process(cluster).status() == psutil.STATUS_ZOMBIE


def models_on_disk():
    return set(Path(tempfile.gettempdir()).glob("tellapart-replica-*/lesions"))


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
        eventually(lambda: answers(deployment, pictures[0]) == first, timeout_s=60)
        eventually(lambda: len(replicas_of("nodes")) == 2, timeout_s=60)
    finally:
        cluster.shutdown()
    assert deployment.status().state == "unreachable"
    with pytest.raises(DeploymentError, match=r"whether 'nodes' still runs .* --force"):
        deployment.delete()
    deployment.delete(force=True)
    with pytest.raises(DeploymentError, match="no deployment 'nodes'"):
        Deployment.find("nodes")


def test_the_page_finds_its_parts_below_the_deployments_path(lesions):
    page = httpx2.get(lesions.url, follow_redirects=True)
    assert str(page.url) == f"{lesions.url}/"
    parts = re.findall(r'(?:src|href)="([^":#]+)"', page.text)
    assert parts
    for part in parts:
        assert httpx2.get(urljoin(str(page.url), part)).status_code == 200, part


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
    eventually(lambda: accepts(other, pictures[0]))
    lesions.revoke_key(name)
    eventually(lambda: not accepts(other, pictures[0]))
    with pytest.raises(ServiceError, match="key"):
        Client(lesions.url, "wrong").predict(pictures[0])
    assert {process.pid for process in replicas_of("lesions")} == before


def test_a_killed_replica_comes_back_and_nobody_gets_a_wrong_answer(lesions, trained, pictures):
    expected = Classifier.load(trained.folder).predict(pictures[:1])
    label = expected.class_names[int(expected.y_prob[0].argmax())]
    with load(lesions.url, pictures[0].read_bytes(), key=lesions.key) as seen:
        eventually(lambda: len(seen.answers) > 20)
        victim = replicas_of("lesions")[0]
        victim.send_signal(signal.SIGKILL)
        eventually(lambda: victim.pid not in {p.pid for p in replicas_of("lesions")})
        eventually(lambda: len(replicas_of("lesions")) == 2, timeout_s=60)
        n_answers = len(seen.answers)
        eventually(lambda: len(seen.answers) > n_answers + 20)
    assert {label for _, label in seen.answers} == {label}
    assert seen.n_failures <= 8, seen  # at most those in flight on it, and what the proxy had sent after them


def test_another_model_under_load_fails_no_request(lesions, trained, pictures, tmp_path):
    before = lesions.record.version
    changed = shutil.copytree(trained.folder / "model", tmp_path / "other")
    write_version(changed)
    with load(lesions.url, pictures[0].read_bytes(), key=lesions.key) as seen:
        eventually(lambda: len(seen.answers) > 20)
        after = lesions.update(changed)
        eventually(lambda: seen.answers[-1][0] == after)
    assert seen.n_failures == 0, seen
    assert before != after
    assert {version for version, _ in seen.answers} == {before, after}


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
