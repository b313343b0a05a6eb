"""How long it takes to make a Dataset of very many files, and how much memory.

    python benchmarks/scan.py [--files 100000]

The files are small, lie in ten class folders and are not decoded. They have just been written, so that the
system has their names in memory. A new process scans them; its peak includes Python and its libraries.
"""

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from measure import machine_line, megabytes, peak_bytes, table

from tellapart.data.dataset import Dataset

N_CLASSES = 10


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    n_files = parser.parse_args().files
    print(machine_line("numpy"), end="\n\n")
    with tempfile.TemporaryDirectory(prefix="tellapart-") as name:
        write_files(Path(name), n_files)
        new_process = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=new_process) as pool:
            found, seconds, before, after = pool.submit(scan, Path(name)).result()
    if found != n_files:
        raise SystemExit(f"{found} files found of {n_files}")
    row = [n_files, f"{seconds:.2f}", f"{n_files / seconds:.0f}", megabytes(after), megabytes(after - before)]
    print(table(["files", "seconds", "files/s", "peak of the process", "of that, by the scan"], [row]))


def write_files(folder: Path, n_files: int) -> None:
    """Write files of a few bytes, named like photographs."""
    for label in range(N_CLASSES):
        (folder / f"class_{label}").mkdir()
    for number in range(n_files):
        (folder / f"class_{number % N_CLASSES}" / f"IMG_{number:07d}.jpg").write_bytes(b"\xff\xd8\xff\xd9")


def scan(folder: Path) -> tuple[int, float, int, int]:
    """Return how many images were found, the seconds, and the process's peak before and after, in bytes."""
    before = peak_bytes()
    started = time.perf_counter()
    dataset = Dataset.from_folder(folder)
    return len(dataset), time.perf_counter() - started, before, peak_bytes()


if __name__ == "__main__":
    main()
