"""Finds everything that a network holds, registered or not: also in lists, dicts, closures, partials and bound methods."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

DEEPEST = 8
"""How many levels of objects inside a module are searched: settings lie nearer, while a trainer or data set has no end."""

PLAIN = frozenset((bool, int, float, complex, str, bytes, type(None), type, ModuleType, torch.dtype, torch.device, torch.Size))
TELLING = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
BOOKKEEPING = frozenset(vars(nn.Module()).keys() - set(TELLING))
"""Attributes that torch puts into every module and that no forward pass reads, such as hooks on backward passes and loading."""
UNCHANGING = (Tensor, type, tuple, frozenset, MethodType)
CONTAINERS = (dict, list, set, tuple, frozenset)


@dataclass
class Reached:
    """Everything found inside an object: modules, tensors, lists, dicts and sets, each once, in the order of discovery."""

    modules: list[nn.Module] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    containers: list[Any] = field(default_factory=list)
    holders: list[tuple[Any, list[Any]]] = field(default_factory=list)  # changeable objects, with what they hold
    seen: dict[int, Any] = field(default_factory=dict)  # holds the objects, so that none is freed and its id reused


def reach(root: Any) -> Reached:
    """Finds everything that can be reached from an object through modules, containers, functions and plain objects."""
    found, waiting = Reached(), [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if id(value) in found.seen:
            continue
        found.seen[id(value)] = value
        if isinstance(value, nn.Module):
            found.modules.append(value)
        elif isinstance(value, Tensor):
            found.tensors.append(value)
        elif isinstance(value, (list, dict, set)):
            found.containers.append(value)
        inside = [one for one in parts_of(value) if type(one) not in PLAIN]
        changeable = isinstance(value, CONTAINERS) or hasattr(value, "__dict__")
        if changeable and depth < DEEPEST and not isinstance(value, (nn.Module, *UNCHANGING)):
            found.holders.append((value, inside))
        if isinstance(value, nn.Module) or (inside and depth < DEEPEST):
            below = 0 if isinstance(value, nn.Module) else depth + 1
            waiting += [(one, below) for one in reversed(inside)]
    return found


def parts_of(value: Any) -> Iterator[Any]:
    """Yields what an object holds directly; nothing for tensors, classes and objects written in C."""
    if isinstance(value, (Tensor, type)):
        return
    if isinstance(value, nn.Module):
        held = vars(value)
        for name in TELLING:
            if held.get(name):
                yield from held[name].values()
        yield from (one for name, one in held.items() if name not in BOOKKEEPING and name not in TELLING)
    elif isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, CONTAINERS):
        yield from value
    elif isinstance(value, FunctionType):
        yield from (cell_content(cell) for cell in value.__closure__ or ())
        yield from value.__defaults__ or ()
        yield from (value.__kwdefaults__ or {}).values()
    elif isinstance(value, MethodType):
        yield from (value.__self__, value.__func__)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    else:
        yield from getattr(value, "__dict__", {}).values()


def cell_content(cell: CellType) -> Any:
    """Returns the content of a closure's cell; None while the cell is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return None
