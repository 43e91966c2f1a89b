"""`run`: the one gateway of CLI, reports and studio. It times and watches a method and records the provenance of its result."""

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
    parameters = {**({"units": subject} if method.takes == "units" else {}), **checked, **_chosen(value)}
    origin = Provenance(
        **_decisive(name, network, subject, parameters),
        target=_explained(value),
        images_sha256=_images_sha256(ready) if method.takes in ABOUT_IMAGES else "",
        seed=checked.get("seed"),
        device=str(network.device),
        started=started,
        seconds=seconds,
        machine=machine(),
    )
    return Run(value, origin)


ABOUT_IMAGES: tuple[Takes, ...] = ("images", "pictures")


def intended(name: str, model: VisionModel, subject: Any, **params: Any) -> dict[str, Any]:
    """The fields of a run's provenance that decide its result, before the run."""
    return _decisive(name, model, subject, check_parameters(lookup(name), params))


def _decisive(name: str, model: VisionModel, subject: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "method": name,
        "parameters": {key: plain(one) for key, one in parameters.items()},
        "model": model.source,
        "weights": model.weights,
        "settings": model.settings,
        "weights_sha256": model.weights_sha256,
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": versions(),
        **_origin(model, subject, lookup(name).takes, parameters),
    }


def _images_sha256(images: Tensor | Sequence[Tensor]) -> str:
    """Hash of a batch, or of pictures one after the other."""
    if isinstance(images, Tensor):
        return sha256(images)
    hashes = [sha256(one) for one in images]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _origin(model: VisionModel, subject: Any, takes: Takes, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the provenance: the subject as texts, the files that were read, and what cannot be read back."""
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


def _explained(value: Any) -> tuple[str, ...]:
    """Targets of the result, or objectives of its pictures, one text each."""
    if isinstance(value, Rendering):
        return value.objectives
    return value.target if isinstance(value, Attribution) else ()


def _chosen(value: Any) -> dict[str, Any]:
    """Choices of the method itself, so that a run can be repeated exactly."""
    if not isinstance(value, Attribution):
        return {}
    chosen: dict[str, Any] = {"target": list(value.explains)}
    return chosen if value.layer is None else {**chosen, "layer": value.layer}


READABLE = (Unit, Contrast, AnyOf, Scaled, Output)
"""Targets whose text describes them completely."""


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
