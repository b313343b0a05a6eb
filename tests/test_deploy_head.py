"""Our own cluster: begun once, found again, ended by the last deployment and by no other. Without Ray."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tellapart.deploy import head
from tellapart.deploy.state import Record, Registry, data_folder
from tellapart.process import launch, this_user

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processes are detached by POSIX means")

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def clusters(tmp_path, monkeypatch):
    """Stand-ins for clusters: processes that sleep."""
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path / "data"))
    begun = []

    def begin(command, log, *, environment):
        assert "start" in command
        begun.append(launch(SLEEPS, log, environment=environment))
        return begun[-1]

    monkeypatch.setattr(head, "launch", begin)
    yield begun
    for process in begun:
        process.kill()
        process.wait()


def recorded(name: str) -> Record:
    plain = Record(
        name=name,
        target="ray",
        model="/runs/run",
        copy="/data/models/0001-0123456789ab",
        version="0123456789ab",
        host="127.0.0.1",
        port=8000,
        replicas=1,
        created="2026-11-23T12:00:00+00:00",
        owner=this_user(),
    )
    return Registry().add(plain, is_free=lambda port: True)


def has_ended(process: subprocess.Popen) -> bool:
    return process.poll() is not None


def test_two_first_deployments_at_once_share_one_cluster(clusters):
    records = [recorded("one"), recorded("two")]
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(head.join, records)
    assert len(clusters) == 1
    assert one.options == two.options
    assert Registry().get("one") == one  # so that whoever ends a cluster knows of it


def test_the_last_one_ends_it(clusters):
    one, two = head.join(recorded("one")), head.join(recorded("two"))
    head.leave(one)
    assert not has_ended(clusters[0])
    Registry().remove("one")
    head.leave(two)
    assert has_ended(clusters[0])
    assert not (data_folder() / "ray.json").exists()


def test_a_stale_deployment_leaves_a_later_cluster_alone(clusters):
    stale = head.join(recorded("stale"))
    clusters[0].kill()
    clusters[0].wait()
    living = head.join(recorded("living"))
    token = (data_folder() / "ray.token").read_text()
    head.leave(stale)
    assert not has_ended(clusters[1])
    assert head.join(recorded("next")).options == living.options
    assert (data_folder() / "ray.token").read_text() == token


def test_one_that_is_just_coming_keeps_the_cluster(clusters):
    leaving, coming = head.join(recorded("leaving")), head.join(recorded("coming"))
    head.leave(leaving)
    assert not has_ended(clusters[0])
    assert head.process_of(coming).is_alive


def test_others_cannot_read_the_token_and_the_cluster_does_not_know_our_key(clusters, monkeypatch):
    monkeypatch.setenv("TELLAPART_KEY", "ta_secret")
    record = head.join(recorded("one"))
    assert (data_folder() / "ray.token").stat().st_mode & 0o077 == 0
    inherited = psutil.Process(clusters[0].pid).environ()
    assert "TELLAPART_KEY" not in inherited
    assert inherited["RAY_AUTH_TOKEN_PATH"] == record.options["token_file"]


def test_a_cluster_whose_maker_was_killed_is_found(clusters):
    """What it wrote down before it waited is all that the next one needs."""
    first = head.join(recorded("one")).options
    assert json.loads((data_folder() / "ray.json").read_text()) == first
