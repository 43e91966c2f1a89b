"""Works around a bug of torch that makes gradients wrong; in use whenever a `VisionModel` runs with gradients.

On a CPU, torch 2.14 misreads the strides of the gradient that reaches a batch-norm in evaluation mode when the batch is one
contiguous image and the gradient comes transposed, as it does after `flatten(2).transpose(1, 2)`. This happens in LeViT, XCiT
and EfficientFormer; saliency was off by as much as its largest value. A contiguous gradient is read right.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_BATCH_NORMS = frozenset((F.batch_norm, torch.batch_norm))
"""Compared as functions, not by name, which is quicker: every operation of every pass with a gradient is compared."""


unseen_by_modes: Callable[[], AbstractContextManager[Any]] = torch._C.DisableTorchFunction
"""Hides the operations in the block from function modes, which would take them for operations of the network."""


class SoundGradients(TorchFunctionMode):
    """Makes, inside the block, the gradient that reaches a batch-norm contiguous wherever the batch-norm's output is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _BATCH_NORMS and isinstance(output, Tensor):
            with unseen_by_modes():  # this is no operation of the network
                if output.requires_grad and output.is_contiguous():
                    output.register_hook(Tensor.contiguous)
        return output
