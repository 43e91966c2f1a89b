"""The claims of equal bits under other kernels: `make processors`, or `python tests/processors.py [words of one setting]`.

Kernels of matrix products and convolutions go by the processor's maker and instructions, and by the number of threads; each
setting below makes torch's libraries take others of those that this machine has (`make test` has run with its own). What a test
marked `bits` claims must hold in all of them. A setting that this processor lacks is named and left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tapetum.processor import processor

HERE = Path(__file__).parent
WORKERS = int(os.environ.get("WORKERS", "2"))
"""Settings at a time: each begins one process, which costs as much as its tests."""


@dataclass(frozen=True)
class Setting:
    """A name, what is put into the environment, what the processor must have, and whether MKL is to take it for Intel's."""

    environment: dict[str, str] = field(default_factory=dict[str, str])
    needs: str = ""
    intel: bool = False

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.environment.items()] + ["MKL as on Intel"] * self.intel
        return ", ".join(words)


SETTINGS = (
    Setting({"TEST_THREADS": "2"}),
    Setting({"MKL_CBWR": "COMPATIBLE"}),
    Setting({"MKL_CBWR": "SSE4_2", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}, intel=True),
    Setting({}, intel=True),
    Setting(
        {"MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "TEST_THREADS": "2"},
        "AVX2",
        intel=True,
    ),
)


def main(words: list[str]) -> int:
    """Runs all settings, or those whose name has a word; 1 if a test failed in one of them."""
    wanted = [one for one in SETTINGS if not words or any(word in str(one) for word in words)]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(WORKERS) as pool:
        library = _library(Path(folder))
        ends = list(pool.map(lambda one: _ended(one, library), wanted))
    print("\n".join([f"\nequal bits on {processor()}:", *ends]))
    return int(any(end.startswith("FAILED") for end in ends))


def _ended(setting: Setting, library: Path | None) -> str:
    """Runs one setting, in one process: what it printed is printed at its end, since others run beside it."""
    why = _missing(setting, library)
    if why:
        return f"left out  {setting}: {why}"
    begun = time.perf_counter()
    done = _run(setting, library)
    print(f"-- {setting}\n{done.stdout}", flush=True)
    return f"{'FAILED' if done.returncode else 'passed'}    {setting} ({time.perf_counter() - begun:.0f} s)"


def _missing(setting: Setting, library: Path | None) -> str:
    """Why the setting cannot be run here, or nothing."""
    if setting.intel and library is None:
        return "there is no C compiler, or no MKL in this torch"
    capability = torch.backends.cpu.get_cpu_capability()
    ranks = ("DEFAULT", "AVX2", "AVX512")
    known = capability in ranks and (not setting.needs or ranks.index(capability) >= ranks.index(setting.needs))
    return "" if known or not setting.needs else f"this processor has no {setting.needs}"


def _library(folder: Path) -> Path | None:
    """What makes MKL take a processor for Intel's, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not torch.backends.mkl.is_available() or sys.platform != "linux":
        return None
    made = folder / "intel_kernels.so"
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", made, HERE / "intel_kernels.c"], check=False)
    return made if done.returncode == 0 else None


def _run(setting: Setting, library: Path | None) -> subprocess.CompletedProcess[str]:
    more = {"LD_PRELOAD": str(library)} if setting.intel else {}
    more["OMP_WAIT_POLICY"] = "passive"  # two settings of two threads each: who waits must not spin
    files = [str(file) for file in sorted(HERE.rglob("test_*.py")) if "mark.bits" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "bits and not slow", *files]
    environment, streams = os.environ | setting.environment | more, {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=HERE.parent, env=environment, check=False, text=True, **streams)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
