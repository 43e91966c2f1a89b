"""Networks that were trained here: a folder with their weights and what is needed to build them again.

model.safetensors   the weights
model.json          architecture, classes, preprocessing
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from tapetum.appearing import appearing
from tapetum.data.preprocessing import Preprocessing, as_pair
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import with_head
from tapetum.models.zoo.simple_cnn import SimpleCNN
from tapetum.models.zoo.weights import load_weights
from tapetum.types import ModelError

SCHEMA = 1
ABOUT, WEIGHTS = "model.json", "model.safetensors"


def is_trained(folder: str | Path) -> bool:
    """Whether a network of ours lies there."""
    return (Path(folder) / ABOUT).is_file()


def load_trained(folder: str | Path, pretrained: bool, build: Callable[[str, Mapping[str, Any]], VisionModel]) -> VisionModel:
    """The network of a folder, with its weights or with random ones; `build` makes the networks that have names."""
    folder = Path(folder)
    about = _about(folder)
    model = _built(about["architecture"], folder, build)
    try:
        model.preprocessing = _preprocessing(about["preprocessing"])
        model.name, model.labels, model.source = about["name"], tuple(about["classes"]), str(folder.resolve())
    except (KeyError, TypeError) as error:
        raise ModelError(f"{folder / ABOUT} is damaged ({type(error).__name__}: {error})") from error
    if pretrained:
        load_weights(model.module, folder / WEIGHTS)
    model.module.eval()
    return model


def save_trained(model: VisionModel, folder: Path, architecture: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Writes both files, each complete or not at all; model.json, which makes the folder a network, comes last."""
    write_tensors(folder / WEIGHTS, tensors)
    about = {
        "schema": SCHEMA,
        "tapetum": version("tapetum"),
        "name": model.name,
        "architecture": dict(architecture),
        "classes": list(model.labels or ()),
        "preprocessing": asdict(model.preprocessing),
    }
    write_whole(folder / ABOUT, lambda part: part.write_text(json.dumps(about, indent=1, ensure_ascii=False), "utf-8"))


def architecture_of(model: VisionModel, head: str | None) -> dict[str, Any]:
    """What builds the network again: SimpleCNN's own numbers, or what `load` takes and the head that was replaced."""
    if isinstance(model.module, SimpleCNN):
        return {"kind": "simple_cnn", "widths": list(model.module.widths), "hidden": model.module.hidden}
    told = {name: model.settings[name] for name in ("size", "resize", "mean", "std") if name in model.settings}
    return {"kind": "named", "source": model.source, "head": head, "call": model.call is not None, "settings": told}


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None) -> None:
    """A safetensors file: there when it is complete."""
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    write_whole(path, lambda part: part.write_bytes(save(plain, dict(about or {}))))


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Writes a file that appears when it is complete; where that cannot be, says so."""
    try:
        with appearing(path) as part:
            write(part)
    except OSError as error:
        raise ModelError(f"{path} cannot be written ({error.strerror or error}); choose another place") from error


def _about(folder: Path) -> dict[str, Any]:
    try:
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        schema, _ = about["schema"], about["architecture"]["kind"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{folder / ABOUT} describes no trained network ({type(error).__name__})") from error
    if schema != SCHEMA:
        raise ModelError(f"{folder} was saved with schema {schema}, this version reads {SCHEMA}")
    return about


def _built(
    architecture: Mapping[str, Any], folder: Path, build: Callable[[str, Mapping[str, Any]], VisionModel]
) -> VisionModel:
    classes = len(_about(folder)["classes"])
    if architecture["kind"] == "simple_cnn":
        module = SimpleCNN(classes, tuple(architecture["widths"]), architecture["hidden"])
        return VisionModel(module, "simple_cnn", Preprocessing(), outputs="logits")
    source = architecture["source"]
    try:
        model = build(source, architecture.get("settings", {}))
    except ModelError as error:
        raise ModelError(
            f"{folder} holds the weights of {source}, which has no name that builds it again: build it, and"
            f" load {WEIGHTS} into it"
        ) from error
    if architecture["head"] is not None:
        with_head(model, architecture["head"], classes)
    return model


def _preprocessing(saved: Mapping[str, Any]) -> Preprocessing:
    """As saved: lists for tuples; the first networks have one number for a square, and no `resize` where they squash."""
    found = {key: _tuple(one) for key, one in saved.items()}
    found = {key: _tuple(one) for key, one in saved.items()}
    return Preprocessing(**{**found, "size": as_pair(found["size"]), "resize": found["resize"] or "squash"})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
