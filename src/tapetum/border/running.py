"""`run`: the one gateway of CLI, reports and studio. It times, watches, seeds and writes down where a result came from."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from tapetum.border.subjects import READERS, as_model
from tapetum.keeping.provenance import hashed_files, machine, now, sha256, versions
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Watcher, watching
from tapetum.registry import check_parameters, lookup, places
from tapetum.types import (
    AnyOf,
    Attribution,
    Box,
    Contrast,
    ImagesLike,
    ModelLike,
    Output,
    Provenance,
    Rendering,
    Run,
    Scaled,
    Similarity,
    Takes,
    Unit,
)


def run(name: str, model: ModelLike, subject: ImagesLike = None, *, progress: Watcher | None = None, **params: Any) -> Run:
    """Any registered method by name: its result with provenance.

    Args:
        name: a method of `tapetum.methods()`.
        model, subject: as for the method itself: images for most, units for `visualize`, none for `filters`.
        progress: called with every `Progress`; returning False stops the run with `Cancelled`.
        params: the method's own, `target` among them.
    """
    method = lookup(name)
    network = as_model(model)
    ready = READERS[method.takes](network, subject) if method.takes in ABOUT_IMAGES else subject  # so that it can be hashed
    about = [network, ready][: {"model": 1, "maps": 0}.get(method.takes, 2)]
    checked = check_parameters(method, {name: value for name, value in params.items() if name not in places(method)})
    started, clock = now(), time.perf_counter()
    with contextlib.nullcontext() if progress is None else watching(progress):  # inside a job, its watcher goes on
        value = method.function(*about, **params)
    seconds = time.perf_counter() - clock
    if method.takes == "units":
        checked = {"units": subject, **checked}
    origin = Provenance(
        method=name,
        parameters={key: plain(one) for key, one in {**checked, **_chosen(value)}.items()},
        target=_about(value),
        model=network.source,
        weights_sha256=network.weights_sha256,
        images_sha256=_images_sha256(ready) if method.takes in ABOUT_IMAGES else "",
        seed=checked.get("seed"),
        device=str(network.device),
        dtype=str(network.dtype).removeprefix("torch."),
        versions=versions(),
        started=started,
        seconds=seconds,
        weights=network.weights,
        settings=network.settings,
        **_origin(network, subject, method.takes, {**checked, **_chosen(value)}),
        machine=machine(),
    )
    return Run(value, origin)


ABOUT_IMAGES: tuple[Takes, ...] = ("images", "pictures")


def intended(name: str, model: VisionModel, subject: Any, **params: Any) -> dict[str, Any]:
    """The fields of the provenance that a run would have which decide what it gives, before it is made."""
    method = lookup(name)
    checked = check_parameters(method, params)
    return {
        "method": name,
        "parameters": {key: plain(one) for key, one in checked.items()},
        "model": model.source,
        "weights": model.weights,
        "settings": model.settings,
        "weights_sha256": model.weights_sha256,
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": versions(),
        **_origin(model, subject, method.takes, checked),
    }


def _images_sha256(images: Tensor | Sequence[Tensor]) -> str:
    """Of a batch, or of pictures one after the other."""
    if isinstance(images, Tensor):
        return sha256(images)
    hashes = [sha256(one) for one in images]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _origin(model: VisionModel, subject: Any, takes: Takes, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance's subject, files, and what was lost of both."""
    many = list(subject) if isinstance(subject, (list, tuple)) else [] if takes == "model" else [subject]
    texts = tuple(str(one) for one in many) if all(isinstance(one, (str, int, Path, Unit)) for one in many) else ()
    lost = [key for key, value in parameters.items() if not readable(value)]
    if takes in ABOUT_IMAGES and not texts:
        lost.append("images")
    words = [*(texts if takes in ABOUT_IMAGES else ()), *(word for value in parameters.values() for word in _words(value))]
    words += model.settings.get("extra", {}).values()  # a further input may be a file
    return {"subject": texts, "files": hashed_files(words), "lost": tuple(lost)}


def _words(value: Any) -> list[str]:
    """Texts among a parameter's values that may name a file, such as "gan:FILE"."""
    many = list(value) if isinstance(value, (list, tuple)) else [value]
    words = [str(one) for one in many if isinstance(one, (str, Path))]
    return [*words, *(word.partition(":")[2] for word in words if ":" in word)]


def _about(value: Any) -> tuple[str, ...]:
    """What the result explains, or was made for, one text each."""
    if isinstance(value, Rendering):
        return value.objectives
    return value.target if isinstance(value, Attribution) else ()


def _chosen(value: Any) -> dict[str, Any]:
    """What the method chose itself, so that a run can be repeated exactly."""
    if not isinstance(value, Attribution):
        return {}
    chosen: dict[str, Any] = {"target": list(value.explains)}
    return chosen if value.layer is None else {**chosen, "layer": value.layer}


READABLE = (Unit, Contrast, AnyOf, Scaled, Output)
"""Targets whose text says all that they are."""


def readable(value: Any) -> bool:
    """Whether `plain` keeps all of a parameter, so that it can be read back."""
    if isinstance(value, (list, tuple)):
        return all(map(readable, value))
    if isinstance(value, Similarity):
        return isinstance(value.to, str)
    return isinstance(value, (bool, int, float, str, Path, Box, *READABLE)) or value is None


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it: tensors by their hash, targets and functions by their text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} sha256:{sha256(value)}"
    if isinstance(value, Box) and value.corners is not None:
        return f"{value.label}@{','.join(f'{corner:.17g}' for corner in value.corners)}"  # its text for people is rounded
    return getattr(value, "__name__", None) or str(value)
