"""A scan in a process of its own that can be killed: what the process runs, importable by it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import tapetum as tp
from tapetum.data.streams import as_source
from tapetum.keeping import whole

BATCH, SHARD = 4, 8
LAYER = "0"


class Slow:
    """A source that takes its time, and writes down the samples it is asked for, in a file that outlives the process."""

    def __init__(self, folder: str | Path, log: str | Path, seconds: float) -> None:
        self.inner, self.log, self.seconds = as_source(folder), str(log), seconds
        self.name, self.ids, self.labels = self.inner.name, self.inner.ids, self.inner.labels

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def read(self, sample: int) -> Tensor:
        time.sleep(self.seconds)
        with open(self.log, "a") as file:
            file.write(f"{sample}\n")
        return self.inner.read(sample)


def noise(place: Path, pictures: int) -> None:
    """Pictures of noise, 00.png and on."""
    generator = torch.Generator().manual_seed(2)
    for i in range(pictures):
        levels = torch.randint(0, 256, (18, 20, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(levels.numpy()).save(place / f"{i:02d}.png")


def network() -> Any:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3))
    return tp.wrap(module, size=16, mean=(0.5,) * 3, std=(0.25,) * 3, name="small")


def trackers() -> dict[str, Sequence[Any]]:
    return {LAYER: [tp.Spectrum(k=3), tp.TopK(k=2)], "2": [tp.Spectrum(k=4)]}


def scanned(folder: Path, out: Any, **settings: Any) -> Any:
    return tp.scan(network(), folder, trackers(), out=out, batch=BATCH, shard=SHARD, **settings)


def scan_into(folder: str, out: str, log: str, seconds: float, workers: int, die_in_write: int = 0) -> None:
    """Scans; with `die_in_write` the process kills itself in the middle of that write of a file, half of which is there."""
    torch.set_num_threads(1)
    if die_in_write:
        _kill_in_write(die_in_write)
    Path(log).touch()
    tp.scan(network(), Slow(folder, log, seconds), trackers(), out=out, batch=BATCH, shard=SHARD, workers=workers)


def _kill_in_write(number: int) -> None:
    """Of plan.json (the first) or of a shard (those after it)."""
    write, count = whole._write, iter(range(1, 1000))

    def dying(path: Path, data: bytes) -> None:
        if next(count) == number:
            path.with_name(f".tapetum-{'0' * 32}").write_bytes(data[: len(data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, data)

    whole._write = dying
