"""Attention by torch's plain kernel, the only one with second and forward-mode derivatives."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel

_lock = threading.Lock()
_switched = ExitStack()
_users = 0


@contextmanager
def unfused_attention() -> Generator[None]:
    """Turns fused kernels of attention off inside the block.

    torch's switch is the whole process's. Blocks of several threads may overlap: the first turns it, the last turns it back;
    if each restored what it found, the one that ends last would leave fused kernels off for good.
    """
    _count(+1)
    try:
        yield
    finally:
        _count(-1)


def _count(by: int) -> None:
    global _users
    with _lock:
        _users += by
        if _users == (by > 0):
            _switched.enter_context(sdpa_kernel(SDPBackend.MATH)) if by > 0 else _switched.close()
