"""Servers under measurement: ours and others of the same model, each in processes of its own."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

import tellapart as ta
from tellapart.data.reader import n_cores
from tellapart.loadtest.load import Traffic
from tellapart.loadtest.picture import drawn

HERE = Path(__file__).parent
RIVALS = HERE / "rivals"
N_PICTURES = 16
BOUNDARY = "a-boundary-that-no-picture-holds"


@dataclass(frozen=True)
class Server:
    """How one server is found, started and asked; `form` is raw, file (multipart) or base64 (in JSON)."""

    name: str
    imports: str
    command: Sequence[str]
    path: str
    form: str

    def bodies(self, pictures: Sequence[bytes]) -> tuple[list[bytes], str]:
        """Return the requests' bodies and their type."""
        if self.form == "base64":
            texts = [{"image": base64.b64encode(picture).decode()} for picture in pictures]
            return [json.dumps(text).encode() for text in texts], "application/json"
        if self.form == "file":
            head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n'
            head += "Content-Type: image/jpeg\r\n\r\n"
            tail = f"\r\n--{BOUNDARY}--\r\n".encode()
            return [head.encode() + p + tail for p in pictures], f"multipart/form-data; boundary={BOUNDARY}"
        return list(pictures), "image/jpeg"


OURS = Server("tellapart serve", "tellapart", ("-m", "tellapart", "serve"), "/v1/predict", "raw")
OTHERS = (
    Server("FastAPI, plain", "fastapi", (str(RIVALS / "plain_fastapi.py"),), "/predict", "file"),
    Server("LitServe", "litserve", (str(RIVALS / "litserve_server.py"),), "/predict", "base64"),
    Server("BentoML", "bentoml", ("-m", "bentoml", "serve", "bentoml_server:Classify"), "/predict", "file"),
    Server("Ray Serve", "ray.serve", (str(RIVALS / "ray_serve.py"),), "/predict", "raw"),
)


@dataclass(frozen=True)
class Running:
    """A server that answers at `url`; `log` gets what it prints."""

    url: str
    traffic: Traffic
    process: psutil.Process
    ready_s: float
    log: Path

    def memory_bytes(self) -> int:
        """Return what its processes hold now, all together."""
        return sum(one.memory_info().rss for one in self._family())

    def n_files(self) -> int:
        """Return how many files and sockets its processes have open."""
        return sum(one.num_fds() for one in self._family())

    def _family(self) -> list[psutil.Process]:
        family = [self.process, *self.process.children(recursive=True)]
        return [one for one in family if one.is_running()]


def make_model(run: Path, pictures: Sequence[bytes]) -> Path:
    """Train a ResNet-18 on the pictures and quantise it; what it learns does not matter."""
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        os.environ["TELLAPART_CACHE"] = f"{name}/cache"
        for number, picture in enumerate([*pictures, *(drawn(100 + i) for i in range(24))]):
            folder = Path(name) / "pictures" / ("odd" if number % 2 else "even")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:03d}.jpg").write_bytes(picture)
        config = ta.TrainConfig(mode="features", backbone="resnet18", weights="none", image_size=224)
        data = ta.Dataset.from_folder(Path(name) / "pictures")
        ta.train(data, config, run)
        ta.export(run, run / "model-int8", precision="int8", data=data, force=True)
    return run


@contextmanager
def serving(
    server: Server,
    model: Path,
    pictures: Sequence[bytes],
    python: Path = Path(sys.executable),
    options: Sequence[str] = (),
    key: str | None = None,
) -> Iterator[Running]:
    """Run a server in processes of its own until the block ends; `options` and `key` are of ours."""
    port = free_port()
    bodies, content_type = server.bodies(pictures)
    url = f"http://127.0.0.1:{port}{server.path}"
    extra = {"MODEL": str(model), "PORT": str(port), "CORES": str(n_cores()), "RAY_USAGE_STATS_ENABLED": "0"}
    paths = os.pathsep.join([str(RIVALS), str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
    command = [str(python), *server.command]
    if server is OURS:
        command += [str(model), "--port", str(port), *options]
    elif server.name == "BentoML":
        command += ["--host", "127.0.0.1", "--port", str(port), "-q"]
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name, (Path(name) / "log").open("w") as printed:
        log = Path(printed.name)
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**os.environ, **extra, "PYTHONPATH": paths},
            cwd=RIVALS,
            stdout=printed,
            stderr=printed,
            start_new_session=True,
        )
        try:
            wait_for_answer(process, url, bodies[0], content_type, key)
            ready_s = time.perf_counter() - started
            traffic = Traffic.to(url, bodies, key=key, content_type=content_type)
            yield Running(url.removesuffix(server.path), traffic, psutil.Process(process.pid), ready_s, log)
        except TimeoutError:
            raise SystemExit(f"{server.name} did not answer:\n{log.read_text()[-3000:]}") from None
        finally:
            stop(process)


def wait_for_answer(
    process: subprocess.Popen[bytes], url: str, body: bytes, content_type: str, key: str | None
) -> None:
    """Return when the first good answer came.

    Raises
    ------
    TimeoutError
        If none came within a minute and a half.
    """
    deadline = time.monotonic() + 90
    headers = {"Content-Type": content_type, **({"Authorization": f"Bearer {key}"} if key else {})}
    with httpx2.Client(timeout=30, trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.post(url, content=body, headers=headers).is_success:
                    return
            except httpx2.TransportError:
                pass
            time.sleep(0.02)
    raise TimeoutError


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and the processes it started."""
    family = [*psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for one in psutil.wait_procs(family, timeout=10)[1]:
        one.kill()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
