"""A training on disk: each epoch one file that is complete or not there, so that a run can go on from any moment.

epoch_003.safetensors   weights, optimizer, snapshots; in its header what is trained and how, and the history
history.json            the history for people and other programs
model.safetensors, model.json   the trained network, which `tp.load` takes
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from tapetum.models.zoo.trained import write_tensors, write_whole
from tapetum.training.loop import State
from tapetum.types import Epoch, TrainingError

NAME = re.compile(r"epoch_(\d{3,})\.safetensors")
HISTORY = "history.json"
OWN = re.compile(r"epoch_\d{3,}\.safetensors|history\.json|model\.(safetensors|json)|\.[0-9a-f]{32}\.part")
"""Files of a training's folder."""
AT_HAND = 2  # the newest files that are kept: should the last be damaged, there is another


def save_epoch(folder: Path, state: State, settings: Mapping[str, Any]) -> None:
    """Writes the state after an epoch, then takes older files away."""
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    tensors |= {f"snapshot.{i}": tensor for i, tensor in enumerate(state.snapshots)}
    for place, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in values.items()}
    about = {"settings": dict(settings), "kept": state.kept, "epochs": [asdict(epoch) for epoch in state.epochs]}
    folder.mkdir(parents=True, exist_ok=True)
    number = len(state.epochs)
    write_tensors(folder / f"epoch_{number:03d}.safetensors", tensors, {"tapetum": json.dumps(about)})
    write_whole(folder / HISTORY, lambda part: part.write_text(json.dumps(about, indent=1, ensure_ascii=False), "utf-8"))
    for old in _numbers(folder):
        if old <= number - AT_HAND or old > number:
            (folder / f"epoch_{old:03d}.safetensors").unlink(missing_ok=True)


def go_on(folder: Path, state: State, settings: Mapping[str, Any]) -> None:
    """Puts the newest epoch of the folder into the state; nothing where there is none. Another run's is refused."""
    numbers = _numbers(folder)
    if not numbers:
        return
    path = folder / f"epoch_{numbers[-1]:03d}.safetensors"
    about, tensors = _read(path)
    _check_settings(folder, about["settings"], settings)
    state.network.load_state_dict(_below(tensors, "network"))
    state.best = _below(tensors, "best")
    state.snapshots = [tensors[f"snapshot.{i}"] for i in range(sum(name.startswith("snapshot.") for name in tensors))]
    state.epochs = [Epoch(**epoch) for epoch in about["epochs"]]
    state.kept = int(about["kept"])
    _load_optimizer(state.optimizer, _below(tensors, "optimizer"))


def forget(folder: Path) -> None:
    """Takes an earlier training's files away."""
    for path in list(folder.iterdir()) if folder.is_dir() else ():
        if OWN.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _numbers(folder: Path) -> list[int]:
    found = (NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(match[1]) for match in found if match)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["tapetum"])
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path} is damaged ({type(error).__name__}): delete it, and the epoch before goes on") from error


def _check_settings(folder: Path, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    for name, value in ours.items():
        if theirs.get(name) != value:
            what = f"{name} {theirs.get(name)}, not {value}" if len(str(value)) < 40 else f"another {name}"
            raise TrainingError(
                f"{folder} holds a training with {what}: give another folder, or resume=False (--no-resume) to begin again"
            )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, _, key = name.partition(".")
        values.setdefault(int(place), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
