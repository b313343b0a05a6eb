"""How the C library treats the memory that a network's layers take and give back."""

import ctypes
import sys
from functools import cache

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Names of glibc's parameters, from its malloc.h."""


@cache
def keep_freed_memory() -> bool:
    """Let glibc hold on to freed memory; return whether it does, which it cannot on other systems.

    By default glibc hands every large block back to the kernel at once and must have it zeroed page by
    page when the next layer asks for one: on a CPU that took up to a third of a training step. The process
    keeps its largest size instead, a tenth more than it would have held at its peak.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(_TRIM_THRESHOLD, -1) and mallopt(_MMAP_MAX, 0))
