"""A replica on a node: what it keeps there, and what it finds of others. No cluster is needed."""

import subprocess
import sys
import tempfile

import pytest

from tellapart.bundle import CARD_FILE, MODEL_FILE
from tellapart.deploy.replica import PREFIX, Replica
from tellapart.serving.settings import Settings


@pytest.fixture
def node(tmp_path, monkeypatch):
    """The temporary folder of a node."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def files(trained):
    return {name: (trained.folder / "model" / name).read_bytes() for name in (MODEL_FILE, CARD_FILE)}


def settings(trained):
    return Settings(models={"lesions": trained.folder / "model"}).to_json()


def folders(node):
    return sorted(node.glob(f"{PREFIX}*"))


def test_its_folder_goes_with_it(node, files, trained):
    replica = Replica(files, settings(trained), "/lesions")
    [folder] = folders(node)
    assert sorted(path.name for path in (folder / "lesions").iterdir()) == sorted(files)
    del replica
    assert folders(node) == []


def test_the_models_of_killed_replicas_are_removed_and_those_of_living_ones_stay(node, files, trained):
    dead = node / f"{PREFIX}dead"
    code = (
        "import fcntl, os, sys; from pathlib import Path\n"
        f"folder = Path({str(dead)!r}); folder.mkdir(); lock = (folder / 'lives').open('w')\n"
        "fcntl.flock(lock, fcntl.LOCK_EX); (folder / 'model.onnx').write_text('large')\n"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    starting = node / f"{PREFIX}starting"  # has not locked anything yet
    starting.mkdir()
    first = Replica(files, settings(trained), "/lesions")
    living = folders(node)
    assert dead not in living
    assert starting in living
    second = Replica(files, settings(trained), "/lesions")
    assert set(living) < set(folders(node))
    del first, second
