"""Removes torch's own wrappers, which do not change the answer; a wrapper that the user wrote is part of the model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import cast

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from tapetum.types import ModelError

SHELLS: tuple[type[nn.Module], ...] = (nn.DataParallel, DistributedDataParallel, AveragedModel)
"""Wrappers that keep the network in the attribute `module`, and whose forward only calls it."""


def unwrapped(module: nn.Module) -> nn.Module:
    """Returns the network inside any nesting of torch.compile, DataParallel, DistributedDataParallel and AveragedModel."""
    inner = _inside(module)
    if inner is None:
        return module
    if any(True for _ in _hooks(module)):
        raise ModelError(f"{type(module).__name__} has hooks of its own, which are not seen: put them on the module inside it")
    return unwrapped(inner)


def _inside(module: nn.Module) -> nn.Module | None:
    compiled = _optimized_module()
    if compiled is not None and type(module) is compiled:
        return cast("nn.Module", module._orig_mod)
    for shell in SHELLS:
        # a subclass or an instance with a forward of its own is a wrapper that the user wrote
        if isinstance(module, shell) and type(module).forward is shell.forward and "forward" not in vars(module):
            return cast("nn.Module", module.module)
    return None


def _optimized_module() -> type[nn.Module] | None:
    """Class of the modules that torch.compile returns; None if torch's compiler, slow to import, has not been loaded."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    return getattr(frames, "OptimizedModule", None)


def _hooks(module: nn.Module) -> Iterator[object]:
    yield from module._forward_hooks.values()
    yield from module._forward_pre_hooks.values()
