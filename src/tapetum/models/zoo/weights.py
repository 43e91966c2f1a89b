"""Weights from files the user has: `.safetensors`, or `.pth`/`.pt` read without running code from them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.types import ModelError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "params_ema", "params")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.")


def load_weights(module: nn.Module, path: str | Path) -> nn.Module:
    """Fills `module` from a file; refuses a file that does not fit, naming what is missing or has another shape."""
    tensors = _without_prefix(read_tensors(Path(path)), set(module.state_dict()))
    own = module.state_dict()
    missing = [name for name in own if name not in tensors and not name.endswith("num_batches_tracked")]
    extra = [name for name in tensors if name not in own]
    other = [name for name in own if name in tensors and own[name].shape != tensors[name].shape]
    if missing or extra or other:
        raise ModelError(
            f"{Path(path).name} does not fit {type(module).__name__}: {_misfit(missing, extra, other, own, tensors)}"
        )
    module.load_state_dict(tensors, strict=False)
    return module


def read_tensors(path: Path) -> dict[str, Tensor]:
    """{name: tensor} from a file; pickled code is never run."""
    if not path.is_file():
        raise ModelError(f"no weights file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path.name} holds code, not only tensors: save model.state_dict() instead") from error
    except Exception as error:
        raise ModelError(f"{path.name} is no readable weights file ({type(error).__name__})") from error
    return _tensors(content, path)


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path.name} holds no table of tensors: save model.state_dict()")
    return dict(content)


def _without_prefix(tensors: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """Training wrappers put "module." and the like before every name."""
    for prefix in PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors) and not names & set(tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _misfit(
    missing: list[str], extra: list[str], other: list[str], own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> str:
    parts = []
    if missing:
        parts.append(f"{len(missing)} tensors are missing ({missing[0]}, ...)")
    if extra:
        parts.append(f"{len(extra)} are unknown ({extra[0]}, ...)")
    if other:
        name = other[0]
        parts.append(f"{len(other)} differ in shape ({name}: {tuple(tensors[name].shape)}, not {tuple(own[name].shape)})")
    return "; ".join(parts)
