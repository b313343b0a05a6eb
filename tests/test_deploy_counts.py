"""Replicas of one node that count together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COUNTING = """
import os, sys, time
from pathlib import Path
from tellapart.deploy.counts import Counts, VARIABLE
counts = Counts(Path(os.environ[VARIABLE]))
from tellapart.serving.metrics import Metrics
metrics = Metrics()
metrics.drifted("lesions", {"brightness": float(sys.argv[1])})
metrics.predicted("lesions", "benign", 0.9, False)
for line in sys.stdin:
    if line == "bury\\n":
        counts.bury()
    if line == "leave\\n":
        counts.leave()
    print(metrics.render()[0].decode() if line == "show\\n" else "", end="\\0", flush=True)
"""


class Replica:
    """One process that counts, told what to do line by line."""

    def __init__(self, folder: Path, drift: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(drift)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        )
        self.tell("ready?")

    def tell(self, what: str) -> str:
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        said = ""
        while not said.endswith("\0"):
            said += self.process.stdout.read(1)
        return said[:-1]

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "counts"


@pytest.fixture
def pair(folder):
    both = Replica(folder, drift=0.75), Replica(folder, drift=0.25)
    yield both
    for replica in both:
        replica.kill()


def test_a_killed_replica_keeps_what_it_counted_and_loses_its_gauges(pair):
    killed, other = pair
    assert 'measure="brightness",model="lesions"} 0.75' in other.tell("show")
    killed.kill()
    other.tell("bury")
    shown = other.tell("show")
    assert 'measure="brightness",model="lesions"} 0.25' in shown
    assert 'tellapart_predictions_total{label="benign",model="lesions"} 2.0' in shown


def test_the_last_to_leave_removes_the_folder(pair, folder):
    first, last = pair
    first.tell("leave")
    assert folder.is_dir()
    last.tell("leave")
    assert not folder.exists()


def test_so_does_the_one_that_outlives_a_killed_one(pair, folder):
    killed, last = pair
    killed.kill()
    last.tell("leave")
    assert not folder.exists()
