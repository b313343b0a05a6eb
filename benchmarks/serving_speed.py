"""`tellapart serve` against the bare work inside it, and beside other servers of the same model.

    python benchmarks/serving_speed.py [--rivals-python PYTHON]

A ResNet-18 at 224 pixels without pretrained weights (as fast as with them) answers JPEGs of 600x450 pixels
that a client on the same machine sends, one in a request. The bare work is decode, resize and onnxruntime on
as many threads in one process, before and after. Saturation is the best throughput at rising concurrency. The
client's own processor time is stated: where both share the cores, the service lacks it.

Rivals (benchmarks/rivals) are set up as their guides advise, with the same decoder, graph and number of
cores. Those that PYTHON cannot import are passed over. Their requirements may differ from ours, so that
PYTHON may be the interpreter of another environment; it needs onnxruntime, NumPy and Pillow.
"""

import argparse
import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import psutil
from measure import machine_line, megabytes, table

import tellapart as ta
from tellapart.bundle import Bundle
from tellapart.data.images import load_pixels
from tellapart.data.reader import n_cores
from tellapart.inference import Engine
from tellapart.loadtest.figures import Level, saturation
from tellapart.loadtest.load import Traffic, measure, rising
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
    """A server that answers."""

    traffic: Traffic
    process: psutil.Process
    ready_s: float

    def memory_bytes(self) -> int:
        """Return what its processes hold now, all together."""
        family = [self.process, *self.process.children(recursive=True)]
        return sum(one.memory_info().rss for one in family if one.is_running())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="for each load")
    parser.add_argument("--precision", default="fp32,int8")
    parser.add_argument("--model", type=Path, help="what --keep kept; default a new one")
    parser.add_argument("--keep", type=Path, help="keep the trained model here")
    parser.add_argument("--rivals-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--only", help="rivals whose names contain this; `none` for none")
    options = parser.parse_args()
    print(machine_line("onnxruntime", "numpy", "uvicorn"), end="\n\n")
    pictures = [drawn(seed) for seed in range(N_PICTURES)]
    rivals = [s for s in OTHERS if options.only is None or options.only.lower() in s.name.lower()]
    rivals = [server for server in rivals if is_installed(server, options.rivals_python)]
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        run = options.model or make_model(options.keep or Path(name) / "run", pictures)
        for precision in options.precision.split(","):
            model = run / ("model" if precision == "fp32" else "model-int8")
            compare_with_bare(model, precision, pictures, options.seconds)
            if rivals:
                compare_with_rivals(
                    model, precision, pictures, options.seconds, rivals, options.rivals_python
                )


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


def compare_with_bare(model: Path, precision: str, pictures: Sequence[bytes], seconds: float) -> None:
    """Print throughput beside the bare work, latency at half of it, start and memory."""
    single_s = single_request_s(model, pictures[0])
    before = bare_rate(model, pictures, seconds)
    with serving(OURS, model, pictures, Path(sys.executable)) as server:
        levels = list(rising(server.traffic, None, duration_s=seconds))
        best = saturation(levels)
        most = max(levels, key=lambda level: level.throughput)
        lone = levels[0].percentile_ms(50) or float("nan")
        half = measure(server.traffic, most.throughput / 2, duration_s=2 * seconds, is_open=True)
        memory = server.memory_bytes()
    bare = statistics.mean([before, bare_rate(model, pictures, seconds)])
    left = 1 - most.client_cores / n_cores()
    p99 = half.percentile_ms(99) or float("nan")
    print(f"## {precision}: against the bare work\n")
    rows = [
        ["bare work on the same threads, images/s", f"{bare:.1f}"],
        ["throughput at saturation, images/s", f"{most.throughput:.1f} (from {best.load:g} at once)"],
        ["share of the bare work (wanted: 80 %)", f"{most.throughput / bare:.0%}"],
        ["the client's own processor time, cores", f"{most.client_cores:.3f} of {n_cores()}"],
        ["share of the bare work on what the client leaves", f"{most.throughput / bare / left:.0%}"],
        ["bare work on one image, one thread, ms", f"{1000 * single_s:.1f}"],
        ["p50 of one request at a time, ms", f"{lone:.1f}"],
        ["p99 at half of saturation, ms", f"{p99:.1f}"],
        ["… over one request (wanted: under 4)", f"{p99 / lone:.2f}"],
        ["errors", sum(level.n_errors for level in [*levels, half])],
        ["ready after the command, s (wanted: under 2)", f"{server.ready_s:.2f}"],
        ["memory (wanted: fp32 under 400 MB, int8 250)", megabytes(memory)],
    ]
    print(table(["figure", "value"], rows), end="\n\n")
    print(table(HEADER, [cells(level) for level in levels]), end="\n\n")


HEADER = ("at once", "answers/s", "p50, ms", "p99, ms", "errors", "client, cores")


def cells(level: Level) -> list[object]:
    """Return a row of the table of loads."""
    latencies = [level.percentile_ms(q) or float("nan") for q in (50, 99)]
    shown = [f"{level.throughput:.1f}", *(f"{ms:.1f}" for ms in latencies), level.n_errors]
    return [f"{level.load:g}", *shown, f"{level.client_cores:.3f}"]


def compare_with_rivals(
    model: Path,
    precision: str,
    pictures: Sequence[bytes],
    seconds: float,
    rivals: Sequence[Server],
    python: Path,
) -> None:
    """Print each server's saturation, and its p99 at a rate that all can take."""
    everyone = [(OURS, Path(sys.executable)), *((rival, python) for rival in rivals)]
    best: dict[str, Level] = {}
    ready: dict[str, tuple[float, int]] = {}
    for server, interpreter in everyone:
        with serving(server, model, pictures, interpreter) as running:
            levels = list(rising(running.traffic, (4, 8, 16, 32), duration_s=seconds))
            best[server.name] = max(levels, key=lambda level: level.throughput)
            ready[server.name] = running.ready_s, running.memory_bytes()
    rate = 0.5 * min(level.throughput for level in best.values())
    rows = []
    for server, interpreter in everyone:
        if not rate:
            raise SystemExit(f"a server answered nothing: {best}")
        with serving(server, model, pictures, interpreter) as running:
            equal = measure(running.traffic, rate, duration_s=2 * seconds, is_open=True)
        top, (ready_s, memory) = best[server.name], ready[server.name]
        ours = best[OURS.name].throughput / top.throughput
        errors = top.n_errors + equal.n_errors
        latencies = [f"{equal.percentile_ms(q) or float('nan'):.1f}" for q in (50, 99)]
        speed = [f"{top.throughput:.1f}", f"{ours:.2f}", *latencies]
        rows.append([server.name, *speed, errors, f"{ready_s:.1f}", megabytes(memory)])
    print(f"## {precision}: beside other servers\n")
    print(f"Latencies at {rate:.1f} requests a second, half of what the slowest takes.\n")
    header = ("server", "answers/s", "ours over it", "p50, ms", "p99, ms", "errors", "ready, s", "memory")
    print(table(header, rows), end="\n\n")


def bare_rate(model: Path, pictures: Sequence[bytes], seconds: float) -> float:
    """Return images per second of decode, resize and engine, a thread per core, the better of two batches."""
    bundle = Bundle.load(model)
    resize, engine = bundle.card.preprocessing, Engine(bundle.model_path, threads=1)

    def work(batch_size: int, until: float) -> int:
        n_done = 0
        while time.perf_counter() < until:
            batch = [pictures[(n_done + i) % len(pictures)] for i in range(batch_size)]
            engine(np.stack([load_pixels(picture, resize) for picture in batch]))
            n_done += batch_size
        return n_done

    rates = []
    for batch_size in (1, 2):
        with ThreadPoolExecutor(n_cores()) as pool:
            started = time.perf_counter()
            jobs = [pool.submit(work, batch_size, started + seconds / 2) for _ in range(n_cores())]
            n_done = sum(job.result() for job in jobs)
            rates.append(n_done / (time.perf_counter() - started))
    return max(rates)


def single_request_s(model: Path, picture: bytes) -> float:
    """Return the median time of the bare work on one image and one thread."""
    bundle = Bundle.load(model)
    resize, engine = bundle.card.preprocessing, Engine(bundle.model_path, threads=1)
    seconds = []
    for _ in range(30):
        started = time.perf_counter()
        engine(load_pixels(picture, resize)[None])
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def is_installed(server: Server, python: Path) -> bool:
    """Say whether a rival can be imported, and tell the reader if not."""
    found = subprocess.run([python, "-c", f"import {server.imports}"], capture_output=True, check=False)
    if found.returncode:
        print(f"{server.name}: not installed for {python.name}, passed over\n")
    return found.returncode == 0


@contextmanager
def serving(server: Server, model: Path, pictures: Sequence[bytes], python: Path) -> Iterator[Running]:
    """Run a server in processes of its own until the block ends."""
    port = free_port()
    bodies, content_type = server.bodies(pictures)
    url = f"http://127.0.0.1:{port}{server.path}"
    extra = {"MODEL": str(model), "PORT": str(port), "CORES": str(n_cores()), "RAY_USAGE_STATS_ENABLED": "0"}
    paths = os.pathsep.join([str(RIVALS), str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
    command = [str(python), *server.command]
    if server is OURS:
        command += [str(model), "--port", str(port)]
    elif server.name == "BentoML":
        command += ["--host", "127.0.0.1", "--port", str(port), "-q"]
    with tempfile.TemporaryFile() as printed:
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
            wait_for_answer(process, url, bodies[0], content_type)
            ready_s = time.perf_counter() - started
            traffic = Traffic.to(url, bodies, content_type=content_type)
            yield Running(traffic, psutil.Process(process.pid), ready_s)
        except TimeoutError:
            printed.seek(0)
            raise SystemExit(f"{server.name} did not answer:\n{printed.read().decode()[-3000:]}") from None
        finally:
            stop(process)


def wait_for_answer(process: subprocess.Popen[bytes], url: str, body: bytes, content_type: str) -> None:
    """Return when the first good answer came.

    Raises
    ------
    TimeoutError
        If none came within a minute and a half.
    """
    deadline = time.monotonic() + 90
    with httpx2.Client(timeout=30, trust_env=False) as client:
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.post(url, content=body, headers={"Content-Type": content_type}).is_success:
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


if __name__ == "__main__":
    main()
