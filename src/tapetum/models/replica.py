"""The private replica: a second module tree that shares the user's weights, so theirs is never touched.

Hooks, patches, eval mode and `requires_grad=False` live on the replica. Nothing can be left behind on the user's model,
no parameter gradient is ever computed, and batch-norm statistics cannot move.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


def replicate(module: nn.Module) -> nn.Module:
    """A copy of the module tree in eval mode whose tensors alias the storage of `module`'s: no weights are copied."""
    memo: dict[int, object] = {}
    for tensor in tensors_of(module):
        alias = tensor.clone() if tensor.is_inference() else tensor.detach()  # inference tensors refuse gradients
        memo[id(tensor)] = nn.Parameter(alias, requires_grad=False) if isinstance(tensor, nn.Parameter) else alias
    twin = copy.deepcopy(module, memo).eval()
    for part in twin.modules():
        if getattr(part, "inplace", None) is True:
            # an in-place activation would overwrite what a hook captured
            part.inplace = False  # pyright: ignore[reportArgumentType] (torch types all attributes as tensors or modules)
    return twin


def tensors_of(module: nn.Module) -> Iterator[Tensor]:
    """Parameters, buffers, and tensors kept as plain attributes (which deepcopy refuses when they have a history)."""
    yield from module.parameters()
    yield from module.buffers()
    for part in module.modules():
        yield from (value for value in vars(part).values() if isinstance(value, Tensor))


def fingerprint(module: nn.Module) -> tuple[object, ...]:
    """Changes when a replica would be out of date: other modules, or other tensors (by `.to()`, a new head)."""
    modules = tuple(module.modules())  # themselves, not their ids: a new module may take the address of one that is gone
    tensors = tuple((id(tensor), tensor.data_ptr(), tensor.dtype) for tensor in tensors_of(module))
    return modules, tensors, tuple(_settings(part) for part in modules)


def _settings(part: nn.Module) -> tuple[object, ...]:
    """A module's own attributes (a stride, a patched forward) and hooks; its training flag is none of our business."""
    plain = (bool, int, float, str)
    own = [(key, one if isinstance(one, plain) else id(one)) for key, one in vars(part).items() if key != "training"]
    return *own, *part._forward_hooks, *part._forward_pre_hooks


def weights_sha256(module: nn.Module) -> str:
    """Names, shapes, types and bytes of all parameters and buffers: the same weights give the same text."""
    digest = hashlib.sha256()
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
