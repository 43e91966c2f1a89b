"""How a network is built at a time, and all that was found out about it, which counts until a part of it is replaced."""

from __future__ import annotations

from operator import is_
from typing import Any

import torch
from torch import nn

from tapetum.models.believing import Believed
from tapetum.models.reaching import PLAIN, TELLING, parts_of, reach
from tapetum.models.replica import changing_modes


class Structure:
    """Everything that a module holds, with its settings and hooks; held itself, so that no address is taken for another's.

    device, dtype  those of its first tensor, and of its first of floating point
    facts          {(fact, size of the images): what was found out}
    believed       result of the comparison with its copy, once that was made
    """

    def __init__(self, module: nn.Module) -> None:
        found = reach(module)
        self._modules = found.modules
        self._names, self._values = _settings(found.modules)
        self._holders = found.holders
        self._tensors = [(one, one.data_ptr(), one.dtype, one.device) for one in found.tensors]
        self._written = [(one, one._version) for one in changing_modes(module) if not one.is_inference()]
        # those that are registered, then those of modules that hide in lists and closures
        tensors = [*module.parameters(), *module.buffers(), *(one for part in found.modules for one in part.parameters())]
        self.device = tensors[0].device if tensors else torch.device("cpu")
        self.dtype = next((one.dtype for one in tensors if one.is_floating_point()), torch.float32)
        self.facts: dict[tuple[str, tuple[int, int]], Any] = {}
        self.believed: Believed | None = None

    def stands(self) -> bool:
        """Whether modules, tensors (by `.to()`, a new head), settings and hooks are still the same.

        Every call asks, so each place is looked at once, in one loop.
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
    """Names and values of all attributes (a stride, a patched forward), tensors, parts and hooks.

    Training flags are none of our business.
    """
    names: list[Any] = []
    values: list[Any] = []
    for part in modules:
        held = {**vars(part), "training": None}
        for table in (held, *(held.get(name) or {} for name in TELLING)):
            names += table.keys()
            values += table.values()
    return names, values
