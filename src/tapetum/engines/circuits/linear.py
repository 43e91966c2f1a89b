"""The linear network inside a network: its weights, with everything that depends on the picture taken as constant."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.backward.affine import normalization
from tapetum.models.operations.call import Call
from tapetum.models.operations.kinds import ACTIVATIONS, SQUASHES

CURVED = ACTIVATIONS - SQUASHES


def linearised(call: Call) -> Any:
    """Runs an operation as a linear one.

    Activation functions become the identity and max-pooling the average of its window; gates, attention weights and the
    deviations of normalisations are held constant. Others run as they are.
    """
    if call.name in CURVED or call.operation == "relu":
        return call.main.clone() if isinstance(call.main, Tensor) else call()
    if call.name in ("max_pool2d", "max_pool2d_with_indices", "adaptive_max_pool2d"):
        return _averaged(call)
    if call.operation in ("squash", "softmax"):
        return call().detach()
    if call.name == "scaled_dot_product_attention":
        fixed: list[Tensor] = [call.get(0, "query"), call.get(1, "key")]
        return call.on(fixed, [one.detach() for one in fixed])()
    if call.operation in ("normalize", "response_norm"):
        return _normalised(call)
    return call()


def _averaged(call: Call) -> Any:
    if call.name == "adaptive_max_pool2d":
        return F.adaptive_avg_pool2d(call.main, call.get(1, "output_size"))
    size, stride, padding = call.get(1, "kernel_size"), call.get(2, "stride"), call.get(3, "padding", 0)
    pooled = F.avg_pool2d(call.main, size, stride, padding, bool(call.get(5, "ceil_mode", False)), count_include_pad=False)
    return (pooled, None) if call.get(6, "return_indices", False) else pooled


def _normalised(call: Call) -> Any:
    found = normalization(call)
    return call() if found is None else found.apply(found.x, found.weight, found.bias)
