"""glibc gives large buffers back to the system after each pass and asks for them again: on some machines most of a
forward pass is page faults. A program (never a library) may keep them."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
KEEP = 1 << 30


def keep_large_blocks() -> bool:
    """Blocks up to 1 GiB stay with the process; says whether that could be set (only with glibc).

    One arena for all threads: those of other threads hold 64 MiB at most, less than a network's larger buffers.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all([mallopt(M_MMAP_THRESHOLD, KEEP), mallopt(M_TRIM_THRESHOLD, KEEP), mallopt(M_ARENA_MAX, 1)])
