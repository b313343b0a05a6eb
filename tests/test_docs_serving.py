"""The commands and the Python of docs/serving.md, run in order against real services."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parent.parent / "docs" / "serving.md").read_text(encoding="utf-8")


def block_with(text: str, language: str = "") -> str:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return next(block for found, block in blocks if found == language and text in block)


@pytest.fixture(scope="module")
def workplace(trained, photos, tmp_path_factory):
    """A folder with ``photos``, and two runs."""
    folder = tmp_path_factory.mktemp("serving")
    (folder / "photos").symlink_to(photos)
    shutil.copytree(trained.folder, folder / "run")
    shutil.copytree(trained.folder, folder / "run-b")
    return folder


def tellapart(line: str, workplace: Path, data: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tellapart", *shlex.split(line)[1:]],
        cwd=workplace,
        env={**os.environ, "TELLAPART_DATA": str(data)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_life_of_a_deployment(workplace, tmp_path):
    key = identifier = ""
    for line in block_with("deploy create lesions run --replicas").splitlines():
        said = tellapart(line.replace("KEY", key).replace("ID", identifier), workplace, tmp_path)
        if " create " in line:
            key = re.search(r"ta_\S+", said)[0]
        if line.endswith("--new"):
            identifier = said.split()[0]
        if " score " in line:
            assert re.search(r"benign|malignant", said)
    assert "lesions" not in tellapart("tellapart deploy list", workplace, tmp_path)


@pytest.mark.ray
@pytest.mark.slow
def test_many_images_on_a_cluster(workplace, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("ray", reason="Ray is not installed")
    (workplace / "few").symlink_to(workplace / "photos" / "malignant")
    command = block_with("predict run photos").strip().replace("photos", "few")
    tellapart(command, workplace, tmp_path)
    answers = pandas.read_parquet(workplace / "answers")
    assert list(answers.columns)[:3] == ["path", "predicted", "error"]
    assert len(answers) == 40


def test_a_deployment_in_python(workplace, tmp_path, monkeypatch):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("TELLAPART_DATA", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", block_with("ta.deploy", "python")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("benign", "malignant")


def test_files_for_containers(workplace, tmp_path):
    tellapart(block_with("deploy files").strip(), workplace, tmp_path)
    assert (workplace / "lesions-image" / "Dockerfile").is_file()
