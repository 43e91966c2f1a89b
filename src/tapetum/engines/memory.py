"""Free memory of the device, of the machine, and of the container in which the process runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch


def free_bytes(device: torch.device) -> int:
    """Returns the bytes that can be allocated now on a device: of the GPU, or of the machine within the limits of its
    container.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([machine_bytes(), *container_bytes()])


def machine_bytes(root: Path = Path("/")) -> int:
    """Returns the bytes that Linux reports as available on the whole machine, on other systems half of the physical memory."""
    try:
        with (root / "proc/meminfo").open() as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _physical_bytes() // 2


def container_bytes(root: Path = Path("/")) -> Iterator[int]:
    """Yields the bytes left under each memory limit on this process, by its control group and the groups around it (v1 and v2).

    Cached files that the kernel can drop (`inactive_file`) count as used there; they are added to what is left.
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
    """Yields the folders of the memory controller, from the process's own group up to the root; a container may see only the
    root.
    """
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
    """Reads the number in a file; None if there is no file, or for "max", which means no limit."""
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
        return 8 * 2**30  # unknown: assumes a small laptop
