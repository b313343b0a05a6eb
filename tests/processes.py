"""A service as a user starts it, `tellapart serve` in a process of its own, and callers that keep it busy."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread

import httpx2
import psutil


@dataclass(frozen=True)
class Served:
    """A running service: its main process, its URL, its log, and what it printed before it was ready."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    printed: str

    def events(self, name: str) -> list[dict]:
        """The log's lines of one event; each line must be JSON."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line["event"] == name]

    def workers(self) -> list[psutil.Process]:
        """The worker processes (multiprocessing's resource tracker is none)."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 60) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


@contextmanager
def serving(log: Path, *arguments: object) -> Iterator[Served]:
    """Run `tellapart serve` on a free port until the block ends; yields when it answers."""
    command = [sys.executable, "-m", "tellapart", "serve", *map(str, arguments), "--port", "0"]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        assert process.stdout is not None
        printed, found = "", None
        while found is None:
            line = process.stdout.readline()
            assert line, log.read_text()
            printed += line
            found = re.search(r"http://[\w.:\[\]]+", line)
        yield Served(process, found[0], log, printed)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def eventually(condition: Callable[[], object], timeout_s: float = 30, every_s: float = 0.02) -> float:
    """Wait until something holds, looking every so often; return after how many seconds it did."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, "it never came"
        time.sleep(every_s)
    return time.monotonic() - started


# To look through all processes takes time that a cluster on the same machine wants for itself.
eventually_on_ray = partial(eventually, timeout_s=60, every_s=0.25)


def replicas_of(name: str) -> list[psutil.Process]:
    """The processes of a deployment's replicas on Ray."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if " ".join(process.info["cmdline"] or ()).startswith(f"ray::ServeReplica:{name}"):
            found.append(process)
    return found


@dataclass
class Load:
    """What callers on open connections were told."""

    answers: list[tuple[str, str]] = field(default_factory=list)
    """Version and label, in the order in which they came."""
    refused: list[int] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    @property
    def n_failures(self) -> int:
        """How many got no answer."""
        return len(self.refused) + len(self.broken)


@contextmanager
def load(
    url: str,
    image: bytes,
    *,
    callers: int = 4,
    while_ready: bool = False,
    key: str | None = None,
    pause_s: float = 0.0,
) -> Iterator[Load]:
    """Keep asking about one image until the block ends, or (`while_ready`) /readyz says no.

    Every caller waits `pause_s` after an answer, which leaves the machine time for what is to be tested.
    """
    seen, stop = Load(), Event()
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    def call() -> None:
        with httpx2.Client(timeout=60, headers=headers) as client:
            while not stop.is_set():
                try:
                    response = client.post(f"{url}/v1/predict", content=image)
                except httpx2.HTTPError as exc:
                    seen.broken.append(repr(exc))
                    continue
                if response.status_code == 200:
                    answer = response.json()
                    seen.answers.append((answer["version"], answer["predictions"][0]["label"]))
                else:
                    seen.refused.append(response.status_code)
                time.sleep(pause_s)

    def watch() -> None:
        # As a load balancer does: whom it finds not ready gets no more requests.
        while not stop.is_set():
            if httpx2.get(f"{url}/readyz").status_code != 200:
                stop.set()
            time.sleep(0.05)

    threads = [Thread(target=call) for _ in range(callers)]
    threads += [Thread(target=watch)] if while_ready else []
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
