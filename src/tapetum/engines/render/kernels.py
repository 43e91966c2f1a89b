"""Lists the torch operations that may round a picture's numbers differently in another batch, and checks when they do not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.models.operations.call import Call
from tapetum.models.operations.kinds import CONVOLUTIONS
from tapetum.models.operations.names import in_place

LINE = 64
"""Bytes of a cache line, to which torch aligns memory; kernels for products may depend on alignment."""

VECTORS = 64
"""Largest number of values that an elementwise loop handles at once: several of the widest CPU vectors."""

SHARED_OUT = 32768
"""Number of elements above which torch splits a loop over threads (its GRAIN_SIZE)."""


def _all_of(names: str, *places: Any) -> frozenset[Callable[..., Any]]:
    return frozenset(getattr(place, name) for name in names.split() for place in places if hasattr(place, name))


ONE_OPERAND = _all_of(" ".join(CONVOLUTIONS | {"linear"}), F, torch)  # their first operand holds the images
SEVERAL = _all_of("matmul bmm __matmul__ scaled_dot_product_attention", torch, Tensor, F)

NUMBERS = _all_of(
    "exp exp2 expm1 log log2 log10 log1p logit sigmoid tanh sinh cosh sin cos tan asin acos atan erf erfc rsqrt "
    "exp_ log_ sigmoid_ tanh_ pow pow_ __pow__ __ipow__ float_power gelu silu mish softplus logsigmoid tanhshrink "
    "elu elu_ celu celu_ selu selu_ hardsigmoid hardswish softsign",
    torch,
    Tensor,
    F,
)
"""Elementwise functions whose loop computes whole CPU vectors by one formula and the few remaining numbers by another."""

OVER_DIMENSIONS = _all_of(
    "sum mean var std prod norm logsumexp softmax log_softmax adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d",
    torch,
    Tensor,
    F,
) | {torch.linalg.vector_norm}
"""Reductions that torch may split over threads, even within a picture that is alone in its batch."""


def whole_vectors(x: Tensor, n: int) -> bool:
    """Checks that an elementwise loop over the batch x of n pictures consists of whole CPU vectors in every thread, as it would
    over one picture alone: no number is then rounded by another formula in another batch.
    """
    row = x.detach()[: len(x) // n]
    dense = x.is_contiguous() or (x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last))
    return dense and all(_parts(one.numel()) % VECTORS == 0 for one in (x, row))


def _parts(count: int) -> int:
    """Returns how many of `count` numbers each thread gets, or 1 where they cannot be shared out evenly."""
    threads = min(torch.get_num_threads(), math.ceil(count / SHARED_OUT)) or 1
    return count // threads if count % threads == 0 else 1


def within_rows(call: Call) -> bool:
    """Checks that a reduction stays within each picture: it names its dimensions, and the batch axis 0 is not among them."""
    x = call.main
    if call.name.startswith("adaptive_avg_pool"):
        return x.ndim > 2
    given = call.get(2 if call.name in ("norm", "vector_norm") else 1, "dim")
    dims = given if isinstance(given, tuple | list) else (given,)
    return all(isinstance(one, int) and not isinstance(one, bool) and one % x.ndim != 0 for one in dims)


def overwrites(call: Call) -> bool:
    """Checks whether a call works in place, so that it overwrites its input."""
    return bool(call.kwargs.get("inplace")) or in_place(call.function)


def at_a_line(x: Tensor) -> Tensor:
    """Returns x, or a copy in the same layout if its memory does not begin at a cache line."""
    return x if x.data_ptr() % LINE == 0 else x.clone()


def aligned(made: Tensor) -> Tensor:
    """Returns the tensor itself, and makes its gradient arrive in the same layout, aligned to a cache line."""
    if not made.requires_grad:
        return made
    strides = made.stride()

    def arrive(gradient: Tensor) -> Tensor:
        if gradient.stride() == strides and gradient.data_ptr() % LINE == 0:
            return gradient
        return torch.empty_strided(gradient.shape, strides, dtype=gradient.dtype, device=gradient.device).copy_(gradient)

    made.register_hook(arrive)
    return made
