"""Deployments on a Ray cluster that runs on this machine: the same answers, and what survives what."""

import base64
import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urljoin

import httpx2
import numpy as np
import psutil
import pytest

from graphs import write_version
from pictures import write_class_folders
from processes import eventually_on_ray as eventually
from processes import load, replicas_of
from tellapart.client import Client
from tellapart.deploy.creation import deploy
from tellapart.deploy.deployment import Deployment
from tellapart.deploy.local import is_free
from tellapart.deploy.state import Registry
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
    """Two replicas on our own cluster, which leave room there for other deployments."""
    before = left_on_disk()
    deployment = deploy(trained.folder, "lesions", target="ray", replicas=2, cpus=0.5)
    yield deployment
    cluster = deployment.record.options["pid"]
    deployment.delete()
    assert not psutil.pid_exists(cluster) or psutil.Process(cluster).status() == psutil.STATUS_ZOMBIE
    assert not {path for path in left_on_disk() - before if path.name.startswith("tellapart-metrics")}


def left_on_disk():
    temporary = Path(tempfile.gettempdir())
    return {*temporary.glob("tellapart-replica-*/lesions"), *temporary.glob("tellapart-metrics-lesions-*")}


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


def test_the_request_of_2018_is_answered_the_same(lesions, trained, pictures):
    expected = Classifier.load(trained.folder).predict(pictures[:2])
    asked = [
        {"image_in_base64": base64.b64encode(path.read_bytes()).decode(), "parameters": {}}
        for path in pictures[:2]
    ]
    headers = {"Authorization": f"Bearer {lesions.key}"}
    answer = httpx2.post(f"{lesions.url}/score", json=asked, headers=headers)
    got = [list(one["scores"].values()) for one in answer.json()]
    np.testing.assert_allclose(got, expected.y_prob, atol=1e-6)


def test_two_replicas_run_and_share_what_the_figures_say(lesions, pictures):
    assert lesions.status().state == "ready"
    assert len(replicas_of("lesions")) == 2
    before = lesions.figures().requests
    for _ in range(8):
        lesions.score(pictures[0])
    figures = lesions.figures()
    assert figures.requests == before + 8  # whichever replica is asked, as both are on one node
    assert sum(figures.predictions.values()) >= 8


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


def test_scaling_under_load_fails_no_request_and_leaves_the_others_alone(lesions, pictures):
    before = {process.pid for process in replicas_of("lesions")}
    with load(lesions.url, pictures[0].read_bytes(), key=lesions.key, pause_s=0.1) as seen:
        eventually(lambda: seen.answers)
        lesions.scale(3)
        after = {process.pid for process in replicas_of("lesions")}
        lesions.scale(2)
        eventually(lambda: len(replicas_of("lesions")) == 2)
        n_answers = len(seen.answers)
        eventually(lambda: len(seen.answers) > n_answers + 10)
    assert seen.n_failures == 0, seen
    assert before < after
    assert len(after) == 3


def test_more_than_can_wait_are_told_to_come_back_and_replicas_are_added(lesions, trained, pictures):
    options = {"cpus": 0.25, "max_replicas": 2, "queue_size": 4, "max_images": 1}
    busy = deploy(trained.folder, "busy", target="ray", auth=False, **options)
    image = pictures[0].read_bytes()

    limits = httpx2.Limits(max_connections=32)
    with httpx2.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(32) as pool:
        ask = partial(client.post, f"{busy.url}/v1/predict", content=image)
        answers = list(pool.map(lambda _: ask(), range(400)))
    assert {answer.status_code for answer in answers} == {200, 503}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 503)
    with load(busy.url, image, callers=8, pause_s=0.02):
        eventually(lambda: len(replicas_of("busy")) == 2, timeout_s=120)
    busy.delete()
    assert not replicas_of("busy")
    assert lesions.status().state == "ready"


def test_one_whose_maker_is_killed_while_it_starts_is_found(lesions, trained):
    command = [sys.executable, "-m", "tellapart", "deploy", "create", "orphan", str(trained.folder)]
    command += ["--target", "ray", "--no-auth", "--cpus", "0.1"]
    with subprocess.Popen(command) as maker:
        eventually(lambda: any(r.name == "orphan" and "port" in r.options for r in Registry().all()))
        maker.kill()
    orphan = Deployment.find("orphan")
    eventually(lambda: orphan.status().state == "ready", timeout_s=60)
    orphan.delete()
    assert not replicas_of("orphan")
    assert lesions.status().state == "ready"


def test_a_killed_replica_comes_back_and_nobody_gets_a_wrong_answer(lesions, trained, pictures):
    expected = Classifier.load(trained.folder).predict(pictures[:1])
    label = expected.class_names[int(expected.y_prob[0].argmax())]
    with load(lesions.url, pictures[0].read_bytes(), key=lesions.key, pause_s=0.1) as seen:
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
    with load(lesions.url, pictures[0].read_bytes(), key=lesions.key, pause_s=0.1) as seen:
        eventually(lambda: len(seen.answers) > 20)
        after = lesions.update(changed)
        eventually(lambda: seen.answers[-1][0] == after)
    assert seen.n_failures == 0, seen
    assert before != after
    assert {version for version, _ in seen.answers} == {before, after}


def test_a_name_that_the_cluster_runs_already_is_refused(lesions, trained):
    with pytest.raises(DeploymentError, match="exists already"):
        deploy(trained.folder, "lesions", target="ray")


def test_one_whose_cluster_was_killed_is_told_and_starts_again_as_it_was(lesions, pictures):
    before = lesions.record
    psutil.Process(before.options["pid"]).kill()
    eventually(lambda: lesions.status().state == "gone")
    with pytest.raises(DeploymentError, match="its Ray cluster has ended; `tellapart deploy start lesions`"):
        lesions.score(pictures[0])
    eventually(lambda: is_free(before.host, before.port))
    lesions.start()
    assert lesions.url == before.url
    assert lesions.score(pictures[0]).version == before.version


def accepts(deployment, picture):
    try:
        deployment.score(picture)
    except ServiceError:
        return False
    return True
