"""Describes the processor and the kernel settings of this machine, which decide how sums are rounded."""

from __future__ import annotations

import functools
import os
import platform
import re
from pathlib import Path

import torch

SETTINGS = ("MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables; ATEN_CPU_CAPABILITY shows in torch's own description."""


def processor(device: torch.device | None = None) -> str:
    """Returns a CPU as text such as "AMD EPYC, AVX512", with environment settings that choose kernels; for a GPU, its name."""
    if device is not None and device.type != "cpu":
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    chosen = [f"{name}={os.environ[name]}" for name in SETTINGS if os.environ.get(name)]
    return ", ".join([_name(), torch.backends.cpu.get_cpu_capability(), *chosen])


@functools.cache
def _name() -> str:
    """Returns the CPU's model name as Linux reports it, without cores and clock speed; on other systems the machine type."""
    try:
        known = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        known = None
    name = known[1] if known else platform.processor() or platform.machine()
    return re.sub(r"\s*(\d+-Core)?\s*(Processor|CPU)?\s*(@.*)?$", "", name.strip()) or platform.machine()
