"""Makes glibc keep large freed buffers, for use in programs (never in a library).

By default glibc returns large buffers to the system after each forward pass and requests them again; on some machines page
faults then take most of the time.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h
KEEP = 1 << 30


def keep_large_blocks() -> bool:
    """Makes the process keep freed blocks of up to 1 GiB; returns whether that could be set (only with glibc).

    Child processes do the same, by glibc's own environment variables, which also tell `batch="auto"`. All threads share one
    arena: a thread's own arena holds 64 MiB at most, less than a network's larger buffers.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    done = all([mallopt(M_MMAP_THRESHOLD, KEEP), mallopt(M_TRIM_THRESHOLD, KEEP), mallopt(M_ARENA_MAX, 1)])
    if done:
        os.environ.update(MALLOC_MMAP_THRESHOLD_=str(KEEP), MALLOC_TRIM_THRESHOLD_=str(KEEP), MALLOC_ARENA_MAX="1")
    return done
