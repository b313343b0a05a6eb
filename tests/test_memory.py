"""Freed memory stays with the process, measured in a process of its own."""

import subprocess
import sys

import pytest

from tellapart.training.memory import keep_freed_memory

MEASURE = r"""
import re
from pathlib import Path
import numpy as np
from tellapart.training.memory import keep_freed_memory

def resident_mb():
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1000

if {keep}:
    keep_freed_memory()
block = np.ones(200_000_000, dtype=np.uint8)
held = resident_mb()
del block
print(round(held - resident_mb()))
"""


def given_back_mb(*, keep: bool) -> int:
    program = MEASURE.format(keep=keep)
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_freed_block_is_given_back_unless_asked_otherwise():
    assert given_back_mb(keep=False) > 190
    if keep_freed_memory():  # musl cannot
        assert given_back_mb(keep=True) < 10


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory.__wrapped__() is False
