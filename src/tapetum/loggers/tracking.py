"""Loggers for W&B and Trackio, which share an interface: a run is begun with its settings, given numbers, and finished."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tapetum.loggers.base import package
from tapetum.types import TapetumError

PROJECT = "tapetum"


class _Tracked:
    """Logs to a run on a tracking site; the same folder and settings continue the same run."""

    def __init__(self, module: str, about: Mapping[str, Any], instead: str, **named: str) -> None:
        self.site = package(module, module)
        try:
            with contextlib.redirect_stdout(sys.stderr):  # standard output is for results
                self.run = self.site.init(project=PROJECT, config=dict(about), resume="allow", **named)
        except Exception as error:  # no account, no network, ...: each site has errors of its own
            reason = " ".join(str(error).split())[:200]
            raise TapetumError(f"{module} cannot begin ({reason}); {instead}") from error

    def log(self, values: Mapping[str, float | int], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self.site.finish()


class WeightsAndBiases(_Tracked):
    """Logs to W&B (https://wandb.ai); with WANDB_MODE=offline everything stays below the folder, for a later `wandb sync`."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        package("wandb", "wandb")  # refused before a folder is made
        folder.mkdir(parents=True, exist_ok=True)
        instead, run = "WANDB_MODE=offline keeps the run here", _id(folder, about)
        super().__init__("wandb", about, instead, dir=str(folder), name=folder.name, id=run)


class Trackio(_Tracked):
    """Logs to Trackio (https://github.com/gradio-app/trackio), which keeps runs on this computer; `trackio show` shows them."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        super().__init__("trackio", about, "--log jsonl needs nothing", name=f"{folder.name}-{_id(folder, about)}")


def _id(folder: Path, about: Mapping[str, Any]) -> str:
    return hashlib.sha256(repr((str(folder), sorted(about.items()))).encode()).hexdigest()[:12]
