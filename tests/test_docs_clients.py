"""The examples of docs/clients.md work as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pictures import class_picture
from servers import running
from tellapart.serving.app import create_app
from tellapart.serving.keys import Keys
from tellapart.serving.settings import Settings

PAGE = (Path(__file__).parent.parent / "docs" / "clients.md").read_text(encoding="utf-8")


def examples(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def reader(trained, tmp_path_factory):
    """What a reader has: a folder with three files, and the address and key in the environment."""
    import numpy as np

    folder = tmp_path_factory.mktemp("reader")
    rng = np.random.default_rng(0)
    class_picture(rng, 0).save(folder / "a.jpg")
    class_picture(rng, 1).save(folder / "b.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 cut off")
    _, key = Keys.open(folder / "keys.json").create()
    settings = Settings(models={"lesions": trained.folder}, keys_file=folder / "keys.json", drain_s=0)
    with running(create_app(settings)) as url:
        yield folder, {**os.environ, "URL": url, "KEY": key}


def done(reader, *command):
    folder, environment = reader
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_curl_examples_answer(reader):
    one, several, base64, score, ready = (done(reader, "sh", "-c", text) for text in examples("bash"))
    assert '"label"' in one
    assert several.count('"top"') == 2
    assert '"label"' in base64
    assert '"scores"' in score
    assert ready


def test_the_python_examples_answer(reader):
    client, twin, requests = (done(reader, sys.executable, "-c", text) for text in examples("python"))
    labels = {"benign", "malignant"}
    assert client.splitlines()[0] in labels
    assert client.count("'probability'") == 4
    assert "broken.jpg not an image" in client or "broken.jpg damaged" in client
    assert set(re.findall(r"\w+", twin)) <= labels
    assert requests.splitlines()[0] in labels
    assert [line.split()[0] for line in requests.splitlines()[1:]] == ["a.jpg", "b.png"]


@pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")
def test_the_javascript_example_answers(reader):
    (text,) = examples("javascript")
    told = done(reader, "node", "--input-type=module", "-e", text)
    assert [line.split()[0] for line in told.splitlines()] == ["a.jpg", "b.png"]


def test_the_answer_that_is_shown_has_the_members_of_a_real_one(reader):
    import json

    import httpx2

    (shown,) = examples("json")
    folder, environment = reader
    headers = {"Authorization": f"Bearer {environment['KEY']}"}
    content = (folder / "a.jpg").read_bytes()
    real = httpx2.post(f"{environment['URL']}/v1/predict", content=content, headers=headers).json()
    told = json.loads(shown)
    assert told.keys() == real.keys()
    assert told["predictions"][0].keys() == real["predictions"][0].keys()
