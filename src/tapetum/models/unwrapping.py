"""Removes wrappers of torch's that leave the answer as it is; a wrapper of the user's own is part of the model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import cast

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from tapetum.types import ModelError

SHELLS: tuple[type[nn.Module], ...] = (nn.DataParallel, DistributedDataParallel, AveragedModel)
"""Each keeps the network in `module` and its forward only calls that."""


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside torch.compile, DataParallel, DistributedDataParallel and AveragedModel, however they are nested."""
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
        # a subclass with a forward of its own is somebody's wrapper, and so is an instance whose forward was replaced
        if isinstance(module, shell) and type(module).forward is shell.forward and "forward" not in vars(module):
            return cast("nn.Module", module.module)
    return None


def _optimized_module() -> type[nn.Module] | None:
    """Class of a module behind torch.compile; None while that part of torch, which is slow to import, is not loaded."""
    frames = sys.modules.get("torch._dynamo.eval_frame")
    return getattr(frames, "OptimizedModule", None)


def _hooks(module: nn.Module) -> Iterator[object]:
    yield from module._forward_hooks.values()
    yield from module._forward_pre_hooks.values()
