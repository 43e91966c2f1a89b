"""Free memory: of the device, of the machine, and of the container that the process runs in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch


def free_bytes(device: torch.device) -> int:
    """Memory that can be taken now."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([machine_bytes(), *container_bytes()])


def machine_bytes(root: Path = Path("/")) -> int:
    """Bytes that the kernel counts as available, of the whole machine."""
    try:
        with (root / "proc/meminfo").open() as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _physical_bytes() // 2


def container_bytes(root: Path = Path("/")) -> Iterator[int]:
    """Bytes left of each limit on this process: of its control group and of the groups around it, version 1 and 2.

    Files that were read and can be dropped (`inactive_file`) count as used there, and are free in truth.
    """
    for group in _groups(root):
        for limit, used, unread in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            most, taken = _number(group / limit), _number(group / used)
            if most is not None and taken is not None:
                yield max(0, most - taken + _statistic(group / "memory.stat", unread))


def _groups(root: Path) -> Iterator[Path]:
    """Folders of the memory controller, from the process's own group up to the root (all that a container may see)."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        own = Path(path.lstrip("/"))
        for place in dict.fromkeys([own, *own.parents]):
            yield top / place


def _number(file: Path) -> int | None:
    """Number in a file; None without a file, and for "max", which is no limit."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        with file.open() as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(f"{name} ")), 0)
    except (OSError, ValueError):
        return 0


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 8 * 2**30  # nothing says how much there is: assume a small laptop
