"""`tellapart loadtest` against the real service."""

import json
import re

import pytest

from pictures import solid
from servers import running
from tellapart.cli.app import run
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings

QUICK = ["--duration", "0.4"]


@pytest.fixture(scope="module")
def keyed(trained, tmp_path_factory):
    """A service with a key: (url, key)."""
    keys_file = tmp_path_factory.mktemp("keys") / "keys.json"
    _, key = Keys.open(keys_file).create()
    with running(create_app(Settings(models={"lesions": trained.folder}, keys_file=keys_file))) as url:
        yield url, key


def test_given_loads_are_tested_in_order(keyed, photos, tmp_path, capsys):
    url, key = keyed
    page, figures = tmp_path / "new" / "page.html", tmp_path / "figures.json"
    images = str(photos / "malignant" / "000.png")
    files = ["--out", str(page), "--json", str(figures)]
    assert run(["loadtest", url, images, "--concurrency", "1,2", "--key", key, *QUICK, *files]) == 0
    told = capsys.readouterr().out
    assert [line.split()[0] for line in told.splitlines()] == ["load", "1", "2", "report", "best"]
    levels = json.loads(figures.read_text())
    assert [level["load"] for level in levels] == [1, 2]
    assert all(level["throughput_per_s"] > 0 and not level["errors"] for level in levels)
    text = page.read_text(encoding="utf-8")
    assert re.search(r"<h1 [^>]*>lesions</h1>", text)
    assert key not in text + told


def test_without_images_it_sends_a_drawn_one_and_takes_the_key_from_the_environment(
    keyed, monkeypatch, capsys, tmp_path
):
    url, key = keyed
    monkeypatch.setenv("TELLAPART_KEY", key)
    arguments = ["--rate", "5,10", "--model", "lesions", "--out", str(tmp_path / "p.html")]
    assert run(["loadtest", url + "/", *arguments, *QUICK]) == 0
    assert re.search(r"^ +10/s +\d", capsys.readouterr().out, re.MULTILINE)
    assert "open loop" in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concurrency", "1,x"], "whole numbers above 0, separated by commas"),
        (["--concurrency", "0"], "whole numbers above 0"),
        (["--concurrency", "1.5"], "whole numbers above 0"),
        (["--rate", "-3"], "--rate takes numbers above 0"),
        (["--rate", "nan"], "--rate takes numbers above 0"),
        (["--rate", "3", "--concurrency", "3"], "not both"),
        (["missing.jpg"], "missing.jpg: no such file"),
        ([], "401"),
        (["--key", "wrong"], "401"),
        (["--model", "other", "--key", "KEY"], "404"),
    ],
)
def test_mistakes_are_told_before_any_load(keyed, arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("TELLAPART_KEY", raising=False)
    url, key = keyed
    assert run(["loadtest", url, *(key if a == "KEY" else a for a in arguments), *QUICK]) == 1
    told = capsys.readouterr()
    assert message in told.err
    assert told.err.startswith("error: ")
    assert told.out == ""


def test_an_image_that_the_service_refuses_is_named(keyed, tmp_path, capsys):
    url, key = keyed
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.jpg").write_text("no image")
    assert run(["loadtest", url, str(tmp_path / "note.jpg"), "--key", key]) == 1
    assert "note.jpg: not an image" in capsys.readouterr().err
    assert run(["loadtest", url, str(tmp_path / "empty"), "--key", key]) == 1
    assert "no images in" in capsys.readouterr().err
    solid().save(tmp_path / "empty" / "one.png")
    assert run(["loadtest", url, str(tmp_path / "empty"), "--key", key, "--concurrency", "1", *QUICK]) == 0


def test_a_service_that_is_not_there(capsys):
    assert run(["loadtest", "http://127.0.0.1:9"]) == 1
    assert "no service answers at http://127.0.0.1:9" in capsys.readouterr().err
    assert run(["loadtest", "localhost:8000"]) == 1
    assert "it looks like http://" in capsys.readouterr().err
