"""How fast a class is filled, against the bare HTTP client, and whether faults leave any trace.

    python benchmarks/download.py [--images 2000] [--size 60] [--latency 0.05] [--repeats 3]

The stand-in of the ISIC Archive in `tests/` runs as another process on this machine, so server and client
share its cores. Bare is one httpx2 client whose answers are read and thrown away, once in as many threads as
the downloader has connections and once in as many asyncio tasks; below it stands the downloader's own client
without the downloader. Runs take turns. Every file that the downloader leaves is hashed and held against what
the bare client got; with faults, one file in ten fails once, in all ways in turn.
"""

import argparse
import asyncio
import hashlib
import multiprocessing
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx2
from measure import machine_line, table

from tellapart.sources.candidate import Candidate
from tellapart.sources.collection import Collection
from tellapart.sources.download import Order, fetch_class
from tellapart.sources.session import CONNECTIONS, Session

TESTS = Path(__file__).parents[1] / "tests"
LIMITS = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
FAULTS = 0.1
Spent = tuple[float, float]
"""Seconds on the clock, and seconds of this process on a processor (of all its threads)."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--size", type=int, default=60, help="width of the images in pixels")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until a file begins to come")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(machine_line("httpx2", "pillow"), end="\n\n")
    # All folders stay until the end: the file system is slow to make files where it just deleted others.
    with tempfile.TemporaryDirectory(prefix="tellapart-") as room:
        measure(options, Path(room))


def measure(options: argparse.Namespace, room: Path) -> None:
    """Measure all ways in turn."""
    with stand_in(options.images, options.size, options.latency) as api:
        candidates = listing(api)
        urls = [candidate.url for candidate in candidates]
        bodies = bare_threads(urls)
        right = {c.id: hashlib.sha256(body).hexdigest() for c, body in zip(candidates, bodies, strict=True)}
        n_bytes = sum(map(len, bodies))
        ways: dict[str, Callable[[], Spent]] = {
            "bare, threads": lambda: spent(lambda: bare_threads(urls)),
            "bare, asyncio": lambda: spent(lambda: asyncio.run(bare_tasks(urls))),
            "Session.stream": lambda: spent(lambda: streamed(urls)),
            "fetch_class": lambda: filled(room, candidates, right),
            "fetch_class, resized to 256": lambda: filled(room, candidates, None, resize_px=256),
        }
        times: dict[str, list[Spent]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                times[name].append(way())
    with stand_in(options.images, options.size, options.latency, FAULTS) as api:
        times["fetch_class, with faults"] = [filled(room, listing(api), right)]
    print(f"{len(urls)} images, {n_bytes / 1e6:.0f} MB, {CONNECTIONS} connections\n")
    print(results(times, len(urls), n_bytes))


def results(times: dict[str, list[Spent]], n: int, n_bytes: int) -> str:
    """Return the rates, and how they compare with the faster of the bare clients."""
    walls = {name: statistics.median(wall for wall, _ in runs) for name, runs in times.items()}
    best = min(walls["bare, threads"], walls["bare, asyncio"])
    rows = []
    for name, wall in walls.items():
        processor = statistics.median(busy for _, busy in times[name]) / n
        figures = f"{wall:.2f}", f"{n / wall:.0f}", f"{n_bytes / wall / 1e6:.0f}", f"{best / wall:.2f}"
        rows.append([name, *figures, f"{1000 * processor:.2f}"])
    columns = ["way", "seconds", "images/s", "MB/s", "of the faster bare client", "processor ms/image"]
    return table(columns, rows)


@contextmanager
def stand_in(n_images: int, size: int, latency: float, faults: float = 0.0) -> Iterator[str]:
    """Serve the stand-in from another process; yield its API's address."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, n_images, size, latency, faults), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def serve(address: Connection, n_images: int, size: int, latency: float, faults: float) -> None:
    """Draw all pictures, then serve them for ever."""
    sys.path.insert(0, str(TESTS))
    from isic_archive import serving
    from isic_images import make_images

    images = make_images(n_images, size=(size, size * 3 // 4))
    for image in images:
        _ = image.content
    with serving(images) as archive:
        archive.pause_s = latency
        archive.sprinkle(share=faults)
        address.send(archive.api)
        threading.Event().wait()


def listing(api: str) -> list[Candidate]:
    """Return every image of the archive, as one class."""
    found, following = [], f"{api}/images/"
    with Session(allow_private=True) as session:
        while following:
            page = session.get_json(following)
            for image in page["results"]:
                pixels = image["metadata"]["acquisition"]
                size_px = pixels["pixels_x"], pixels["pixels_y"]
                found.append(
                    Candidate(image["isic_id"], image["files"]["full"]["url"], "all", size_px=size_px)
                )
            following = page["next"]
    return found


def bare_threads(urls: Sequence[str]) -> list[bytes]:
    """Return every body."""
    with httpx2.Client(limits=LIMITS, trust_env=False) as client, ThreadPoolExecutor(CONNECTIONS) as pool:
        return [response.content for response in pool.map(client.get, urls)]


async def bare_tasks(urls: Sequence[str]) -> None:
    """Do the same in one thread."""
    left = iter(urls)
    async with httpx2.AsyncClient(limits=LIMITS, trust_env=False) as client, asyncio.TaskGroup() as group:

        async def work() -> None:
            for url in left:
                await client.get(url)

        for _ in range(CONNECTIONS):
            group.create_task(work())


def streamed(urls: Sequence[str]) -> None:
    """Do the same with our client."""

    def read(url: str) -> int:
        with session.stream(url) as response:
            return sum(map(len, response.iter_raw()))

    with Session(allow_private=True) as session, ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(read, urls))


def filled(
    room: Path, candidates: Sequence[Candidate], right: Mapping[str, str] | None, resize_px: int | None = None
) -> Spent:
    """Fill a new folder and return what it took; stop unless every file in it is right."""
    out = Path(tempfile.mkdtemp(dir=room)) / "out"
    order = Order("all", len(candidates), resize_px)
    with Session(allow_private=True) as session, Collection(out, {}) as collection:
        took = spent(lambda: fetch_class(session, collection, order, iter(candidates)))
        files = collection.class_folder("all").iterdir()
        found = {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    if right is not None and found != right:
        wrong = [key for key in {**right, **found} if right.get(key) != found.get(key)]
        raise SystemExit(f"{len(wrong)} of {len(right)} files are missing or wrong, such as {wrong[0]}")
    return took


def spent(way: Callable[[], object]) -> Spent:
    """Return the seconds that it takes, and those of this process's processor."""
    started, busy = time.perf_counter(), time.process_time()
    way()
    return time.perf_counter() - started, time.process_time() - busy


if __name__ == "__main__":
    main()
