"""The most memory that this process ever held while something ran, in which also a server in a thread counts.

What is resident afterwards would say nothing: memory that was taken and given back is the whole attack.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="the kernel counts it, in /proc")


def _status_mb(name: str) -> float:
    return int(re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000


@contextmanager
def peak() -> Iterator[SimpleNamespace]:
    """Yield what has `.mb` after the block: how far memory rose above what was held before it."""
    found = SimpleNamespace(mb=0.0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew, at what is held now
    before_mb = _status_mb("VmHWM")
    yield found
    found.mb = _status_mb("VmHWM") - before_mb
