"""Every kind of whole file and folder that tapetum writes, each as a function of a place, and a process that dies in one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import tapetum as tp
from tapetum.atlas.sheets import write_sheets
from tapetum.atlas.stages import BuildStages
from tapetum.data.downloads import download
from tapetum.data.images import write_png
from tapetum.engines.scan import FolderLedger, ShardResult
from tapetum.keeping import whole
from tapetum.keeping.keyed import Kept, Key
from tapetum.models.zoo.trained import write_tensors
from tapetum.reports.machine import write_json
from tapetum.reports.page import write_page
from tapetum.store import save_again
from tapetum.types import Rendering

SIDE = 8


def levels(version: int) -> Tensor:
    return torch.full((3, SIDE, SIDE), version / 10)


def rendering(version: int) -> Rendering:
    pixels = torch.stack([levels(version), levels(0)])
    return Rendering(pixels, torch.zeros(2), ("a", "b"), ("ok", "ok"))


def shard(place: Path, version: int) -> None:
    ledger = FolderLedger(place)
    ledger.open(Key({"data": "these"}), resume=True)
    ledger.write(ShardResult(0, {"layer": [{"n": torch.tensor(version)}]}))


def manifest(place: Path, version: int) -> None:
    stages = BuildStages(place)
    stages.tell(title=f"version {version}")
    stages.save()


def fetched(place: Path, version: int) -> None:
    download(f"data:,{str(version) * 1000}", place / "weights.pth", lambda part: None)


WRITERS: dict[str, Callable[[Path, int], Any]] = {
    "save": lambda place, version: save_again({"version": version}, place / "saved"),
    "film": lambda place, version: tp.animate(rendering(version), place / "film.gif"),
    "page": lambda place, version: write_page(place / "report.html", str(version), (), ""),
    "report": lambda place, version: write_json(place / "report.json", {"version": version}),
    "picture": lambda place, version: write_png(place / "picture.png", levels(version)),
    "download": fetched,
    "network": lambda place, version: write_tensors(place / "model.safetensors", {"weight": levels(version)}),
    "shard": shard,
    "manifest": manifest,
    "sheets": lambda place, version: write_sheets(
        levels(version)[None].mul(255).byte().permute(0, 2, 3, 1).numpy(), place, "a"
    ),
    "piece": lambda place, version: Kept(place / "kept", Key({})).write("piece.json", json.dumps(version).encode()),
}


def written(name: str, place: str, version: int, dies: bool = False, times: int = 1) -> None:
    """Writes; with `dies` the process kills itself when all of the last file or folder is written, but not under its name."""
    if dies:
        whole._sync = whole._sync_all = lambda path: _die_at_last(name, path)
    for _ in range(times):
        WRITERS[name](Path(place), version)


def _die_at_last(name: str, path: Path) -> None:
    if name != "shard" or b'"facts"' not in path.read_bytes():  # its plan comes before
        os.kill(os.getpid(), signal.SIGKILL)


def planted(place: str) -> None:
    """Writes a planted set and is killed when its last file is."""
    whole._sync_all = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    tp.planted("objects", 2).write(Path(place) / "set")
