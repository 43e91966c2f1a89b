"""Checks models that files name: an atlas's manifest, a trained network's model.json, the provenance of a picture.

A file from elsewhere must not choose code to run, files to read on this computer or addresses to contact. So the file may name
a model of the zoo, weights that lie beside the file, and settings that are plain data. Anything else is used only if the user
names it: by --model on the command line, or `model=` in Python.
"""

from __future__ import annotations

import importlib
import math
import re
import shlex
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import timm

from tapetum.files import inside, is_plain, shown
from tapetum.models.zoo.built_in import BUILT_IN
from tapetum.models.zoo.dense import torchvision_builders
from tapetum.types import ModelError

LARGEST = 4096
"""Largest side of images in px that a file may ask for, more than any network here takes, so that none asks for gigabytes."""


def named_in_file(
    by: str, source: Any, weights: Any, settings: Any, *, beside: str | Path, vouched: Collection[str] = ()
) -> tuple[str, str, dict[str, Any]]:
    """Checks a model's description in a file before anything is built; returns name, weights and settings for `loaded`.

    Args:
        by: the file's name for error messages.
        source, weights, settings: the values in the file, of any types.
        beside: the file's folder, where weights may lie as .safetensors.
        vouched: files on this computer that the settings may name, since the file has their correct checksums.
    """
    if not isinstance(source, str) or not isinstance(weights, str):
        raise ModelError(f"{by} is damaged: a model is named by a text and so are its weights")
    if not in_zoo(source):
        raise ModelError(
            f"{by} names a model that is somebody's own: no model '{shown(source)}' is in the zoo, and code, folders and files "
            f"are used where you name them: --model {_word(source)}"
        )
    return source, _weights(by, source, weights, Path(beside)), settings_in_file(by, settings, vouched=vouched)


def in_zoo(name: str) -> bool:
    """Checks whether a name means a network that every user has, not a path or a file's code.

    Of the names on the Hugging Face hub, those count that were downloaded to this computer before.
    """
    family, colon, rest = name.partition(":")
    if not colon:
        return name in BUILT_IN or name in torchvision_builders()
    known = _ZOO.get(family)
    return known is not None and known(rest)


def settings_in_file(by: str, settings: Any, said: Collection[str] = (), vouched: Collection[str] = ()) -> dict[str, Any]:
    """Returns checked settings of a model from a file, as plain data, without those in `said`, which the user gives now."""
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise ModelError(f"{by} is damaged: what it says of its model is no table")
    kept = {name: value for name, value in settings.items() if name not in said}
    for name, value in kept.items():
        if name == "extra" and isinstance(value, dict):
            _check_extra(by, value, vouched)
        if not is_setting(name, value):
            hint = f"; say it yourself, --{name}" if name in _PLAIN else ""
            raise ModelError(f"{by} is damaged: its model's {shown(name)} is {shown(repr(value))}{hint}")
    return kept


def is_setting(name: str, value: Any) -> bool:
    """Checks whether a value has the form in which `plain_settings` writes this setting."""
    return name in _PLAIN and _PLAIN[name](value)


# --- names


def _timm(rest: str) -> bool:
    return rest in timm.list_models() or (bool(re.fullmatch(r"[\w.]+", rest)) and rest in timm.list_pretrained())


def _open_clip(rest: str) -> bool:
    try:
        library = importlib.import_module("open_clip")
    except ImportError:
        return bool(re.fullmatch(r"[\w-]+(/[\w-]+)?", rest))  # loading it gives a clear error
    architecture, slash, tag = rest.partition("/")
    known = architecture in library.list_models()
    return known and (not slash or tag in library.list_pretrained_tags_by_model(architecture))


def _on_the_hub(rest: str) -> bool:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", rest) or Path(rest).exists():  # a folder here would be read instead
        return False
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return False
    return isinstance(hub.try_to_load_from_cache(rest, "config.json"), str)


_ZOO: Mapping[str, Callable[[str], bool]] = {
    "torchvision": lambda rest: rest in torchvision_builders(),
    "timm": _timm,
    "open_clip": _open_clip,
    "hf": _on_the_hub,
}


# --- weights and settings


def _weights(by: str, source: str, weights: str, beside: Path) -> str:
    if weights in ("default", "random"):
        return weights
    if is_plain(weights) and weights.endswith(".safetensors"):
        file = inside(beside, weights)
        if file.is_file():
            return str(file)
    raise ModelError(
        f"{by} was made with the weights {shown(weights)}, which are no .safetensors file beside it: say where they are, "
        f"--model {_word(source)} --weights {_word(weights)}"
    )


def _word(text: str) -> str:
    """Quotes a text as one word of a command line."""
    return shlex.quote(shown(text))


def _check_extra(by: str, extra: dict[Any, Any], vouched: Collection[str]) -> None:
    for name, text in extra.items():
        if str(text).endswith(".npy") and text not in vouched:
            given = _word(f"{name}={text}")
            raise ModelError(f"{by} names the file {shown(text)} as an input: give it beside --model, --extra {given}")


def is_number(value: Any, low: float | int = -math.inf, high: float | int = math.inf) -> bool:
    """Checks whether a value is a finite number from `low` to `high`, and not a bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high and abs(value) <= 1e300


def is_count(value: Any, most: int) -> bool:
    """Checks whether a value is a whole number from 1 to `most`."""
    return isinstance(value, int) and is_number(value, 1, most)


def is_texts(value: Any) -> bool:
    """Checks whether a value is a list or tuple of strings."""
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)


def _is_numbers(value: Any, low: float | int = -math.inf) -> bool:
    return isinstance(value, list) and 0 < len(value) <= LARGEST and all(is_number(one, low) for one in value)


_PLAIN: Mapping[str, Callable[[Any], bool]] = {
    "labels": is_texts,
    "size": lambda value: isinstance(value, list) and len(value) == 2 and all(is_count(one, LARGEST) for one in value),
    "resize": lambda value: value in ("crop", "squash") if isinstance(value, str) else is_count(value, 8 * LARGEST),
    "mean": _is_numbers,
    "std": lambda value: _is_numbers(value, 1e-300),
    "range": lambda value: _is_numbers(value) and len(value) == 2 and value[0] < value[1],
    "outputs": lambda value: isinstance(value, str) or (isinstance(value, dict) and is_texts(list(value.values()))),
    "head": lambda value: isinstance(value, str) or (isinstance(value, int) and is_number(value, 0, LARGEST)),
    "extra": lambda value: isinstance(value, dict) and is_texts(list(value.values())),
}
"""{setting: check of its value in the form in which `plain_settings` writes it}."""
