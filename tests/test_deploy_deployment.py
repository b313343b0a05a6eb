"""The public side of deployments: names, keys, several at once, and mistakes."""

import os
import re
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

import tellapart as ta
from tellapart.cli.app import run
from tellapart.deploy import local, ray
from tellapart.deploy.deployment import statuses
from tellapart.deploy.figures import Figures
from tellapart.deploy.state import Registry, data_folder
from tellapart.errors import BundleError, ConfigError, DeploymentError, ServiceError

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="processes are detached by POSIX means"),
    pytest.mark.usefixtures("own_deployments"),
]


@pytest.fixture(scope="module")
def moles(trained) -> ta.Deployment:
    return ta.deploy(trained.folder, "moles", drain_s=0)


def test_the_package_can_be_called_like_its_function(trained):
    """`ta.deploy` stays what it is after something has imported `tellapart.deploy`."""
    import tellapart.deploy.state  # noqa: F401

    with pytest.raises(ConfigError, match="cannot name a deployment"):
        ta.deploy(trained.folder, "No Name")


def test_the_key_is_known_to_its_maker_alone(moles, photos, monkeypatch):
    image = photos / "benign" / "000.png"
    assert moles.score(image).label == "benign"
    assert [answer.label for answer in moles.score([image, image])] == ["benign", "benign"]
    assert moles.key not in repr(moles)
    found = ta.Deployment.find("moles")
    with pytest.raises(DeploymentError, match=r"asks for a key; give --key, or set TELLAPART_KEY"):
        found.score(image)
    monkeypatch.setenv("TELLAPART_KEY", moles.key)
    assert ta.Deployment.find("moles").score(image).label == "benign"
    with pytest.raises(ServiceError, match="401"):
        ta.Deployment.find("moles", "ta_wrong").score(image)


def test_attacks_8_and_9_keys_are_stored_hashed_for_the_owner_only(moles, photos):
    moles.score(photos / "benign" / "000.png")
    folder = moles.record.folder
    assert stat.S_IMODE(moles.record.keys_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in [*data_folder().glob("*.sqlite*"), *folder.rglob("*")]:
        if path.is_file():
            assert moles.key.encode() not in path.read_bytes(), path


def test_attack_7_a_second_key_and_a_rotated_one(moles, photos):
    image = photos / "benign" / "000.png"
    identifier, second = moles.new_key()
    assert len(moles.keys()) == 2
    asked = ta.Deployment.find("moles", second)
    assert asked.score(image).label == moles.score(image).label == "benign"
    third = moles.rotate_key(identifier)
    with pytest.raises(ServiceError, match="401"):
        asked.score(image)
    assert ta.Deployment.find("moles", third).score(image).label == "benign"
    moles.revoke_key(identifier)
    with pytest.raises(ServiceError, match="401"):
        ta.Deployment.find("moles", third).score(image)
    assert len(moles.keys()) == 1
    with pytest.raises(ServiceError, match="no key"):
        moles.revoke_key("nonsense")


def test_a_name_that_exists_needs_replace_which_keeps_the_port(moles, trained, photos):
    before = moles.record
    with pytest.raises(DeploymentError, match=r"exists already; take another name, or --replace"):
        ta.deploy(trained.folder, "moles")
    assert moles.record == before
    replacing = ta.deploy(trained.folder, "moles", replace=True, auth=False, drain_s=0)
    assert (replacing.record.port, replacing.key) == (before.port, None)
    assert replacing.record.pid != before.pid
    assert ta.Deployment.find("moles").score(photos / "benign" / "000.png").label == "benign"
    with pytest.raises(DeploymentError, match="asks for no key"):
        replacing.keys()
    # The fixture's name goes on meaning a deployment with keys.
    object.__setattr__(moles, "key", ta.deploy(trained.folder, "moles", replace=True, drain_s=0).key)


def test_where_the_new_one_does_not_start_the_earlier_one_goes_on(moles, trained, photos):
    before = moles.record
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        told = r"is taken by another program.*; the earlier 'moles' runs again"
        with pytest.raises(DeploymentError, match=told):
            ta.deploy(trained.folder, "moles", replace=True, port=other.getsockname()[1])
    after = moles.record
    assert (after.port, after.copy, after.created) == (before.port, before.copy, before.created)
    assert moles.score(photos / "benign" / "000.png").label == "benign"  # with the same key
    assert [path.name for path in after.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_where_neither_starts_both_reasons_are_told_and_the_earlier_one_is_kept(moles, trained, monkeypatch):
    before = moles.record

    def start(self):
        raise DeploymentError("the port is gone")

    with socket.socket() as other, monkeypatch.context() as patch:
        patch.setattr(ta.Deployment, "start", start)
        other.bind(("127.0.0.1", 0))
        other.listen()
        again = r"did not start again \(the port is gone\); `tellapart deploy start moles` tries anew"
        with pytest.raises(
            DeploymentError, match=f"is taken by another program.*the earlier 'moles' {again}"
        ):
            ta.deploy(trained.folder, "moles", replace=True, port=other.getsockname()[1])
    assert moles.status().state == "gone"
    moles.start()
    assert (moles.record.copy, moles.status().state) == (before.copy, "ready")


def test_an_address_of_another_machine_is_refused_before_anything_is_replaced(moles, trained):
    before = moles.record
    for host in ("203.0.113.9", "no.such.host.invalid"):
        with pytest.raises(
            ConfigError, match=rf"{host} is no address of this machine .* --host 127\.0\.0\.1"
        ):
            ta.deploy(trained.folder, "moles", replace=True, host=host)
    assert moles.record == before


def test_two_at_once_get_a_port_each(trained, photos):
    with ThreadPoolExecutor(2) as pool:
        made = list(
            pool.map(lambda name: ta.deploy(trained.folder, name, auth=False, drain_s=0), ["one", "two"])
        )
    assert made[0].record.port != made[1].record.port
    for deployment in made:
        assert deployment.score(photos / "benign" / "000.png").model == deployment.name
    assert {"one", "two"} <= {deployment.name for deployment in ta.deployments()}
    for deployment in made:
        deployment.delete()


def test_a_taken_port_is_told_and_nothing_is_left(moles, trained):
    taken = moles.record.port
    with pytest.raises(DeploymentError, match=rf"port {taken} of 127.0.0.1 is taken.*--port"):
        ta.deploy(trained.folder, "late", port=taken)
    assert "late" not in {deployment.name for deployment in ta.deployments()}
    assert not (data_folder() / "deployments" / "late").exists()


def test_a_port_that_is_taken_after_it_was_chosen_is_no_failure(trained, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        chosen, is_free = other.getsockname()[1], local.is_free
        monkeypatch.setattr("tellapart.deploy.state.PORTS", range(chosen, chosen + 50))
        answers = iter([True])  # as if nobody listened there yet
        monkeypatch.setattr(local, "is_free", lambda host, port: next(answers, None) or is_free(host, port))
        deployment = ta.deploy(trained.folder, "late", auth=False, drain_s=0)
        assert deployment.record.port != chosen
        deployment.delete()


def test_a_service_that_does_not_start_says_why_and_leaves_nothing(trained, monkeypatch):
    first = ta.deploy(trained.folder, "first", auth=False, drain_s=0)
    monkeypatch.setattr(local, "is_free", lambda host, port: True)
    with pytest.raises(DeploymentError, match=r"cannot serve on 127.0.0.1 port \d+"):
        ta.deploy(trained.folder, "second", auth=False, port=first.record.port)
    first.delete()
    assert not {"first", "second"} & {record.name for record in Registry().all()}


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"name": "a;rm -rf"}, "cannot name a deployment"),
        ({"name": ".."}, "cannot name a deployment"),
        ({"name": "x" * 300}, "cannot name a deployment"),
        ({"replicas": 0}, "replicas is 0; it must be at least 1"),
        ({"target": "moon"}, "no target 'moon'; there are: local, ray"),
        ({"colour": "red"}, "no setting 'colour' of a deployment; there are: allowed_hosts"),
        ({"address": "auto"}, "no setting 'address'"),
        ({"host": "0.0.0.0", "auth": False}, "a service on 0.0.0.0 needs keys"),
        ({"max_images": 0}, "max_images is 0; it must be at least 1"),
        ({"target": "ray", "replicas": 3, "max_replicas": 2}, "max_replicas is 2; it must be .* always, 3"),
        ({"target": "ray", "cpus": 0}, "cpus is 0; it must be more than 0"),
        ({"target": "ray", "cpus": -1.5}, "cpus is -1.5; it must be more than 0"),
    ],
)
def test_attack_70_and_other_mistakes_are_told_before_anything_starts(trained, keywords, message):
    before = Registry().all()
    with pytest.raises(ConfigError, match=message):
        ta.deploy(trained.folder, **{"name": "x", **keywords})
    assert Registry().all() == before


@pytest.fixture
def without_ray(tmp_path, monkeypatch):
    (tmp_path / "ray.py").write_text("raise ImportError('no Ray here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_where_ray_is_missing_its_deployments_are_told_and_can_be_forgotten(moles, without_ray, capsys):
    options = {"address": "127.0.0.1:9", "path": "/elsewhere"}
    record = replace(moles.record, name="elsewhere", target="ray", port=9, options=options)
    Registry().add(record, is_free=lambda port: True)
    assert run(["deploy", "list"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"moles +ready", listed)
    assert re.search(r"elsewhere +unreachable", listed)
    assert "elsewhere: this needs Ray: pip install 'tellapart[ray]'" in listed
    elsewhere = ta.Deployment.find("elsewhere")
    with pytest.raises(DeploymentError, match=r"this needs Ray.*--force"):
        elsewhere.delete()
    elsewhere.delete(force=True)
    assert "elsewhere" not in {deployment.name for deployment in ta.deployments()}


def test_each_cluster_is_asked_once(moles, monkeypatch):
    asked = []

    def answer(verb, record):
        asked.append((verb, record.options["address"]))
        return {"a": {"status": "RUNNING", "message": ""}, "b": {"status": "DEPLOYING", "message": "wait"}}

    monkeypatch.setattr(ray, "_ask", answer)
    places = {"a": "127.0.0.1:9", "b": "127.0.0.1:9", "c": "127.0.0.1:9", "d": "127.0.0.1:10"}
    for name, address in places.items():
        options = {"address": address, "path": f"/{name}"}
        record = replace(moles.record, name=name, target="ray", port=9, options=options)
        Registry().add(record, is_free=lambda port: True)
    found = ta.deployments()
    states = {one.name: status.state for one, status in zip(found, statuses(found), strict=True)}
    assert states == {"a": "ready", "b": "not ready", "c": "gone", "d": "gone", "moles": "ready"}
    assert asked == [("applications", "127.0.0.1:9"), ("applications", "127.0.0.1:10")]
    for name in places:
        Registry().remove(name)


def test_more_replicas_than_ray_may_make_are_refused(moles):
    Registry().save(replace(before := moles.record, target="ray", options={"max_replicas": 2}))
    with pytest.raises(ConfigError, match="max_replicas is 2"):
        moles.scale(3)
    Registry().save(before)


def test_a_missing_model(tmp_path):
    with pytest.raises(BundleError, match="no model at"):
        ta.deploy(tmp_path, "x")


def test_what_it_has_done(moles, photos):
    before = moles.figures().predictions.get("malignant", 0)
    moles.score([photos / "malignant" / "000.png", photos / "malignant" / "001.png"])
    moles.score([photos / "benign" / "broken.jpg"])
    figures = moles.figures()
    assert figures.predictions["malignant"] == before + 2
    assert figures.requests >= 2
    assert 0 < figures.mean_seconds < 10
    assert 0.5 <= figures.mean_confidence <= 1


def test_figures_leave_out_those_who_only_watch():
    text = """
# TYPE tellapart_requests_total counter
tellapart_requests_total{route="/v1/predict",status="200"} 3
tellapart_requests_total{route="/v1/predict",status="400"} 1
tellapart_requests_total{route="/readyz",status="200"} 99
tellapart_requests_total{route="/v2/health/live",status="200"} 99
# TYPE tellapart_errors_total counter
tellapart_errors_total{route="/v1/predict",status="400"} 1
# TYPE tellapart_request_seconds histogram
tellapart_request_seconds_sum{route="/v1/predict"} 2
tellapart_request_seconds_count{route="/v1/predict"} 4
# TYPE tellapart_drift gauge
tellapart_drift{model="m",measure="brightness"} 0.25
"""
    figures = Figures.read(text)
    assert (figures.requests, figures.errors, figures.mean_seconds) == (4, 1, 0.5)
    assert figures.drift == {"brightness": 0.25}
    assert figures.mean_confidence is None
