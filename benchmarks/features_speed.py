"""Training on frozen features against the bare forward passes of the same network, in one run.

    python benchmarks/features_speed.py DATA

Bare: the exported network in onnxruntime, one thread inside each call and one call per core side by side,
on pixels that lie in memory; the fastest of three batch sizes. Half of the passes run before the training
and half after it, so that a machine that grows slower or faster meanwhile does not change the ratio.
Training is `tellapart train --mode features` as a new process: start, reading, decoding, features, head,
evaluation with bootstrap, report, bundle and its proof. Its cache holds nothing but the exported network.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from measure import Child, machine_line, megabytes, run_python, table, take, write_manifest

from tellapart.data.dataset import Dataset
from tellapart.data.images import Resize
from tellapart.data.reader import n_cores
from tellapart.inference import Engine
from tellapart.training.backbones import find_backbone, resolve_image_size
from tellapart.training.config import DEFAULT_BACKBONE, TrainConfig
from tellapart.training.frozen import FrozenNetwork

BATCH_SIZES = (1, 2, 4)
CALIBRATION_IMAGES = 96

HEADER = (
    "backbone",
    "images",
    "bare passes, s",
    "train, s",
    "ratio",
    "images/s",
    "peak",
    "again, warm cache, s",
    "peak, warm",
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder per class, or a manifest")
    parser.add_argument("--backbone", default=DEFAULT_BACKBONE)
    parser.add_argument("--weights", default="imagenet", help="`none` where they cannot be had: as fast")
    parser.add_argument("--limit", type=int, help="use so many images only")
    options = parser.parse_args()
    print(machine_line("onnxruntime", "torch", "numpy"))
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        measure(options.data, options.backbone, options.weights, options.limit, Path(name))


def measure(data: Path, backbone: str, weights: str, limit: int | None, folder: Path) -> None:
    """Print the table of one network on one set of images."""
    dataset = Dataset.load(data)
    if limit:
        dataset = take(dataset, limit)
        data = write_manifest(dataset, folder / "some.csv")
    n_images = len(dataset)
    os.environ["TELLAPART_CACHE"] = str(folder / "cache")
    graph, size = prepare(backbone, weights)

    engine = Engine(graph, threads=1)
    rates = {n: CALIBRATION_IMAGES / bare_seconds(engine, size, CALIBRATION_IMAGES, n) for n in BATCH_SIZES}
    batch_size = max(BATCH_SIZES, key=rates.__getitem__)
    bare = bare_seconds(engine, size, n_images // 2, batch_size)
    cold = train(data, backbone, weights, folder / "cold")
    bare += bare_seconds(engine, size, n_images - n_images // 2, batch_size)
    warm = train(data, backbone, weights, folder / "warm")

    found = ", ".join(f"{rate:.1f} in batches of {n}" for n, rate in rates.items())
    print(f"bare images/s: {found}; taken: {batch_size}\n")
    row = [
        backbone,
        n_images,
        f"{bare:.1f}",
        f"{cold.seconds:.1f}",
        f"{cold.seconds / bare:.2f}",
        f"{n_images / cold.seconds:.1f}",
        megabytes(cold.peak_bytes),
        f"{warm.seconds:.1f}",
        megabytes(warm.peak_bytes),
    ]
    print(table(HEADER, [row]))


def prepare(backbone: str, weights: str) -> tuple[bytes, int]:
    """Export the network into the cache, as happens once per machine; return its graph and its edge."""
    size = resolve_image_size(find_backbone(backbone), None)
    started = time.perf_counter()
    config = TrainConfig(mode="features", backbone=backbone, weights=weights, device="cpu")
    frozen = FrozenNetwork(config, Resize(size))
    frozen.body_weights()
    graph = frozen.graph()
    print(f"preparing the network, once per machine: {time.perf_counter() - started:.1f} s")
    return graph, size


def bare_seconds(engine: Engine, size: int, n_images: int, batch_size: int) -> float:
    """Return how long forward passes of n images take, all cores busy, nothing to read or decode."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    with ThreadPoolExecutor(n_cores()) as pool:
        started = time.perf_counter()
        calls = [pool.submit(engine, pixels[: n_images - i]) for i in range(0, n_images, batch_size)]
        for call in calls:
            call.result()
        return time.perf_counter() - started


def train(data: Path, backbone: str, weights: str, out: Path) -> Child:
    """Run `tellapart train` as a new process, on the CPU as the bare passes are."""
    command = ["-m", "tellapart", "train", str(data), "--out", str(out), "--mode", "features"]
    return run_python(*command, "--backbone", backbone, "--weights", weights, "--device", "cpu")


if __name__ == "__main__":
    main()
