"""Makes pictures independent of their batch: inside `RowWise`, an image's numbers are the same bits in any batch.

The kernel that torch chooses depends on the size of the batch, memory alignment and the number of threads, and optimisation
amplifies a difference in the last bit: after some steps a picture made in a batch would differ from the same picture made
alone. A row here is the part of a tensor that belongs to one image. Operations that mix numbers, or round the last few numbers
of a tensor differently, are therefore computed in one of two fixed ways:

* A product (convolution, linear, matrix product) gives the bits that a row has when it is computed in a pair with its copy.
  Pairs cost twice as much, and a whole batch mostly gives the same bits. So each product, for each shape, is first tried both
  ways on noise, forward and backward, until enough numbers have agreed; a product that disagrees is computed in pairs.
* Elementwise functions (GELU, powers), sums and softmax (which threads may split) give the bits that a row has alone: they are
  computed row by row, unless a row fills whole CPU vectors for any number of threads.

All other operations (sums and products of two tensors, ReLU, maxima, batch norm, layer norm, pooling) round each number, or
each picture, independently. Tensors that are tried or split are aligned to a cache line and have one memory layout, and so have
their gradients. This is for a CPU: on a GPU, pictures of a batch agree with single runs up to rounding, which optimisation
amplifies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.render import kernels
from tapetum.engines.render.kernels import NUMBERS, ONE_OPERAND, OVER_DIMENSIONS, SEVERAL, aligned
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following

ENOUGH, TIMES = 1000, 50
"""How many numbers must agree in a trial, since a few may agree by chance, and the largest number of draws of noise."""

Product = Callable[..., Tensor]
"""A product with its settings filled in: a function of the operands alone."""

_alike: dict[Any, bool] = {}
"""For each product with its shapes, whether the rows of a whole batch have the same bits as a row in a pair on this machine."""


class RowWise(Following):
    """Makes every operation in the block give the same bits for each of n images as for the image alone."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def on(self, call: Call) -> Any:
        if call.args and (call.function in NUMBERS or call.function in OVER_DIMENSIONS):
            return _by_itself(call, self.n)
        if call.function is F.multi_head_attention_forward:
            return _attention(call, self.n)
        rows = self._rows(call.function, call.args)
        return _product(call, rows, self.n) if any(rows) else call()

    def _rows(self, func: Callable[..., Any], args: Sequence[Any]) -> list[bool]:
        """Returns for each operand whether its first axis is the images; an empty list if that is unknown."""
        if func in ONE_OPERAND and args:
            return [_moves(args[0]) and len(args[0]) % self.n == 0, *[False] * (len(args) - 1)]
        if func in SEVERAL:
            rows = [_moves(one) for one in args]
            if rows == [True, False] and args[0].ndim == 2 and args[1].ndim < 3 and len(args[0]) % self.n == 0:
                return rows  # each row is multiplied by a matrix or vector of the network
            lengths = {len(one) if one.ndim > 2 else 0 for one, mine in zip(args, rows, strict=True) if mine}
            return rows if len(lengths) == 1 and max(lengths) > 0 and max(lengths) % self.n == 0 else []
        if func is torch.einsum and len(args) > 1:
            return self._summed(args)
        return []

    def _summed(self, args: Sequence[Any]) -> list[bool]:
        """Returns for each argument of an einsum whether its first axis is the images: the first letter of the result, such as
        b in `einsum("bqk,bkc->bqc", x, y)`. The list is empty if the equation does not tell.
        """
        rows = [False, *map(_moves, args[1:])]
        operands, _, result = str(args[0]).replace(" ", "").partition("->")
        moving = [word for word, mine in zip(operands.split(","), rows[1:], strict=False) if mine]
        known = len(args) == len(operands.split(",")) + 1 and result[:1].isalpha()
        fits = all(len(one) % self.n == 0 for one, mine in zip(args, rows, strict=True) if mine)
        return rows if known and fits and all(word[:1] == result[0] for word in moving) else []


def _moves(value: Any) -> bool:
    """Checks whether a value is a tensor computed from the images: it requires a gradient, unlike the network's weights."""
    return isinstance(value, Tensor) and value.requires_grad and value.ndim > 1


# --- rows computed alone


def _by_itself(call: Call, n: int) -> Any:
    """Computes an elementwise function or a reduction, row by row where a batch might round differently."""
    func, (x, *rest), named = call.function, call.args, call.kwargs
    others = (*rest, *named.values())
    split = n > 1 and _moves(x) and len(x) % n == 0 and not any(isinstance(one, Tensor) for one in others)
    if func in NUMBERS:
        split = split and not kernels.whole_vectors(x, n)
    else:
        split = split and torch.get_num_threads() > 1 and kernels.within_rows(call)
    if not split:
        made = call()
        return aligned(made) if _moves(made) and not kernels.overwrites(call) else made
    if kernels.overwrites(call):  # in place: computes copies of the rows of x, then writes them to x
        return x.copy_(_joined(func(part.clone(), *rest, **named) for part in x.chunk(n)))
    return _joined(func(part, *rest, **named) for part in x.chunk(n))


def _joined(parts: Iterable[Tensor]) -> Tensor:
    return torch.cat([aligned(part) for part in parts])


def _attention(call: Call, n: int) -> Any:
    """Runs `multi_head_attention_forward` image by image on inputs (places, n, c), because its products inside are not seen."""
    args, named = call.args, call.kwargs
    inputs = {name: call.get(place, name) for place, name in enumerate(("query", "key", "value"))}
    masked = named.get("key_padding_mask") is not None or getattr(named.get("attn_mask"), "ndim", 2) > 2
    fits = all(one.ndim == 3 and one.shape[1] % n == 0 for one in inputs.values())
    if masked or not fits or not any(map(_moves, inputs.values())):
        return call()
    parts = {id(one): one.chunk(n, 1) for one in inputs.values()}
    outputs: list[Tensor] = []
    weights: list[Tensor | None] = []
    for i in range(n):
        # inputs that are one tensor remain one tensor: torch then takes another path
        own = {key: part[i].clone(memory_format=torch.contiguous_format) for key, part in parts.items()}
        again = {name: own[id(one)] for name, one in inputs.items() if name in named}
        output, weight = call.function(*(own[id(one)] for one in args[:3]), *args[3:], **(named | again))
        outputs.append(aligned(output))
        weights.append(weight)
    seen = [one for one in weights if one is not None]
    return torch.cat(outputs, 1), torch.cat(seen) if seen else None


# --- rows computed in a pair


def _product(call: Call, rows: Sequence[bool], n: int) -> Any:
    product: Product = partial(call.function, **call.kwargs)
    args = [kernels.at_a_line(one) if mine else one for one, mine in zip(call.args, rows, strict=True)]
    named = sorted((name, _kind(one)) for name, one in call.kwargs.items())
    key = (call.function, n, torch.get_num_threads(), *map(_kind, args), *named)
    if key not in _alike:
        _alike[key] = _rows_are_alike(product, args, rows, n)
    return aligned(product(*args)) if _alike[key] else _row_by_row(product, args, rows, n)


def _row_by_row(product: Product, args: Sequence[Any], rows: Sequence[bool], n: int) -> Tensor:
    parts = [one.chunk(n) if mine else None for one, mine in zip(args, rows, strict=True)]
    each = [[one if part is None else part[i] for one, part in zip(args, parts, strict=True)] for i in range(n)]
    made = [_in_a_pair(product, some, rows) for some in each]
    return made[0] if n == 1 else torch.cat(made)


def _in_a_pair(product: Product, args: Sequence[Any], rows: Sequence[bool]) -> Tensor:
    """Computes the product of one row together with a copy of the row, and drops the result of the copy."""
    pairs = [torch.cat([one, one.detach()]) if mine else one for one, mine in zip(args, rows, strict=True)]
    both = aligned(product(*pairs))
    return both[: len(both) // 2]


def _kind(value: Any) -> Any:
    """Returns the properties of an operand by which torch may choose a kernel."""
    if isinstance(value, Tensor):
        place = value.data_ptr() % kernels.LINE
        return (*value.shape, *value.stride(), place, value.dtype, value.device, value.requires_grad)
    return str(value)


def _rows_are_alike(product: Product, args: Sequence[Any], rows: Sequence[bool], n: int) -> bool:
    """Checks on noise that each of n copies of a row gets, bit for bit, the result and gradient of the row in a pair."""
    generator, agreed = torch.Generator().manual_seed(0), 0
    while agreed < ENOUGH:
        compared = _agreement(product, args, rows, n, generator)
        if not compared:
            return False
        agreed += max(compared, ENOUGH // TIMES)
    return True


def _agreement(product: Product, args: Sequence[Any], rows: Sequence[bool], n: int, generator: torch.Generator) -> int:
    """Compares a batch of n copies of a row of noise with the row in a pair.

    Returns how many numbers per row agreed, the smallest count among the result and the gradients, or 0 if a bit differs.
    """
    with torch.enable_grad():
        single = [_noise(one, n, generator) if mine else one for one, mine in zip(args, rows, strict=True)]
        batch = [_repeated(one, like, n) if mine else one for one, like, mine in zip(single, args, rows, strict=True)]
        rule, together = _in_a_pair(product, single, rows), aligned(product(*batch))
        if not _equal(together.detach(), rule.detach(), n):
            return 0
        arriving = torch.randn(rule.shape, generator=generator, dtype=torch.float64).to(rule)
        back = torch.autograd.grad(rule, [one for one, mine in zip(single, rows, strict=True) if mine], arriving)
        moved = [one for one, mine in zip(batch, rows, strict=True) if mine]
        back_n = torch.autograd.grad(together, moved, _tiled(arriving, together, n))
        same = all(_equal(a, b, n) for a, b in zip(back_n, back, strict=True))
        return min(math.prod(one.shape) or ENOUGH for one in (rule, *back)) if same else 0


def _noise(like: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draws noise for one row, in the memory layout of a row of the batch `like` of n rows."""
    row = like.detach()[: len(like) // n]
    drawn = torch.empty_strided(row.shape, row.stride(), dtype=row.dtype, device=row.device)
    drawn.copy_(torch.randn(row.shape, generator=generator, dtype=torch.float64))  # full precision: few digits add up exactly
    return drawn.requires_grad_()


def _repeated(row: Tensor, like: Tensor, n: int) -> Tensor:
    many = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
    many.copy_(_tiled(row.detach(), like, n))
    return many.requires_grad_()


def _tiled(row: Tensor, like: Tensor, n: int) -> Tensor:
    return row.repeat(n, *[1] * (row.ndim - 1)).view(like.shape)


def _equal(together: Tensor, alone: Tensor, n: int) -> bool:
    return torch.equal(together, _tiled(alone, together, n))
