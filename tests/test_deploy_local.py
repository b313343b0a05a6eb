"""Deployments on this machine, with real processes: life, death, and changes under load."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import tellapart as ta
from graphs import write_version
from processes import eventually, load
from tellapart.bundle import Bundle
from tellapart.deploy import local, logfile
from tellapart.deploy.state import Registry
from tellapart.errors import BundleError, DeploymentError

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="processes are detached by POSIX means"),
    pytest.mark.usefixtures("own_deployments"),
]


@pytest.fixture
def lesions(trained):
    """One worker without keys, quick to end."""
    deployment = ta.deploy(trained.folder, "lesions", auth=False, drain_s=0)
    yield deployment
    if any(other.name == "lesions" for other in ta.deployments()):
        deployment.delete()


@pytest.fixture(scope="module")
def other_model(trained, tmp_path_factory) -> Path:
    """The same network in another file: another version."""
    folder = shutil.copytree(trained.folder / "model", tmp_path_factory.mktemp("other") / "model")
    write_version(folder)
    return folder


def events_of(deployment: ta.Deployment) -> list[str]:
    return [json.loads(line)["event"] for line in deployment.logs(100_000)]


def workers_of(deployment: ta.Deployment) -> list[psutil.Process]:
    """Its processes that run the model."""
    children = psutil.Process(deployment.record.pid).children()
    return [child for child in children if "spawn_main" in command_of(child)]


def command_of(process: psutil.Process) -> str:
    """What it runs; nothing if it has ended meanwhile."""
    try:
        return "" if process.status() == psutil.STATUS_ZOMBIE else " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_it_answers_as_the_model_does(lesions, trained, photos):
    image = photos / "benign" / "000.png"
    answer = lesions.score(image)
    [y_prob] = ta.load(trained.folder).predict([image]).y_prob
    assert list(answer.probabilities.values()) == pytest.approx(y_prob.tolist(), abs=1e-6)
    assert (answer.label, answer.model, answer.version) == ("benign", "lesions", lesions.record.version)
    assert lesions.status().state == "ready"


def test_it_outlives_the_program_that_made_it_and_is_found_by_another(trained, photos):
    code = f"import tellapart as ta; ta.deploy({str(trained.folder)!r}, 'stays', auth=False, drain_s=0)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    [found] = [deployment for deployment in ta.deployments() if deployment.name == "stays"]
    assert found.score(photos / "malignant" / "000.png").label == "malignant"
    assert os.getsid(found.record.pid) == found.record.pid != os.getsid(0)
    found.delete()


def test_one_whose_maker_is_killed_while_it_starts_is_found(trained):
    command = [sys.executable, "-m", "tellapart", "deploy", "create", "orphan", str(trained.folder)]
    with subprocess.Popen([*command, "--no-auth"]) as maker:
        eventually(lambda: any(r.name == "orphan" and r.pid for r in Registry().all()))
        maker.kill()
    orphan = ta.Deployment.find("orphan")
    eventually(lambda: orphan.status().state == "ready")
    process = psutil.Process(orphan.record.pid)
    orphan.delete()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_one_whose_maker_is_killed_before_it_knows_the_process_is_found_too(trained, photos):
    code = "import os, sys, tellapart as ta; from tellapart.deploy import local; "
    code += "start = local._start; local._start = lambda record: (start(record), os._exit(9)); "
    code += "ta.deploy(sys.argv[1], 'orphan', auth=False, drain_s=0)"
    maker = subprocess.run([sys.executable, "-c", code, str(trained.folder)], check=False, timeout=60)
    assert maker.returncode == 9
    orphan = ta.Deployment.find("orphan")
    assert orphan.record.pid is None
    eventually(lambda: orphan.status().state == "ready")
    assert orphan.score(photos / "benign" / "000.png").label == "benign"
    record = orphan.record
    orphan.delete()
    assert local.is_free(record.host, record.port)


def test_what_is_given_is_copied(trained, tmp_path, photos):
    shutil.copytree(Bundle.load(trained.folder).folder, tmp_path / "model")
    deployment = ta.deploy(tmp_path / "model", "copied", auth=False, drain_s=0)
    shutil.rmtree(tmp_path / "model")
    psutil.Process(workers_of(deployment)[0].pid).kill()
    eventually(lambda: deployment.status().state == "ready" and workers_of(deployment))
    assert deployment.score(photos / "benign" / "000.png").label == "benign"
    deployment.delete()


def test_a_killed_supervisor_is_told_as_gone_and_leaves_nothing_behind(lesions, photos):
    [worker] = workers_of(lesions)
    os.kill(lesions.record.pid, signal.SIGKILL)
    worker.wait(timeout=20)
    status = lesions.status()
    assert status.state == "gone"
    assert "`tellapart deploy start lesions` starts it again" in status.detail
    with pytest.raises(DeploymentError, match="'lesions' is gone: its process has ended"):
        lesions.score(photos / "benign" / "000.png")
    with pytest.raises(DeploymentError, match="is gone"):
        lesions.scale(2)
    lesions.start()
    assert worker not in workers_of(lesions)
    assert lesions.score(photos / "benign" / "000.png").label == "benign"
    with pytest.raises(DeploymentError, match="runs already"):
        lesions.start()


def test_an_update_is_done_once_no_old_worker_takes_a_connection(lesions, other_model, photos, monkeypatch):
    """One that was slow to hear of it would answer with the old model what is asked after the update."""
    [old] = workers_of(lesions)
    update, done = local.update, threading.Event()

    def with_a_slow_worker(record):
        old.suspend()
        return update(record)

    monkeypatch.setattr(local, "update", with_a_slow_worker)
    updating = threading.Thread(target=lambda: (lesions.update(other_model), done.set()))
    updating.start()
    eventually(lambda: "changed" in events_of(lesions), timeout_s=60)
    assert not done.wait(0.5)
    old.resume()
    updating.join(30)
    assert done.is_set()
    assert lesions.score(photos / "benign" / "000.png").version == Bundle.load(other_model).version


def test_it_can_be_started_again_at_once(lesions, photos):
    """The workers of a killed supervisor answer what they have begun, and hold the port meanwhile."""
    [worker] = workers_of(lesions)
    worker.suspend()
    os.kill(lesions.record.pid, signal.SIGKILL)
    eventually(lambda: lesions.status().state == "gone")  # it dies a moment later
    assert "its process has ended and its workers are about to; `tellapart deploy" in lesions.status().detail
    worker.resume()
    lesions.start()
    assert lesions.score(photos / "benign" / "000.png").label == "benign"


def test_a_port_taken_by_another_program_is_told_not_believed(lesions, monkeypatch):
    monkeypatch.setattr(local, "STOP_EXTRA_S", 0.2)
    [worker] = workers_of(lesions)
    os.kill(lesions.record.pid, signal.SIGKILL)
    worker.wait(timeout=20)
    with socket.create_server((lesions.record.host, lesions.record.port)):
        status = lesions.status()
        assert status.state == "gone"
        assert f"port {lesions.record.port} is taken by another program" in status.detail
        with pytest.raises(DeploymentError, match="is taken by another program"):
            lesions.start()


def test_another_process_with_the_same_number_is_left_alone(lesions):
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    real = lesions.record
    Registry().save(replace(real, pid=stranger.pid))
    assert lesions.status().state == "gone"
    local.delete(lesions.record)
    assert stranger.poll() is None
    Registry().save(real)
    stranger.kill()
    stranger.wait()


def test_attack_66_a_killed_worker_comes_back_by_itself(lesions, photos):
    lesions.scale(2)
    eventually(lambda: len(workers_of(lesions)) == 2)
    before = workers_of(lesions)
    before[0].kill()
    eventually(lambda: len(workers_of(lesions)) == 2 and before[0] not in workers_of(lesions))
    assert lesions.score(photos / "benign" / "000.png").label == "benign"


def test_attack_67_an_update_under_load_fails_no_request(lesions, other_model, photos):
    old = lesions.record.version
    with load(lesions.url, (photos / "benign" / "000.png").read_bytes()) as seen:
        eventually(lambda: seen.answers)
        new = lesions.update(other_model)
        # Open connections stay with the old workers until these end them.
        eventually(lambda: {version for version, _ in seen.answers[-20:]} == {new})
    assert seen.n_failures == 0
    assert {version for version, _ in seen.answers} == {old, new}
    assert {label for _, label in seen.answers} == {"benign"}
    assert lesions.record.version == new
    assert Path(lesions.record.copy).parent.is_dir()


def test_scaling_under_load_fails_no_request(lesions, photos):
    with load(lesions.url, (photos / "benign" / "000.png").read_bytes()) as seen:
        eventually(lambda: seen.answers)
        lesions.scale(2)
        eventually(lambda: len(workers_of(lesions)) == 2)
        lesions.scale(1)
        eventually(lambda: len(workers_of(lesions)) == 1)
    assert seen.n_failures == 0
    assert len(seen.answers) > 10
    assert lesions.record.replicas == 1
    eventually(lambda: events_of(lesions).count("worker retired") == 3)
    assert "worker ended" not in events_of(lesions)  # which would read as a crash


def test_attack_60_a_damaged_model_changes_nothing(lesions, trained, photos, tmp_path):
    before = lesions.record
    damaged = tmp_path / "damaged"
    shutil.copytree(Bundle.load(trained.folder).folder, damaged)
    content = bytearray((damaged / "model.onnx").read_bytes())
    content[len(content) // 2 :] = b"\0" * (len(content) - len(content) // 2)
    (damaged / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="damaged"):
        lesions.update(damaged)
    with pytest.raises(BundleError, match="damaged"):
        ta.deploy(damaged, "lesions", replace=True)
    assert lesions.record == before
    assert lesions.score(photos / "benign" / "000.png").label == "benign"
    assert len(list((before.folder / "models").iterdir())) == 1


def test_a_copy_that_is_damaged_later_leaves_the_running_workers_alone(lesions, photos):
    model = Path(lesions.record.copy) / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(b"damaged")
    with pytest.raises(DeploymentError, match="damaged"):
        lesions.scale(2)
    assert (lesions.record.replicas, lesions.status().state) == (1, "ready")
    assert lesions.score(photos / "benign" / "000.png").label == "benign"
    model.write_bytes(content)
    lesions.scale(2)
    eventually(lambda: len(workers_of(lesions)) == 2)


def test_attack_65_delete_lets_requests_finish_and_leaves_nothing(trained, photos):
    deployment = ta.deploy(trained.folder, "ends", auth=False, replicas=2, drain_s=0.5)
    record, processes = deployment.record, [psutil.Process(deployment.record.pid), *workers_of(deployment)]
    image = (photos / "benign" / "000.png").read_bytes()
    connection = http.client.HTTPConnection(record.host, record.port, timeout=20)
    connection.putrequest("POST", "/v1/predict")
    connection.putheader("Content-Length", str(len(image)))
    connection.endheaders(image[:100])
    deleting = threading.Thread(target=deployment.delete)
    deleting.start()
    time.sleep(0.3)
    connection.send(image[100:])
    assert connection.getresponse().status == 200
    deleting.join()
    assert not any(process.is_running() and process.status() != "zombie" for process in processes)
    assert not record.folder.exists()
    assert local.is_free(record.host, record.port)
    with pytest.raises(DeploymentError, match="no deployment 'ends'"):
        deployment.delete()


def test_one_that_does_not_end_is_killed(lesions, monkeypatch):
    monkeypatch.setattr(local, "STOP_EXTRA_S", 0.5)
    Registry().save(replace(lesions.record, settings={"drain_s": 0, "request_timeout_s": 0.1}))
    process = psutil.Process(lesions.record.pid)
    workers = workers_of(lesions)
    process.suspend()
    lesions.delete()
    psutil.wait_procs([process, *workers], timeout=5)
    assert not any(p.is_running() and p.status() != "zombie" for p in [process, *workers])


def test_a_log_stays_short_while_the_service_writes_to_it(lesions, photos):
    log = lesions.record.log_file
    with log.open("a") as file:
        file.writelines(f"{number:09d}\n" for number in range(logfile.MAX_BYTES // 10))
    eventually(lambda: log.stat().st_size < 1000)
    assert log.with_name("service.log.1").stat().st_size > logfile.MAX_BYTES
    lesions.score(photos / "benign" / "000.png")
    eventually(lambda: log.stat().st_size > 0)
    assert log.read_bytes()[:1] == b"{"  # nobody goes on writing where the old end was
    before, *_, last = lesions.logs(5)
    assert json.loads(last)["event"] == "request"
    assert before.isdigit() or json.loads(before)["event"]


def test_the_key_of_whoever_starts_it_is_not_in_its_environment(trained, monkeypatch):
    monkeypatch.setenv("TELLAPART_KEY", "ta_secret")
    deployment = ta.deploy(trained.folder, "clean", auth=False, drain_s=0)
    assert "TELLAPART_KEY" not in psutil.Process(deployment.record.pid).environ()
    deployment.delete()
