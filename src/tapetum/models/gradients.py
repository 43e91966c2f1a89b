"""Guards of whatever records a graph through a `VisionModel`: a wrong gradient of torch itself, and gradient checkpointing.

On a CPU, torch 2.14 misreads the strides of the gradient that reaches a batch-norm in evaluation mode when the batch is one
contiguous image and the gradient comes transposed, as it does behind `flatten(2).transpose(1, 2)`. LeViT, XCiT and
EfficientFormer have that; saliency was off by as much as its largest value. A gradient made contiguous is read right.

A network that checkpoints runs a part again while gradients are on their way back, when no rule, probe or mode of ours is
there any more: so what it would forget is kept. The old kind (`use_reentrant=True`) records no graph of the part at all, and
is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from tapetum.types import ModelError

_BATCH_NORMS: frozenset[Callable[..., Any]] = frozenset({F.batch_norm, torch.batch_norm})


class SoundGradients(TorchFunctionMode):
    """Inside, gradients reach batch-norms contiguous where the network's own values are, and checkpoints forget nothing.

    unrecorded    whether an operation ran without a graph
    """

    unrecorded = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.unrecorded = self.unrecorded or not torch.is_grad_enabled()
        if _forgetting():
            with saved_tensors_hooks(Tensor.detach, lambda kept: kept):
                output = func(*args, **(kwargs or {}))
        else:
            output = func(*args, **(kwargs or {}))
        if func in _BATCH_NORMS and isinstance(output, Tensor):
            with torch._C.DisableTorchFunction():  # what is done here is no operation of the network, for no other mode
                if output.requires_grad and output.is_contiguous():
                    output.register_hook(Tensor.contiguous)
        return output


def _forgetting() -> bool:
    """Whether a checkpoint would drop what the next operation saves for its gradient."""
    hooks = torch._C._autograd._top_saved_tensors_default_hooks(False)
    return hooks is not None and "_checkpoint_hook" in getattr(hooks[0], "__qualname__", "")


@contextmanager
def recording(name: str) -> Iterator[Callable[[Any], Any]]:
    """Around a pass that may record a graph; gives what its output goes through, which refuses one without a usable graph."""
    if not torch.is_grad_enabled():
        yield lambda output: output
        return
    with SoundGradients() as sound:
        yield lambda output: _usable(output, name) if sound.unrecorded else output


def _usable(output: Any, name: str) -> Any:
    nodes = [one.grad_fn for one in tree_leaves(output) if isinstance(one, Tensor) and one.grad_fn is not None]
    seen = set(nodes)
    while nodes:
        node = nodes.pop()
        if node.name() == "CheckpointFunctionBackward":
            raise ModelError(
                f"{name} checkpoints with use_reentrant=True, which lets no gradient be asked for: use_reentrant=False, no "
                "checkpointing, or a method that needs no gradient (occlusion, rise) works"
            )
        fresh = [before for before, _ in node.next_functions if before is not None and before not in seen]
        seen.update(fresh)
        nodes += fresh
    return output
