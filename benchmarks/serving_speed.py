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
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import machine_line, megabytes, table
from service import N_PICTURES, OTHERS, OURS, Server, make_model, serving

from tellapart.bundle import Bundle
from tellapart.data.images import load_pixels
from tellapart.data.reader import n_cores
from tellapart.inference import Engine
from tellapart.loadtest.figures import Level, saturation
from tellapart.loadtest.load import measure, rising
from tellapart.loadtest.picture import drawn

ROUNDS = 3


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
    """Print each server's saturation, and its p99 at a rate that all can take.

    Servers take turns, several times over, so that all see the same machine: its speed changes by the minute.
    """
    everyone = [(OURS, Path(sys.executable)), *((rival, python) for rival in rivals)]
    best: dict[str, list[Level]] = {server.name: [] for server, _ in everyone}
    equal: dict[str, list[Level]] = {server.name: [] for server, _ in everyone}
    ready: dict[str, tuple[float, int]] = {}
    for _ in range(ROUNDS):
        for server, interpreter in everyone:
            with serving(server, model, pictures, interpreter) as running:
                levels = list(rising(running.traffic, (8, 16), duration_s=seconds / 2))
                best[server.name].append(max(levels, key=lambda level: level.throughput))
                ready[server.name] = running.ready_s, running.memory_bytes()
    throughput = {name: statistics.median(one.throughput for one in found) for name, found in best.items()}
    rate = 0.5 * min(throughput.values())
    if not rate:
        raise SystemExit(f"a server answered nothing: {best}")
    for _ in range(ROUNDS):
        for server, interpreter in everyone:
            with serving(server, model, pictures, interpreter) as running:
                equal[server.name].append(measure(running.traffic, rate, duration_s=seconds, is_open=True))
    rows = []
    for server, _ in everyone:
        ready_s, memory = ready[server.name]
        over = [o.throughput / t.throughput for o, t in zip(best[OURS.name], best[server.name], strict=True)]
        latencies_ms = 1000 * np.concatenate([level.latencies_s for level in equal[server.name]])
        shown = [f"{np.percentile(latencies_ms, q):.1f}" for q in (50, 99)]
        errors = sum(level.n_errors for level in [*best[server.name], *equal[server.name]])
        speed = [f"{throughput[server.name]:.1f}", f"{statistics.median(over):.2f}", *shown]
        rows.append([server.name, *speed, errors, f"{ready_s:.1f}", megabytes(memory)])
    print(f"## {precision}: beside other servers\n")
    print(
        f"Medians of {ROUNDS} rounds; latencies at {rate:.1f} requests/s, half of what the slowest takes.\n"
    )
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


if __name__ == "__main__":
    main()
