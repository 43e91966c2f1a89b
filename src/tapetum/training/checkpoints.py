"""Saves a training after each epoch, in a file that is complete or absent, so that a stopped run can be resumed.

epoch_003.safetensors   weights, optimizer, snapshots; in the header the settings, the history, and a checksum over all
history.json            the history for people and other programs
model.safetensors, model.json   the trained network, which `tp.load` takes

The file of an epoch that is damaged, or that this training cannot have written, is skipped in favour of the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from tapetum.files import fits, misfit, opened, parsed, shown, tensors_in
from tapetum.keeping.keyed import Key
from tapetum.keeping.places import ELSEWHERE, removed
from tapetum.keeping.whole import clear_leftovers, write_whole
from tapetum.models.zoo.trained import write_tensors
from tapetum.training.loop import TrainingState
from tapetum.types import DamagedError, Epoch, TrainingError

NAME = re.compile(r"epoch_([0-9]{3,9})\.safetensors")
HISTORY = "history.json"
OWN = re.compile(r"epoch_[0-9]{3,9}\.safetensors|history\.json|model\.(safetensors|json)")
"""Names of the files that a training writes into its folder."""
AT_HAND = 2  # number of epochs' files that are kept, so that a damaged last one does not end the training
LARGEST = 16_000_000_000
"""Largest size in bytes of an epoch's file; hashing that many takes about ten seconds."""

ADAM = {"step", "exp_avg", "exp_avg_sq"}
"""Names in Adam's state of each weight: a number, and two tensors of the weight's shape."""


@dataclass(frozen=True)
class _Saved:
    """Content of an epoch's file, with a correct checksum."""

    settings: Mapping[str, Any]
    epochs: list[Epoch]
    kept: int
    tensors: Mapping[str, Tensor]


def save_epoch(folder: Path, state: TrainingState, settings: Mapping[str, Any]) -> None:
    """Writes the state after an epoch and the history, then deletes older epochs' files except the last."""
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in state.best.items()}
    tensors |= {f"snapshot.{i}": tensor for i, tensor in enumerate(state.snapshots)}
    for place, values in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{place}.{name}": tensor for name, tensor in values.items()}
    about = {"settings": dict(settings), "kept": state.kept, "epochs": [asdict(epoch) for epoch in state.epochs]}
    folder.mkdir(parents=True, exist_ok=True)
    number, text = len(state.epochs), json.dumps(about)
    file, history = folder / f"epoch_{number:03d}.safetensors", folder / HISTORY
    for path in (file, history):
        if path.is_dir():
            removed(path)
    write_tensors(file, tensors, {"tapetum": text, "sha256": _digest(tensors, text)})
    write_whole(history, json.dumps(about, indent=1, ensure_ascii=False).encode(), ELSEWHERE)
    for old in _numbers(folder):
        if old <= number - AT_HAND or old > number:
            removed(folder / f"epoch_{old:03d}.safetensors")


def go_on(folder: Path, state: TrainingState, settings: Mapping[str, Any], *, resume: bool) -> tuple[str, ...]:
    """Loads the newest undamaged epoch of a folder into the state; returns notes about damaged ones.

    A folder of another training is refused; without `resume`, the files of an earlier training are deleted.
    """
    clear_leftovers(folder)
    for path in () if resume else [path for path in folder.iterdir() if OWN.fullmatch(path.name)]:
        removed(path)
    notes: list[str] = []
    for number in reversed(_numbers(folder)):
        path = folder / f"epoch_{number:03d}.safetensors"
        try:
            saved = _read(path)
            key = Key(settings)
            if key.difference(saved.settings):
                raise TrainingError(key.refusal(shown(folder), "training", saved.settings))
            if len(saved.epochs) != number or not _is_whole(saved, _wanted(state)):
                raise DamagedError(f"{shown(path)} is damaged: it is no epoch {number} of this network")
        except DamagedError as error:
            notes.append(f"{error}; the epoch before it went on")
        else:
            _put(saved, state)
            break
    else:
        notes = [note.replace("the epoch before it went on", "the training began again") for note in notes]
    return tuple(notes)


def _numbers(folder: Path) -> list[int]:
    found = (NAME.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted({int(match[1]) for match in found if match})


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    """Returns the SHA-256 of the header's text and of every tensor, since safetensors has no checksum of its own."""
    whole = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        plain = tensors[name].detach().cpu().contiguous()
        whole.update(f"{name} {plain.dtype} {list(plain.shape)}".encode())
        whole.update(plain.reshape(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
    return whole.hexdigest()


# --- reading


def _read(path: Path) -> _Saved:
    """Reads an epoch's file and verifies its checksum, whatever training it belongs to."""
    text, digest, tensors = _tensors(path)
    if digest != _digest(tensors, text):
        raise DamagedError(f"{shown(path)} is damaged: it was changed since it was written")
    saved = _told(parsed(text, shown(path)), tensors)
    if saved is None:
        raise DamagedError(f"{shown(path)} is damaged: it does not say what was trained")
    return saved


def _tensors(path: Path) -> tuple[str, str, dict[str, Tensor]]:
    """Returns the header's text, its checksum, and the tensors, whose bytes are read from the file when first used."""
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > LARGEST:
            raise DamagedError(f"{shown(path)} is damaged: larger than {LARGEST / 1e9:g} GB")
    try:
        told, tensors = tensors_in(path)
    except Exception as error:  # whatever safetensors makes of damaged bytes
        raise DamagedError(f"{shown(path)} is damaged ({type(error).__name__})") from error
    return told.get("tapetum", ""), told.get("sha256", ""), tensors


def _wanted(state: TrainingState) -> dict[str, Tensor]:
    """Returns {name: a tensor of the type and shape that this training stores under the name}."""
    own = state.network.state_dict()
    found = {f"{part}.{name}": tensor for part in ("network", "best") for name, tensor in own.items()}
    weights = [weight for group in state.optimizer.param_groups for weight in group["params"]]
    for i, weight in enumerate(weights):
        found |= {f"optimizer.{i}.{key}": torch.zeros(()) if key == "step" else weight for key in ADAM}
    return found | {f"snapshot.{i}": tensor for i, tensor in enumerate(state.snapshots)}


def _is_like(name: str, tensor: Tensor, wanted: Mapping[str, Tensor]) -> bool:
    like = wanted.get("snapshot.0" if name.startswith("snapshot.") else name)
    return like is not None and tensor.shape == like.shape and (tensor.dtype == like.dtype or name.endswith(".step"))


def _told(about: Any, tensors: Mapping[str, Tensor]) -> _Saved | None:
    """Returns the content of an epoch's file from its header and tensors; None if the header is not one of an epoch."""
    if not isinstance(about, dict):
        return None
    settings, epochs, kept = (cast("dict[str, Any]", about).get(name) for name in ("settings", "epochs", "kept"))
    if not isinstance(settings, dict) or not isinstance(epochs, list) or not fits(kept, int):
        return None
    rows = cast("list[Any]", epochs)
    if any(not isinstance(row, dict) or misfit(Epoch, cast("dict[str, Any]", row)) for row in rows):
        return None
    return _Saved(cast("dict[str, Any]", settings), [Epoch(**row) for row in rows], cast("int", kept), tensors)


def _is_whole(saved: _Saved, wanted: Mapping[str, Tensor]) -> bool:
    """Checks whether a file has the whole network in its types, a finite optimizer state, and consistent epoch numbers."""
    own = {name for name in wanted if name.startswith("network.")}
    best = {name for name in saved.tensors if name.startswith("best.")}
    snapshots = sorted(name for name in saved.tensors if name.startswith("snapshot."))
    numbers = list(range(1, len(saved.epochs) + 1))
    return (
        all(_is_like(name, one, wanted) for name, one in saved.tensors.items())
        and own <= saved.tensors.keys()
        and best in (set(), {name.replace("network.", "best.", 1) for name in own})
        and set(snapshots) == {f"snapshot.{i}" for i in range(len(snapshots))}
        and len(snapshots) == (len(numbers) + 1 if "snapshot.0" in wanted else 0)
        and [epoch.number for epoch in saved.epochs] == numbers
        and saved.kept in numbers
        and all(bool(torch.isfinite(one).all()) for name, one in saved.tensors.items() if name.startswith("optimizer."))
    )


def _put(saved: _Saved, state: TrainingState) -> None:
    state.network.load_state_dict(_below(saved.tensors, "network"))
    state.best = _below(saved.tensors, "best")
    state.snapshots = [saved.tensors[f"snapshot.{i}"] for i in range(len(_below(saved.tensors, "snapshot")))]
    state.epochs, state.kept = saved.epochs, saved.kept
    _load_optimizer(state.optimizer, _below(saved.tensors, "optimizer"))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{prefix}."): one for name, one in tensors.items() if name.startswith(f"{prefix}.")}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, _, key = name.partition(".")
        values.setdefault(int(place), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": values})
