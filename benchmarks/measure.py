"""What every benchmark shares: the machine in one line, children that are watched, Markdown tables."""

import csv
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tellapart.data.dataset import Dataset
from tellapart.data.reader import n_cores

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Child:
    """A Python process that has ended: its wall time and the most memory it held at once."""

    seconds: float
    peak_bytes: int


def machine_line(*libraries: str, gpu: str = "") -> str:
    """Return the processor, cores, memory, system, and the versions of Python and of some libraries."""
    versions = [f"{name} {version(name)}" for name in libraries]
    memory = [f"{_memory_bytes() / 2**30:.0f} GiB"] if _memory_bytes() else []
    system = f"{platform.system()} {platform.release()}"
    python = f"Python {platform.python_version()}"
    cores = f"{n_cores()} cores"
    return ", ".join([_processor(), cores, *memory, *([gpu] if gpu else []), system, python, *versions])


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return 0
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def run_python(*arguments: str) -> Child:
    """Run this Python with some arguments until it ends.

    Raises
    ------
    SystemExit
        With what it printed, if it failed.
    """
    with tempfile.TemporaryFile() as printed:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *arguments], stdout=printed, stderr=printed)
        peak = 0
        while process.poll() is None:
            peak = max(peak, peak_bytes(process.pid))
            time.sleep(POLL_SECONDS)
        seconds = time.perf_counter() - started
        if process.returncode:
            printed.seek(0)
            raise SystemExit(f"{' '.join(arguments)} failed:\n{printed.read().decode(errors='replace')}")
    return Child(seconds, peak)


def peak_bytes(pid: int | str = "self") -> int:
    """Return the most memory that a process has held so far; 0 where the system does not say (no /proc).

    Not `getrusage`, which for a child counts what its parent held when it forked.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def median_seconds(commands: Sequence[Sequence[str]], repeats: Sequence[int]) -> list[float]:
    """Return each Python command's median wall time; they take turns, so that all see the same machine."""
    seconds: list[list[float]] = [[] for _ in commands]
    for turn in range(max(repeats)):
        for command, times, wanted in zip(commands, seconds, repeats, strict=True):
            if turn < wanted:
                started = time.perf_counter()
                subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
                times.append(time.perf_counter() - started)
    return [statistics.median(times) for times in seconds]


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def megabytes(n_bytes: int) -> str:
    """Return a number of bytes in MB (of a million bytes), or that it is not known."""
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes else "not known"


def take(dataset: Dataset, n_images: int) -> Dataset:
    """Return n images, as many of each class as of any other where there are enough."""
    rank = np.empty(len(dataset), dtype=np.int64)
    for label in np.unique(dataset.targets):
        where = np.flatnonzero(dataset.targets == label)
        rank[where] = np.arange(len(where))
    return dataset.subset(np.argsort(rank, kind="stable")[:n_images])


def write_manifest(dataset: Dataset, path: Path) -> Path:
    """Write a manifest that names the dataset's files wherever they lie."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([str(sample.path.resolve()), sample.label] for sample in dataset.samples)
    return path
