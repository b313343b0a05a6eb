"""`tellapart check` against the bare extraction of the features that it rests on, in one run.

    python benchmarks/check.py DATA

Bare: every file read, decoded, resized and put through the exported default network, on as many threads as
there are cores; nothing is hashed, looked at or kept. Half of it runs before the check and half after it, so
that a machine that grows slower or faster meanwhile does not change the ratio. The check is a new process,
from start to summary, with a cache that holds nothing but the exported network; then the same again, warm;
then both once more without the training half's network, as where torch is not installed.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from measure import machine_line, megabytes, run_python, table, take, write_manifest

from tellapart.data.dataset import Dataset
from tellapart.data.embedding import Network
from tellapart.data.images import load_pixels
from tellapart.data.reader import chunked, in_parallel
from tellapart.data.survey import CHUNK
from tellapart.records import Sample
from tellapart.training.evidence import FrozenEvidence

HEADER = ("check", "images", "s", "of bare", "images/s", "peak")

WITHOUT_NETWORK = (
    "import sys; from tellapart import api; from tellapart.cli.app import run; from tellapart.errors import "
    "MissingExtra\ndef missing(): raise MissingExtra('left out for a benchmark')\n"
    "api.need_extra = missing; sys.exit(run(sys.argv[1:]))"
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder per class, or a manifest")
    parser.add_argument("--limit", type=int, help="use so many images only")
    options = parser.parse_args()
    print(machine_line("onnxruntime", "numpy", "pillow"))
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        measure(options.data, options.limit, Path(name))


def measure(data: Path, limit: int | None, folder: Path) -> None:
    """Print the table of one set of images."""
    dataset = Dataset.load(data)
    if limit:
        dataset = take(dataset, limit)
        data = write_manifest(dataset, folder / "some.csv")
    os.environ["TELLAPART_CACHE"] = str(folder / "cache")
    network = FrozenEvidence().network
    half = len(dataset) // 2
    bare = bare_seconds(dataset.samples[:half], network)
    command = ("-m", "tellapart", "check", str(data))
    runs = {"cold": run_python(*command), "warm": run_python(*command)}
    bare += bare_seconds(dataset.samples[half:], network)
    os.environ["TELLAPART_CACHE"] = str(folder / "other cache")
    command = ("-c", WITHOUT_NETWORK, "check", str(data))
    runs |= {"no network, cold": run_python(*command), "no network, warm": run_python(*command)}
    print(f"\nbare: {bare:.1f} s, {len(dataset) / bare:.1f} images/s\n")
    rows = [
        [
            name,
            len(dataset),
            f"{child.seconds:.1f}",
            f"{child.seconds / bare:.2f}",
            f"{len(dataset) / child.seconds:.0f}",
            megabytes(child.peak_bytes),
        ]
        for name, child in runs.items()
    ]
    print(table(HEADER, rows))


def bare_seconds(samples: Sequence[Sample], network: Network) -> float:
    """Return how long it takes to read, decode and featurise some files."""

    def work(some: Sequence[Sample]) -> None:
        network.featurizer(np.stack([load_pixels(sample.path, network.resize) for sample in some]))

    started = time.perf_counter()
    for _ in in_parallel(work, chunked(samples, CHUNK)):
        pass
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
