"""`run`: the one gateway of CLI, reports and studio. It times, watches, seeds and writes down where a result came from."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import platform
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tapetum.families.border import as_model
from tapetum.models.vision_model import VisionModel
from tapetum.progress import Watcher, watching
from tapetum.registry import check_parameters, lookup
from tapetum.types import Attribution, ImagesLike, ModelLike, Provenance, Rendering, Run


def run(name: str, model: ModelLike, subject: ImagesLike, *, progress: Watcher | None = None, **params: Any) -> Run:
    """Any registered method by name: its result with provenance.

    Args:
        name: a method of `tapetum.methods()`.
        model, subject: as for the method itself: images for most, units for `visualize`.
        progress: called with every `Progress`; returning False stops the run with `Cancelled`.
        params: the method's own, `target` among them.
    """
    method = lookup(name)
    network = as_model(model)
    ready = network.as_images(subject) if method.takes == "images" else subject
    keywords = {key: value for key, value in params.items() if key not in ("target", "attribution")}
    checked = check_parameters(method, keywords)
    started, clock = _now(), time.perf_counter()
    with contextlib.nullcontext() if progress is None else watching(progress):  # inside a job, its watcher goes on
        value = method.function(network, ready, **params)
    seconds = time.perf_counter() - clock
    if method.takes == "units":
        checked = {"units": subject, **checked}
    return Run(value, _provenance(name, network, ready, {**checked, **_chosen(value)}, value, started, seconds))


def _provenance(
    name: str,
    model: VisionModel,
    subject: Any,
    parameters: Mapping[str, Any],
    value: Any,
    started: str,
    seconds: float,
) -> Provenance:
    return Provenance(
        method=name,
        parameters={key: plain(one) for key, one in parameters.items()},
        target=_about(value),
        model=model.source,
        weights_sha256=model.weights_sha256,
        images_sha256=sha256(subject) if isinstance(subject, Tensor) else "",
        seed=parameters.get("seed"),
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        versions=versions(),
        started=started,
        seconds=seconds,
    )


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


def plain(value: Any) -> Any:
    """A parameter as JSON can hold it: tensors by their hash, targets and functions by their text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Tensor):
        return f"tensor {tuple(value.shape)} sha256:{sha256(value)}"
    return getattr(value, "__name__", None) or str(value)


def sha256(tensor: Tensor) -> str:
    """Of shape, type and bytes."""
    flat = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{tuple(flat.shape)} {flat.dtype}".encode())
    digest.update(flat.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Of everything that can change a number."""
    packages = {name: importlib.metadata.version(name) for name in ("tapetum", "torch", "torchvision", "timm", "numpy")}
    return {"python": platform.python_version(), **packages}


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
