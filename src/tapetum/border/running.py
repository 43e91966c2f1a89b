"""`run`: calls any method by name, with timing, progress and provenance. The command line, reports and the studio use it."""

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
    """Runs a registered method by name and returns its result with provenance.

    Args:
        name: a method of `tapetum.methods()`.
        model, subject: as for the method itself; the subject is images for most, units for `visualize`, none for `filters`.
        progress: called with every `Progress`; returning False stops the run with `Cancelled`.
        params: parameters of the method, including `target`.
    """
    method = lookup(name)
    network = as_model(model)
    ready = READERS[method.takes](network, subject) if method.takes in ABOUT_IMAGES else subject  # to be hashed
    about = [network, ready][: {"model": 1, "maps": 0}.get(method.takes, 2)]
    checked = check_parameters(method, {name: value for name, value in params.items() if name not in places(method)})
    started, clock = now(), time.perf_counter()
    with contextlib.nullcontext() if progress is None else watching(progress):  # None: an outer watcher goes on
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
    """Returns, before a run, the provenance fields that determine its result: method, parameters, model, weights, inputs."""
    return _decisive(name, model, subject, check_parameters(lookup(name), params))


def _decisive(name: str, model: VisionModel, subject: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "method": name,
        "parameters": {key: plain(one) for key, one in parameters.items()},
        **network_and_versions(model),
        **_origin(model, subject, lookup(name).takes, parameters),
    }


def network_and_versions(model: VisionModel) -> dict[str, Any]:
    """Returns the provenance fields that describe the model and the versions of the software."""
    return {
        "model": model.source,
        "weights": model.weights,
        "settings": model.settings,
        "weights_sha256": model.weights_sha256,
        "dtype": str(model.dtype).removeprefix("torch."),
        "versions": versions(),
    }


def _images_sha256(images: Tensor | Sequence[Tensor]) -> str:
    """Returns the SHA-256 of a batch, or of the hashes of several pictures."""
    if isinstance(images, Tensor):
        return sha256(images)
    hashes = [sha256(one) for one in images]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _origin(model: VisionModel, subject: Any, takes: Takes, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns provenance fields: `subject` as texts, `files` with checksums, `lost`: parameters that no text can restore."""
    many = list(subject) if isinstance(subject, (list, tuple)) else [] if takes == "model" else [subject]
    texts = tuple(str(one) for one in many) if all(isinstance(one, (str, int, Path, Unit)) for one in many) else ()
    lost = [key for key, value in parameters.items() if not readable(value)]
    if takes in ABOUT_IMAGES and not texts:
        lost.append("images")
    words = [*(texts if takes in ABOUT_IMAGES else ()), *(word for value in parameters.values() for word in _words(value))]
    words += model.settings.get("extra", {}).values()  # a further input of the model may be a file
    return {"subject": texts, "files": hashed_files(words), "lost": tuple(lost)}


def _words(value: Any) -> list[str]:
    """Lists the texts in a parameter that may name a file, with and without a prefix such as in "gan:FILE"."""
    many = list(value) if isinstance(value, (list, tuple)) else [value]
    words = [str(one) for one in many if isinstance(one, (str, Path))]
    return [*words, *(word.partition(":")[2] for word in words if ":" in word)]


def _explained(value: Any) -> tuple[str, ...]:
    """Returns the targets of an attribution or the objectives of a rendering, one text each; else ()."""
    if isinstance(value, Rendering):
        return value.objectives
    return value.target if isinstance(value, Attribution) else ()


def _chosen(value: Any) -> dict[str, Any]:
    """Returns the target and layer that an attribution chose itself, so that the run can be repeated exactly; else {}."""
    if not isinstance(value, Attribution):
        return {}
    chosen: dict[str, Any] = {"target": list(value.explains)}
    return chosen if value.layer is None else {**chosen, "layer": value.layer}


READABLE = (Unit, Contrast, AnyOf, Scaled, Output)
"""Targets whose text describes them completely."""


def readable(value: Any) -> bool:
    """Returns whether the text or number that `plain` makes of a parameter is enough to restore it."""
    if isinstance(value, (list, tuple)):
        return all(map(readable, value))
    if isinstance(value, Similarity):
        return isinstance(value.to, str)
    return isinstance(value, (bool, int, float, str, Path, Box, *READABLE)) or value is None


def plain(value: Any) -> Any:
    """Converts a parameter to JSON types: a tensor becomes its shape and hash, a target or function its name or text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} sha256:{sha256(value)}"
    if isinstance(value, Box) and value.corners is not None:
        return f"{value.label}@{','.join(f'{corner:.17g}' for corner in value.corners)}"  # `str` would round the corners
    return getattr(value, "__name__", None) or str(value)
