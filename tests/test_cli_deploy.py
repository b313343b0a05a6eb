"""`tellapart deploy`, as it is typed."""

import functools
import json
import os
import shutil
from pathlib import Path

import pytest

import tellapart as ta
from graphs import leave_to_a_person
from tellapart.cli.app import run
from tellapart.deploy.state import data_folder

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="processes are detached by POSIX means"),
    pytest.mark.usefixtures("own_deployments"),
]


def test_a_life_from_create_to_delete(trained, photos, tmp_path, capsys, monkeypatch):
    image, broken = str(photos / "benign" / "000.png"), str(photos / "benign" / "broken.jpg")

    def typed(*arguments: str, status: int = 0) -> str:
        assert run(["deploy", *arguments]) == status
        return capsys.readouterr().out

    assert typed("list").split()[:2] == ["name", "state"]
    made = json.loads(typed("create", "lesions", str(trained.folder), "--json"))
    monkeypatch.setenv("TELLAPART_KEY", made["key"])

    assert typed("score", "lesions", image).startswith("benign")
    answers = json.loads(typed("score", "lesions", image, broken, "--format", "json", status=1))
    assert [answers[0]["label"], bool(answers[1]["error"])] == ["benign", True]

    [row] = json.loads(typed("list", "--json"))
    assert (row["name"], row["state"], row["url"]) == ("lesions", "ready", made["url"])
    assert "lesions  ready  local   1" in typed("list")
    shown = typed("show", "lesions")
    assert row["version"] in shown
    assert "of them" in shown
    assert json.loads(typed("show", "lesions", "--json"))["figures"]["predictions"]["benign"] == 2
    assert made["key"] not in shown
    folder = photos / "malignant"
    assert len(typed("score", "lesions", str(folder)).splitlines()) == len(list(folder.glob("*.png")))

    identifier = typed("keys", "lesions").strip()
    second = typed("keys", "lesions", "--new").split()
    assert typed("keys", "lesions").split() == [identifier, second[0]]
    rotated = typed("keys", "lesions", "--rotate", second[0]).split()
    assert typed("score", "lesions", image, "--key", rotated[1]).startswith("benign")
    typed("keys", "lesions", "--revoke", second[0])
    typed("score", "lesions", image, "--key", rotated[1], status=1)

    assert "2 replicas" in typed("scale", "lesions", "2")
    doubtful = shutil.copytree(trained.folder / "model", tmp_path / "doubtful")
    leave_to_a_person(doubtful)
    assert "serves version" in typed("update", "lesions", str(doubtful))
    assert typed("score", "lesions", image).rstrip().endswith("000.png  (a person is to decide)")
    assert json.loads(typed("logs", "lesions", "-n", "1"))["event"]
    assert "deleted" in typed("delete", "lesions")
    assert json.loads(typed("list", "--json")) == []


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["create", "a;rm -rf", "{run}"], 1, "cannot name a deployment"),
        (["create", "..", "{run}"], 1, "cannot name a deployment"),
        (["create", "lesions", "nowhere"], 1, "no model at nowhere"),
        (["create", "lesions", "{run}", "--replicas", "0"], 1, "replicas is 0"),
        (["create", "lesions", "{run}", "--port", "99999"], 2, "--port"),
        (["create", "lesions", "{run}", "--target", "moon"], 2, "moon"),
        (["create", "lesions", "{run}", "--no-auth", "--host", "0.0.0.0"], 1, "needs keys"),
        (["create", "lesions", "{run}", "--target", "ray", "--cpus", "0"], 1, "cpus is 0; it must be more"),
        (["show", "nothing"], 1, "no deployment 'nothing'; there is none yet"),
        (["score", "nothing", "a.jpg"], 1, "no deployment 'nothing'"),
        (["delete", "../x"], 1, "cannot name a deployment"),
        (["keys", "nothing", "--new", "--rotate", "x"], 1, "give one of them"),
        (["scale", "nothing", "many"], 2, "valid integer"),
    ],
)
def test_a_mistake_is_one_clear_line(trained, tmp_path, monkeypatch, capsys, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path / "data"))
    assert run(["deploy", *(a.replace("{run}", str(trained.folder)) for a in arguments)]) == status
    err = capsys.readouterr().err
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err
    assert ta.deployments() == []


def test_help_names_every_command(capsys):
    assert run(["deploy", "--help"]) == 0
    printed = capsys.readouterr().out
    for command in ("create", "list", "show", "score", "keys", "scale", "update", "logs", "delete", "files"):
        assert command in printed


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one_line_and_leaves_nothing(trained, capsys, monkeypatch):
    full = functools.partial(shutil.copyfile, dst="/dev/full")
    monkeypatch.setattr("tellapart.deploy.versions.shutil.copyfile", lambda source, _: full(source))
    assert run(["deploy", "create", "full", str(trained.folder)]) == 1
    assert capsys.readouterr().err.startswith("error: the disk is full")
    assert run(["deploy", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert not (data_folder() / "deployments" / "full").exists()
