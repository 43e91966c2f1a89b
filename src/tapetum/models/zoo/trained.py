"""Saves and loads networks trained with this library: a folder with the weights and what is needed to build the network.

model.safetensors   the weights
model.json          architecture, classes, preprocessing, the checksum of the weights
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from operator import mul
from pathlib import Path
from typing import Any, get_args

from safetensors.torch import save
from torch import Tensor

from tapetum.data.preprocessing import Interpolation, Preprocessing, as_pair
from tapetum.files import checksum, inside, shown, table_in
from tapetum.keeping.places import ELSEWHERE
from tapetum.keeping.whole import write_whole
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import head_inputs, with_head
from tapetum.models.zoo.named import is_count, is_setting, is_texts, settings_in_file
from tapetum.models.zoo.simple_cnn import SimpleCNN
from tapetum.models.zoo.weights import load_weights
from tapetum.types import ModelError

SCHEMA = 2
ABOUT, WEIGHTS = "model.json", "model.safetensors"

WIDEST = 100_000
SMALL = 1_000_000
"""Number of weights up to which a network is built without comparing it with the size of its file."""


def is_trained(folder: str | Path) -> bool:
    """Checks whether a folder holds a network that was trained with this library: it has a model.json."""
    return os.path.isfile(os.path.join(folder, ABOUT))


Builder = Callable[[str, Mapping[str, Any]], VisionModel]
"""Builds the network that training began with, from its name and settings in model.json, or refuses to."""


def load_trained(folder: str | Path, pretrained: bool, build: Builder) -> VisionModel:
    """Loads the network of a folder, with its weights or, without `pretrained`, random ones.

    The files are treated as data: they are checked, and no code in them is run.
    """
    folder = Path(folder)
    about = _about(folder)
    weights = inside(folder, WEIGHTS)
    model = _built(about["architecture"], len(about["classes"]), folder, build)
    model.preprocessing, model.name, model.labels = about["preprocessing"], about["name"], tuple(about["classes"])
    if pretrained:
        if checksum(weights, refusal=ModelError) != about["sha256"]:
            raise ModelError(f"{shown(weights)} is damaged: it was changed since {ABOUT} was written beside it")
        load_weights(model.module, weights)
    model.module.eval()
    return model


def save_trained(model: VisionModel, folder: Path, architecture: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes model.safetensors, then model.json, each completely or not at all; only model.json makes the folder a network."""
    write_tensors(folder / WEIGHTS, tensors)
    about = {
        "schema": SCHEMA,
        "tapetum": version("tapetum"),
        "name": model.name,
        "architecture": dict(architecture),
        "classes": list(model.labels or ()),
        "preprocessing": asdict(model.preprocessing),
        "sha256": checksum(folder / WEIGHTS),
    }
    write_whole(folder / ABOUT, json.dumps(about, indent=1, ensure_ascii=False).encode(), ELSEWHERE)


def architecture_of(model: VisionModel, head: str | None) -> dict[str, Any]:
    """Returns what is needed to build the network again: SimpleCNN's widths, or `load`'s argument and the replaced head."""
    if isinstance(model.module, SimpleCNN):
        return {"kind": "simple_cnn", "widths": list(model.module.widths), "hidden": model.module.hidden}
    told = {name: model.settings[name] for name in ("size", "resize", "mean", "std") if name in model.settings}
    return {"kind": "named", "source": model.source, "head": head, "call": model.call is not None, "settings": told}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """Writes a safetensors file, completely or not at all, with `about` as its metadata."""
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(plain, dict(about or {})), ELSEWHERE)


# --- contents of model.json


def _about(folder: Path) -> dict[str, Any]:
    """Reads and checks a folder's model.json before anything is built; returns it with "preprocessing" as a `Preprocessing`."""
    file = shown(folder / ABOUT)
    about = table_in(inside(folder, ABOUT), refusal=ModelError)
    if about.get("schema") != SCHEMA:
        raise ModelError(f"{file} was saved with schema {shown(about.get('schema'))}, this version reads {SCHEMA}")
    for name, fits in FIELDS.items():
        if not fits(about.get(name)):
            raise ModelError(f"{file} is damaged: its {name} is {shown(repr(about.get(name)))}")
    try:
        return {**about, "preprocessing": _preprocessing(about["preprocessing"])}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{file} is damaged: its preprocessing is none ({type(error).__name__}: {shown(error)})") from error


def _is_architecture(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if value.get("kind") == "simple_cnn":
        widths, hidden = value.get("widths"), value.get("hidden")
        whole = isinstance(widths, list) and 0 < len(widths) <= 16 and all(is_count(one, WIDEST) for one in widths)
        return whole and (hidden is None or is_count(hidden, WIDEST))
    named = value.get("kind") == "named" and isinstance(value.get("source"), str)
    return named and isinstance(value.get("head"), (str, type(None)))


FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "name": lambda value: isinstance(value, str),
    "classes": lambda value: is_texts(value) and len(value) > 0,
    "preprocessing": lambda value: isinstance(value, dict),
    "architecture": _is_architecture,
    "sha256": lambda value: isinstance(value, str),
}


def _built(architecture: Mapping[str, Any], classes: int, folder: Path, build: Builder) -> VisionModel:
    weights = folder / WEIGHTS
    room = weights.stat().st_size if weights.is_file() else 0
    if architecture["kind"] == "simple_cnn":
        widths, hidden = tuple(architecture["widths"]), architecture.get("hidden")
        _check_room(folder, 9 * sum(map(mul, (3, *widths), widths)) + max(widths[-1], hidden or 0) * classes, room)
        return VisionModel(SimpleCNN(classes, widths, hidden), "simple_cnn", Preprocessing(), outputs="logits")
    told = settings_in_file(shown(folder / ABOUT), architecture.get("settings"))
    model = build(architecture["source"], told)
    if (head := architecture.get("head")) is not None:
        _check_room(folder, classes * head_inputs(model, head), room)
        with_head(model, head, classes)
    return model


def _check_room(folder: Path, numbers: int, room: int) -> None:
    """Refuses a network with more weights, `numbers`, than its file has bytes, `room`, before it takes memory for nothing."""
    if numbers > max(room, SMALL):
        raise ModelError(f"{shown(folder / ABOUT)} is damaged: {numbers:,} weights do not fit into {WEIGHTS}")


def _preprocessing(saved: Mapping[str, Any]) -> Preprocessing:
    """Reads saved preprocessing, also in the first format: one number for a square size, no `resize` for "squash"."""
    size, resize = list(as_pair(saved["size"])), saved["resize"] or "squash"
    plain = {**saved, "size": size, "resize": resize}
    wrong = [key for key, one in plain.items() if key != "interpolation" and one is not None and not is_setting(key, one)]
    if wrong or saved["interpolation"] not in get_args(Interpolation) or len(saved["mean"]) != len(saved["std"]):
        raise ValueError(", ".join(wrong) or "interpolation, mean, std")
    made: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in plain.items()}
    return Preprocessing(**made)
