"""Reads and applies settings that a model's name or factory leaves open, given as texts or as `wrap` takes them.

    with_settings(load("net.py:build"), {"labels": "names.txt", "size": "64x128", "outputs": "sigmoid"})

`model.settings` keeps them as plain data, so that provenance records them and `reproduce` applies them again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing, as_pair
from tapetum.files import array_in, opened, shown
from tapetum.models.extra import checked_extra
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.naming import as_labels
from tapetum.models.zoo.wrapping import BY_TRIAL, assumed, checked_outputs
from tapetum.notes import is_caution
from tapetum.types import ModelError
from tapetum.types.text import split_names

Settings = Mapping[str, Any]


def plain_settings(given: Settings) -> dict[str, Any]:
    """Reads and checks settings; returns them as data for JSON: texts become numbers, a file of labels becomes its names."""
    unknown = [name for name in given if name not in READ]
    if unknown:
        raise ModelError(f"a model has no setting '{unknown[0]}'; there are {', '.join(READ)}")
    return {name: READ[name](value) for name, value in given.items() if value is not None}


def with_settings(model: VisionModel, given: Settings) -> VisionModel:
    """Returns a model of the same module with the settings given: labels, preprocessing, outputs or further inputs."""
    settings = plain_settings(given)
    if not settings:
        return model
    twin = model.around(model.module)
    twin.settings = {**model.settings, **settings}
    twin.preprocessing = _preprocessing(model, settings)
    twin.labels = tuple(settings["labels"]) if "labels" in settings else model.labels
    twin.outputs = settings.get("outputs", model.outputs)
    twin.head = settings.get("head", model.head)
    twin.extra = {**model.extra, **checked_extra({name: extra_rows(text) for name, text in settings.get("extra", {}).items()})}
    twin.notes = tuple(_notes(model, twin.preprocessing, settings))
    return twin


def for_wrap(settings: Settings, module: nn.Module) -> dict[str, Any]:
    """Picks the settings without which `wrap` might refuse a factory's bare module, or mistake its size or channels."""
    shapes = {name: settings[name] for name in ("size", "resize") if name in settings}
    if any(isinstance(part, nn.Conv2d) for part in module.modules()):  # its weights say how many channels images have
        return shapes
    return {**shapes, **{name: settings[name] for name in ("mean", "std") if len(settings.get(name, ())) > 1}}


def _preprocessing(model: VisionModel, settings: Settings) -> Preprocessing:
    old = model.preprocessing
    new = old.at(settings["size"]) if "size" in settings else old
    new = replace(new, resize=settings["resize"]) if "resize" in settings else new
    new = replace(new, range=tuple(settings["range"])) if "range" in settings else new
    channels = max(len(settings.get(name, ())) for name in ("mean", "std"))
    channels = old.channels if channels <= 1 else channels
    constants = {}
    for name in ("mean", "std"):
        numbers = tuple(settings.get(name, getattr(old, name)))
        constants[name] = numbers * channels if len(numbers) == 1 else numbers
        if len(constants[name]) != old.channels:
            raise ModelError(
                f"--{name} has {len(constants[name])} numbers, and {model.name} takes {old.channels} channels: give one for "
                "each, or one for all"
            )
    return replace(new, **constants)


def _notes(model: VisionModel, preprocessing: Preprocessing, settings: Settings) -> list[str]:
    """Returns the model's notes without those that the settings make obsolete."""
    kept = [one for one in model.notes if not ("size" in settings and one.endswith(BY_TRIAL))]
    if not settings.keys() & {"mean", "std"}:
        return kept
    said = [one for one in kept if not is_caution(one)]
    return said if settings.keys() >= {"mean", "std"} or said == kept else [*said, assumed(preprocessing)]


# --- reading


def _labels(given: Any) -> list[str]:
    """Reads labels from a file with a name per line, or from names with commas between; one word without a dot is one name."""
    if not isinstance(given, str):
        return list(as_labels(given))
    if os.path.isfile(given):
        return list(as_labels(Path(given)))
    names = split_names(given)
    if not names or (len(names) == 1 and ("." in given or "/" in given)):
        raise ModelError(f"--labels: there is no file {given}; give a file with a name per line, or names with commas between")
    return names


def _numbers(name: str) -> Callable[[Any], list[float]]:
    def read(given: Any) -> list[float]:
        parts = given.split(",") if isinstance(given, str) else [given] if isinstance(given, (int, float)) else given
        try:
            numbers = [float(part) for part in parts]
        except (TypeError, ValueError):
            numbers = []
        if not numbers or not all(np.isfinite(numbers)) or (name == "std" and min(numbers) <= 0):
            above = " above zero" if name == "std" else ""
            raise ModelError(f"--{name} is one number{above}, or one per channel with commas between, not {given!r}")
        return numbers

    return read


def _resize(given: Any) -> int | str:
    text = str(given)
    if not text.isdecimal() and text not in ("crop", "squash"):
        raise ModelError(f"--resize is crop, squash, or the shorter side in px, not {given!r}")
    return int(text) if text.isdecimal() else text


def _range(given: Any) -> list[float]:
    try:
        low, high = (float(end) for end in (given.split(",") if isinstance(given, str) else given))
    except (TypeError, ValueError):
        low, high = 0.0, 0.0
    if not -np.inf < low < high < np.inf:
        raise ModelError(f"--range is low,high, the raw values that stand for black and white, as in 0,4095, not {given!r}")
    return [low, high]


def _head(given: Any) -> int | str:
    return int(given) if str(given).isdecimal() else str(given)


def _extra(given: Any) -> dict[str, str]:
    """Returns further inputs as {keyword: text}, from a mapping or from texts "keyword=..."; checks each text.

    A text is numbers with commas between, or the name of a .npy file.
    """
    if isinstance(given, Mapping):
        pairs = {str(name): str(value) for name, value in given.items()}
    else:
        texts: Sequence[str] = [given] if isinstance(given, str) else list(given)
        wrong = [text for text in texts if "=" not in text]
        if wrong:
            raise ModelError(f"--extra is name=value, as in age=58.0 or age=ages.npy, not {wrong[0]!r}")
        pairs = {name.strip(): value.strip() for name, _, value in (text.partition("=") for text in texts)}
    for text in pairs.values():
        extra_rows(text)
    return pairs


def extra_rows(text: str) -> Tensor:
    """Reads a further input from a text: a .npy file (n, ...); one number, as (1,) for all images; k numbers, as (1, k)."""
    if text.endswith(".npy"):
        return _array(text)
    try:
        numbers = [int(part) if part.strip().lstrip("+-").isdecimal() else float(part) for part in text.split(",")]
    except ValueError:
        raise ModelError(f"--extra: {shown(repr(text))} is neither numbers with commas between nor a .npy file") from None
    if any(isinstance(number, int) and abs(number) >= 1 << 63 for number in numbers):
        raise ModelError(f"--extra: {shown(text)} has a whole number that is too large: write it as 1e20")
    real = any(isinstance(number, float) for number in numbers)
    row = torch.tensor(numbers, dtype=torch.get_default_dtype() if real else torch.long)
    return row if len(numbers) == 1 else row[None]


def _array(name: str) -> Tensor:
    with opened(name, ModelError) as file:
        size = os.fstat(file.fileno()).st_size
        array = array_in(file, size, shown(name), size, ModelError)
    if array.dtype.kind in "US":
        raise ModelError(f"--extra: {shown(name)} holds texts, not numbers")
    return torch.as_tensor(array.astype(array.dtype.newbyteorder("=")))


READ: dict[str, Callable[[Any], Any]] = {
    "labels": _labels,
    "size": lambda given: list(as_pair(given)),
    "resize": _resize,
    "mean": _numbers("mean"),
    "std": _numbers("std"),
    "range": _range,
    "outputs": checked_outputs,
    "head": _head,
    "extra": _extra,
}
"""{setting: function that reads and checks its value}."""
