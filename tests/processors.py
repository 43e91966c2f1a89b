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
from dataclasses import dataclass, field
from pathlib import Path

import torch

from tapetum.processor import processor

HERE = Path(__file__).parent
WORKERS = os.environ.get("WORKERS", "2")


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
    lines: list[str] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        library = _library(Path(folder))
        for setting in SETTINGS:
            if words and not any(word in str(setting) for word in words):
                continue
            why = _missing(setting, library)
            if why:
                lines.append(f"left out  {setting}: {why}")
                continue
            print(f"-- {setting}", flush=True)
            begun = time.perf_counter()
            status = _run(setting, library)
            failed |= status != 0
            lines.append(f"{'FAILED' if status else 'passed'}    {setting} ({time.perf_counter() - begun:.0f} s)")
    print("\n".join([f"\nequal bits on {processor()}:", *lines]))
    return int(failed)


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


def _run(setting: Setting, library: Path | None) -> int:
    more = {"LD_PRELOAD": str(library)} if setting.intel else {}
    more["OMP_WAIT_POLICY"] = "passive"  # two workers of two threads each: who waits must not spin
    files = [str(file) for file in sorted(HERE.rglob("test_*.py")) if "mark.bits" in file.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-n", WORKERS, "-p", "no:cacheprovider", "-m", "bits and not slow", *files]
    return subprocess.run(command, cwd=HERE.parent, env=os.environ | setting.environment | more, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
