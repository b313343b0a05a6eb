"""The steps of the Dockerfile, performed in a fresh virtual environment, give a service that answers."""

import http.client
import io
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tellapart.api import load
from tellapart.deploy.files import add_key, write_files

PROJECT = Path(__file__).parents[1]
UV = (sys.executable, "-m", "uv", "pip")
PIP = """#!{here}
import os, sys
words = [word for word in sys.argv[1:] if word != "--no-cache-dir"]
os.execv("{here}", ["{here}", "-m", "uv", "pip", *words, "--python", "{there}"])
"""
"""As pip in the image, in a tenth of the time: from the packages that installed this environment."""


def steps(dockerfile: Path, stage: str) -> list[tuple[str, str]]:
    """Instruction and value of a stage, after those of the stages that it begins from."""
    parser = pytest.importorskip("dockerfile_parse", reason="in the dependency group test")
    structure = parser.DockerfileParser(fileobj=io.BytesIO(dockerfile.read_bytes())).structure
    stages: dict[str, list[tuple[str, str]]] = {}
    current: list[tuple[str, str]] = []
    for entry in structure:
        if entry["instruction"] == "FROM":
            base, _, name = entry["value"].split()
            current = stages[name] = [*stages.get(base, [("FROM", base)])]
        elif entry["instruction"] != "COMMENT":
            current.append((entry["instruction"], entry["value"]))
    return stages[stage]


class Image:
    """A folder in the place of an image's root, and a virtual environment in the place of its Python."""

    def __init__(self, context: Path, root: Path, build_args: dict[str, str]) -> None:
        self.context, self.root = context, root
        self.environment = {**os.environ, "PATH": f"{root / 'python/bin'}:/usr/bin:/bin"}
        self.environment.pop("PYTHONPATH", None)
        self.build_args = build_args
        self.told: dict[str, str] = {}

    def perform(self, instruction: str, value: str) -> None:
        if instruction == "FROM":
            assert value == f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
            python = self.root / "python"
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", python], check=True)
            (python / "bin/pip").write_text(PIP.format(here=sys.executable, there=python / "bin/python"))
            (python / "bin/pip").chmod(0o755)
        elif instruction == "ARG":
            name, _, default = value.partition("=")
            self.environment[name] = self.build_args.get(name, default.strip('"'))
        elif instruction == "COPY":
            source, target = value.split()
            place = self.inside(target)
            place.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (self.context / source).is_dir() else shutil.copy
            copy(self.context / source, place)
        elif instruction == "RUN":
            command = value.replace("/srv/", f"{self.root}/srv/")
            subprocess.run(["sh", "-c", command], env=self.environment, check=True, timeout=900)
        elif instruction == "ENV":
            self.environment.update(pair.split("=", 1) for pair in shlex.split(value))
        else:
            self.told[instruction] = value

    def inside(self, path: str) -> Path:
        return self.root / path.removeprefix("/")

    def command(self, text: str, **replaced: str) -> list[str]:
        """The words of an exec form, with paths and the port where they are here."""
        words = json.loads(text)
        for old, new in {"/srv/": f"{self.root}/srv/", "/run/": f"{self.root}/run/", **replaced}.items():
            words = [word.replace(old, new) for word in words]
        return words

    def files(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in self.root.rglob("*") if path.is_file()}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def ask(port: int, method: str, path: str, body: bytes | None = None, key: str = "") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, {"Authorization": f"Bearer {key}"} if key else {})
    response = connection.getresponse()
    content = response.read()
    return response.status, json.loads(content) if content.startswith((b"{", b"[")) else None


def wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s and process.poll() is None:
        try:
            if ask(port, "GET", "/readyz")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the service does not become ready")


def skip_without_index() -> None:
    asks = [*UV, "compile", "--quiet", "--no-deps", "-"]
    if subprocess.run(asks, input=b"typer", capture_output=True, check=False).returncode:
        pytest.skip("no package index can be reached from here")


@pytest.mark.slow
def test_the_steps_of_the_image_give_a_service_that_answers(trained, photos, tmp_path):
    """Attack 72 too: it runs with nothing to write to but its temporary folder."""
    context, root = tmp_path / "context", tmp_path / "root"
    write_files(trained.folder, context, name="lesions")
    key = add_key(context)
    skip_without_index()
    image = Image(context, root, {"TELLAPART": str(PROJECT)})
    image_steps = steps(context / "Dockerfile", "service")
    for instruction, value in image_steps:
        image.perform(instruction, value)
    user, group = image.told["USER"].split(":")
    assert int(user) > 0
    assert int(group) > 0
    packages = next((root / "python/lib").glob("python*/site-packages"))
    assert not [path for path in packages.iterdir() if path.name in ("torch", "timm", "onnx")]

    secret = image.inside("/run/secrets/tellapart/keys.json")
    secret.parent.mkdir(parents=True)
    shutil.copy(context / "keys.json", secret)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    port = free_port()
    here = {"8000": str(port)}
    command = image.command(image.told["ENTRYPOINT"], **here) + image.command(image.told["CMD"])
    environment = {**image.environment, "HOME": str(temporary), "TMPDIR": str(temporary)}
    before = image.files()

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        program = str(root / "python/bin" / command[0])
        return subprocess.Popen(
            [program, *command[1:]], env=environment, cwd=image.inside(image.told["WORKDIR"])
        )

    process = start(command)
    try:
        wait_until_ready(port, process)
        assert ask(port, "GET", "/healthz")[0] == 200
        health = image.command(image.told["HEALTHCHECK"].split("CMD", 1)[1], **here)
        assert subprocess.run(health, env=environment, check=False, timeout=30).returncode == 0
        picture = photos / "malignant" / "001.png"
        assert ask(port, "POST", "/v1/predict", picture.read_bytes())[0] == 401
        status, answer = ask(port, "POST", "/v1/predict", picture.read_bytes(), key)
        assert status == 200
        expected = load(trained.folder).answer(picture)
        assert answer["predictions"][0]["label"] == expected.label
        assert answer["predictions"][0]["probability"] == pytest.approx(expected.probability, abs=1e-6)
    finally:
        process.terminate()
        status = process.wait(timeout=60)
    assert status in (0, -15)
    assert image.files() == before

    # Azure ML's image differs in its last step only, and asks for no key.
    ((instruction, value),) = steps(context / "Dockerfile", "azureml")[len(image_steps) - 1 :]
    assert instruction == "CMD"
    command = image.command(image.told["ENTRYPOINT"], **here) + image.command(value)
    body = json.dumps([{"image_in_base64": b64encode(picture.read_bytes()).decode(), "parameters": {}}])
    process = start(command)
    try:
        wait_until_ready(port, process)
        status, scores = ask(port, "POST", "/score", body.encode())
        assert (status, scores[0]["label"]) == (200, expected.label)
    finally:
        process.terminate()
        process.wait(timeout=60)
    assert subprocess.run(health, env=environment, capture_output=True, check=False).returncode != 0
