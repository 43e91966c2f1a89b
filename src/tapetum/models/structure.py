"""Records how a network is built, with facts found out about it, which hold until a part of the network is replaced."""

from __future__ import annotations

from operator import is_
from typing import Any

import torch
from torch import nn

from tapetum.models.believing import Believed
from tapetum.models.reaching import PLAIN, TELLING, parts_of, reach
from tapetum.models.replica import changing_modes


class Structure:
    """Snapshot of all that a module holds: parts, tensors, settings and hooks.

    The objects themselves are held, so that none is freed and its address reused by another.

    device, dtype  of the module's first tensor, and of its first floating point tensor
    facts          {(name of a fact, (h, w) of the images): its value}
    believed       result of comparing the module with its private copy; None before the comparison
    """

    def __init__(self, module: nn.Module) -> None:
        found = reach(module)
        self._modules = found.modules
        self._names, self._values = _settings(found.modules)
        self._holders = found.holders
        self._tensors = [(one, one.data_ptr(), one.dtype, one.device) for one in found.tensors]
        self._written = [(one, one._version) for one in changing_modes(module) if not one.is_inference()]
        # registered tensors first, then parameters of modules that are only in lists or closures
        tensors = [*module.parameters(), *module.buffers(), *(one for part in found.modules for one in part.parameters())]
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = next((one.dtype for one in tensors if one.is_floating_point()), torch.float32)
        self.facts: dict[tuple[str, tuple[int, int]], Any] = {}
        self.believed: Believed | None = None

    def stands(self) -> bool:
        """Checks whether the module still has the same parts, tensors, settings and hooks: no `.to()`, no new head since.

        Runs at every call of the model, so it looks at each place only once.
        """
        names, values = _settings(self._modules)
        if names != self._names or not all(map(is_, values, self._values)):
            return False
        for holder, inside in self._holders:
            now = [one for one in parts_of(holder) if type(one) not in PLAIN]
            if len(now) != len(inside) or not all(map(is_, now, inside)):
                return False
        same = all(one.data_ptr() == at and one.dtype == kind and one.device == on for one, at, kind, on in self._tensors)
        return same and all(one._version == version for one, version in self._written)


def _settings(modules: list[nn.Module]) -> tuple[list[Any], list[Any]]:
    """Names and values of all attributes (such as a stride or a patched forward), tensors, parts and hooks of the modules.

    Training flags are left out, since the private copy is in eval mode anyway.
    """
    names: list[Any] = []
    values: list[Any] = []
    for part in modules:
        held = {**vars(part), "training": None}
        for table in (held, *(held.get(name) or {} for name in TELLING)):
            names += table.keys()
            values += table.values()
    return names, values
