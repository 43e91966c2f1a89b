"""Finds tensors inside the outputs of layers: tensors, tuples, lists, dicts or dataclasses of them.

The main tensor is the first floating point one; others are named by their path, such as "pooler_output", "1" or "maps.0".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from tapetum.types import LayerError


def main_tensor(output: Any, layer: str = "this layer", way: str | None = None) -> Tensor:
    """Returns the first floating point tensor in a layer's output, or the one at the path `way`, such as "maps.0"."""
    if way is None and isinstance(output, Tensor) and output.is_floating_point():
        return output
    for found, tensor in outputs(output):
        if way in (None, found):
            return tensor
    if way is not None:
        raise LayerError(f"{layer} returned no output '{way}' this time")
    raise LayerError(f"{layer} returns no floating point tensor ({type(output).__name__})")


def floats(value: Any) -> Iterator[Tensor]:
    """Yields every floating point tensor inside a value, in order."""
    return (tensor for _, tensor in outputs(value))


def outputs(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields (path, tensor) for every floating point tensor inside a value; the path of the value itself is ""."""
    return ((way, tensor) for way, tensor in _with_ways(value, ()) if tensor.is_floating_point())


def tensors(value: Any) -> Iterator[Tensor]:
    """Yields every tensor inside tuples, lists, dicts and dataclasses, in order."""
    return (tensor for _, tensor in _with_ways(value, ()))


def _with_ways(value: Any, way: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield ".".join(way), value
        return
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, (tuple, list)):
        parts = enumerate(value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
    for key, part in parts:
        yield from _with_ways(part, (*way, str(key)))


def mapped(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Applies `function` to every tensor inside a value; keeps the tuples, lists, dicts and dataclasses around them."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Mapping):
        changed = {key: mapped(part, function) for key, part in value.items()}
        return changed if type(value) is dict else type(value)(**changed)  # Hugging Face outputs are mappings of fields
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(part, function) for part in value))
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(part, function) for part in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: mapped(getattr(value, field.name), function) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **parts)
    return value


def with_main_tensor(output: Any, replacement: Tensor, way: str | None = None) -> Any:
    """Returns a layer's output with its main tensor, or the one at the path `way`, replaced."""
    if isinstance(output, Tensor):
        return replacement
    target = main_tensor(output, way=way)
    return mapped(output, lambda tensor: replacement if tensor is target else tensor)


def repeated(value: Any, times: int) -> Any:
    """Repeats every tensor inside a value, each of batch size 1, `times` times along the batch, without a copy."""
    return mapped(value, lambda tensor: tensor.expand(times, *tensor.shape[1:]))


def is_single(value: Any) -> bool:
    """Checks whether every tensor inside a value has batch size 1 and no unknown object may hold more, as `repeated` needs."""
    return _is_plain(value) and all(tensor.ndim > 0 and tensor.shape[0] == 1 for tensor in tensors(value))


def _is_plain(value: Any) -> bool:
    """Checks whether `mapped` reaches every tensor inside: no object has another class, such as a detector's list of images."""
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (Tensor, bool, int, float, str)) or dataclasses.is_dataclass(value)


def max_difference(a: Tensor, b: Tensor) -> float:
    """Returns max |a - b| / max |b|; 0 where `b` is not finite."""
    scale = float(b.detach().abs().max()) or 1.0
    return float((a - b).detach().abs().max()) / scale if torch.isfinite(b).all() else 0.0
