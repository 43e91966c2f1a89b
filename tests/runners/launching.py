"""A scan as torchrun, SLURM and Ray start it: a model in a file, pictures, and `tapetum scan` in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from forking import processes
from PIL import Image

from tapetum.data.streams import as_source
from tapetum.types import TapetumError

PICTURES = 60
NETWORK = """
import os
import time

import torch
import tapetum as tp


class Small(torch.nn.Sequential):
    def forward(self, images):
        time.sleep(float(os.environ.get("SLOW_S", "0")))
        return super().forward(images)


def build():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d
    module = Small(conv(3, 6, 3), torch.nn.ReLU(), conv(6, 5, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(3))
    module(torch.zeros(1, 3, 16, 16))
    return tp.wrap(module, size=16, mean=(0.5,) * 3, std=(0.25,) * 3, name="small")
"""
SCAN = ["--layers", "0,2", "--trackers", "spectrum,topk", "--k", "3", "--batch", "2"]


def made(folder: Path) -> None:
    """Pictures, one of them damaged, and net.py."""
    (folder / "photos").mkdir()
    generator = torch.Generator().manual_seed(3)
    for i in range(PICTURES):
        levels = torch.randint(0, 256, (18, 20, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(levels.numpy()).save(folder / "photos" / f"{i:02d}.png")
    (folder / "photos" / "17.png").write_bytes(b"this is no picture")
    (folder / "net.py").write_text(NETWORK)


def command(out: str, *more: str) -> list[str]:
    return ["-m", "tapetum", "scan", "photos", "--model", "net.py:build", "--out", out, *SCAN, *more]


def started(words: list[str], folder: Path, **environment: object) -> subprocess.Popen[str]:
    """A process of ours; one thread for its libraries."""
    program, pipes = [sys.executable, *words], {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(program, cwd=folder, env=_variables(environment), **pipes, text=True)


def _variables(more: Mapping[str, object]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "RANK", "WORLD_SIZE"))}
    return {**kept, "OMP_NUM_THREADS": "1", **{name: str(value) for name, value in more.items()}}


class Forked:
    """The same as `started`, in a process that begins at once: forked from one that has imported everything."""

    def __init__(self, words: list[str], folder: Path, **environment: object) -> None:
        self.said = [Path(tempfile.mkstemp(dir=folder, prefix=".said-")[1]) for _ in ("out", "errors")]
        self.process = processes().Process(target=_run, args=(words[2:], folder, _variables(environment), self.said))
        self.process.start()

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid or 0, number)

    def ended(self) -> tuple[int | None, str, str]:
        self.process.join(240)
        self.process.kill()
        self.process.join(60)
        out, errors = (file.read_text() for file in self.said)
        return self.process.exitcode, out, errors


def _run(words: list[str], folder: Path, variables: dict[str, str], said: list[Path]) -> None:
    from tapetum.cli import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    torch.set_num_threads(1)
    for number, file in enumerate(said, 1):
        os.dup2(os.open(file, os.O_WRONLY), number)
    sys.argv = ["tapetum", *words]
    main()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    try:
        out, errors = process.communicate(timeout=240)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, errors


def bits(out: Path) -> dict[str, bytes]:
    """All that a scan's folder says: the arrays, what describes them, what was skipped, and the key."""
    files = sorted((out / "results").rglob("*.*"))
    about = json.loads((out / "scan.json").read_text())
    said = json.dumps([about["key"], about["skipped"], about["images"]]).encode()
    assert files
    return {"said": said, **{str(file.relative_to(out)): file.read_bytes() for file in files if file.is_file()}}


class Deadly:
    """A source that ends the process which reads a certain picture: the first time, or every time."""

    def __init__(self, folder: Path, sample: int, *, always: bool = False) -> None:
        self.inner, self.sample, self.always, self.mark = as_source(folder / "photos"), sample, always, folder / "died"
        self.name, self.ids, self.labels = self.inner.name, self.inner.ids, self.inner.labels
        self.mark.unlink(missing_ok=True)

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def read(self, sample: int) -> torch.Tensor:
        if sample == self.sample and (self.always or not self.mark.exists()):
            self.mark.touch()
            os._exit(1)
        return self.inner.read(sample)


class Stumbling(Deadly):
    """A source with an error that nobody foresaw, or one of ours."""

    def read(self, sample: int) -> torch.Tensor:
        if sample == self.sample:
            raise TapetumError("one of ours") if self.always else RuntimeError("nobody foresaw")
        return self.inner.read(sample)
