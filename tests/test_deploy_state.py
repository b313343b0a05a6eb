"""The registry: names, ports, owners; and processes told apart from later ones of the same number."""

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tellapart.deploy import state
from tellapart.deploy.state import Record, Registry, checked_name
from tellapart.errors import ConfigError, DeploymentError
from tellapart.process import Process, this_user


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path / "data"))


def record(name: str = "lesions", **changes) -> Record:
    plain = Record(
        name=name,
        target="local",
        model="/runs/run",
        copy="/data/models/0001-0123456789ab",
        version="0123456789ab",
        host="127.0.0.1",
        port=0,
        replicas=2,
        created="2026-11-23T12:00:00+00:00",
        owner=this_user(),
        settings={"url_hosts": ["example.org"]},
        options={"address": "auto"},
    )
    return replace(plain, **changes)


def anything_is_free(port: int) -> bool:
    return True


def test_what_is_written_is_read_again():
    added = Registry().add(record(auth=False, pid=12, started="then"), is_free=anything_is_free)
    assert Registry().get("lesions") == added
    assert Registry().all() == [added]
    changed = Registry().save(replace(added, replicas=3))
    assert Registry().get("lesions") == changed
    Registry().remove("lesions")
    assert Registry().all() == []


def test_names_are_unique_and_asked_for_by_name():
    Registry().add(record(), is_free=anything_is_free)
    with pytest.raises(DeploymentError, match=r"exists already; take another name.*--replace"):
        Registry().add(record(), is_free=anything_is_free)
    with pytest.raises(DeploymentError, match=r"no deployment 'moles'; there are: lesions"):
        Registry().get("moles")


@pytest.mark.parametrize("name", ["a;rm -rf", "..", "../a", "", "-a", "A", "a_b", "a\n", "x" * 64, "x" * 300])
def test_attack_70_names_that_are_no_names(name):
    with pytest.raises(ConfigError, match="cannot name a deployment") as caught:
        checked_name(name)
    assert len(str(caught.value)) < 300
    with pytest.raises(ConfigError):
        Registry().get(name)


@pytest.mark.parametrize("name", ["a", "0", "lesions-v2", "x" * 63])
def test_names(name):
    assert checked_name(name) == name


def test_ports_are_chosen_free_and_apart():
    def is_free(port: int) -> bool:
        return port != 8001

    def add(i: int) -> int:
        return Registry().add(record(f"d{i}"), is_free=is_free).port

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(add, range(8))) == [8000, *range(8002, 8009)]
    assert Registry().add(record("asked", port=9999), is_free=is_free).port == 9999


def test_no_port_is_free(monkeypatch):
    monkeypatch.setattr(state, "PORTS", range(8000, 8001))
    Registry().add(record(), is_free=anything_is_free)
    with pytest.raises(DeploymentError, match="every port from 8000 to 8000 is taken; name one with --port"):
        Registry().add(record("other"), is_free=anything_is_free)


def test_attack_71_another_users_deployment():
    Registry().add(record(owner="mallory"), is_free=anything_is_free)
    assert Registry().all() == []
    with pytest.raises(DeploymentError, match="belongs to mallory, not to you"):
        Registry().get("lesions")
    with pytest.raises(DeploymentError, match=r"exists already \(it belongs to mallory\)"):
        Registry().add(record(), is_free=anything_is_free)


def test_a_registry_that_cannot_be_used_is_told(tmp_path, monkeypatch):
    Registry().all()
    Registry().path.write_bytes(b"not a database at all, but quite long enough to look at" * 20)
    with pytest.raises(DeploymentError, match=r"cannot be used.*TELLAPART_DATA"):
        Registry().all()
    (tmp_path / "file").touch()
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path / "file"))
    with pytest.raises(DeploymentError, match="cannot be used"):
        Registry().all()


def test_a_newer_registry_is_left_alone():
    Registry().all()
    with sqlite3.connect(Registry().path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(DeploymentError, match="newer tellapart"):
        Registry().all()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_where_this_machine_reaches_it(host, url):
    assert record(host=host, port=8000, options={}).url == url


@pytest.mark.parametrize("address", ["head:6379", "ray://head:10001"])
def test_one_that_listens_everywhere_on_a_cluster_is_reached_at_its_head(address):
    options = {"address": address, "path": "/lesions"}
    assert record(host="0.0.0.0", port=8000, options=options).url == "http://head:8000/lesions"
    assert record(host="10.0.0.7", port=8000, options=options).url == "http://10.0.0.7:8000/lesions"


@pytest.fixture
def sleeper():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield child
    child.kill()
    child.wait()


def test_a_process_is_known_by_its_start(sleeper):
    process = Process.of(sleeper.pid)
    assert process.is_alive
    later = replace(process, started=process.started + "1")
    assert not later.is_alive
    later.signal(signal.SIGKILL)
    later.kill_group()
    assert sleeper.poll() is None


def test_a_zombie_is_no_process(sleeper):
    process = Process.of(sleeper.pid)
    os.kill(sleeper.pid, signal.SIGKILL)
    assert process.wait(5)  # not collected by its parent yet
    assert Process.of(sleeper.pid) is None


def test_waiting_has_a_limit(sleeper):
    assert not Process.of(sleeper.pid).wait(0.1)


def test_without_proc_ps_is_asked(sleeper, monkeypatch, tmp_path):
    monkeypatch.setattr("tellapart.process._PROC", tmp_path)
    process = Process.of(sleeper.pid)
    assert process.is_alive
    process.kill_group()
    assert process.wait(5)
    assert Process.of(2**22 + 1) is None
