"""A guard against a wrong gradient of torch itself: whatever records a graph through a `VisionModel` passes through it.

On a CPU, torch 2.14 misreads the strides of the gradient that reaches a batch-norm in evaluation mode when the batch is one
contiguous image and the gradient comes transposed, as it does behind `flatten(2).transpose(1, 2)`. LeViT, XCiT and
EfficientFormer have that; saliency was off by as much as its largest value. A gradient made contiguous is read right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_BATCH_NORMS = frozenset((F.batch_norm, torch.batch_norm))
"""Functions, not names: every operation of every pass with a gradient is compared with them."""


class SoundGradients(TorchFunctionMode):
    """Inside, gradients reach batch-norms contiguous where the network's own values are."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _BATCH_NORMS and isinstance(output, Tensor):
            with torch._C.DisableTorchFunction():  # what is done here is no operation of the network, for no other mode
                if output.requires_grad and output.is_contiguous():
                    output.register_hook(Tensor.contiguous)
        return output
