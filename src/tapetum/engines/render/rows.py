"""Pictures that do not know of each other: inside `rowwise`, an image's numbers are the same bits in any batch.

Kernels are chosen by the size of the batch (torch takes another one for a single small map than for two), so they sum in
another order, and optimisation lets a last bit grow: after some steps a picture made in a batch would be another one than
the same picture made alone. So each product of a network (convolution, linear, matrix product) is tried once for each
shape, forward and backward: what a row gets in a batch of two is the rule. Where a batch gives other bits it is computed
row by row, where a single image does it is computed twice; all else stays as quick as it was. This is for a CPU: on a GPU
pictures of a batch agree with single runs up to rounding, and what optimisation makes of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

_ONE_OPERAND: frozenset[Callable[..., Any]] = frozenset(
    {F.conv2d, torch.conv2d, F.conv_transpose2d, torch.conv_transpose2d, F.linear}
)
_SEVERAL: frozenset[Callable[..., Any]] = frozenset(
    {torch.matmul, torch.bmm, Tensor.matmul, Tensor.bmm, Tensor.__matmul__, F.scaled_dot_product_attention}
)

_alike: dict[Any, bool] = {}
"""For each product and its shapes: whether a batch's rows have the bits of a row in a pair. A fact of the machine's kernels."""


class rowwise(TorchFunctionMode):  # noqa: N801 (used as a block: `with rowwise(n):`)
    """Inside, what recorded products make of each of n images does not depend on the others, to the last bit."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        rows = self._rows(func, args)
        return _product(func, args, named, rows, self.n) if any(rows) else func(*args, **named)

    def _rows(self, func: Callable[..., Any], args: Sequence[Any]) -> list[bool]:
        """Which of the operands hold the images one after the other; empty where that cannot be told."""
        if func in _ONE_OPERAND and args:
            return [_moves(args[0]) and len(args[0]) % self.n == 0, *[False] * (len(args) - 1)]
        if func in _SEVERAL:
            rows = [_moves(one) for one in args]
            lengths = {len(one) if one.ndim > 2 else 0 for one, mine in zip(args, rows, strict=True) if mine}
            return rows if len(lengths) == 1 and max(lengths) > 0 and max(lengths) % self.n == 0 else []
        return []


def _moves(value: Any) -> bool:
    """A tensor that comes from the images; the network's own weights have no gradient here."""
    return isinstance(value, Tensor) and value.requires_grad and value.ndim > 1


def _product(func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], rows: Sequence[bool], n: int) -> Any:
    key = (func, n, torch.get_num_threads(), *map(_kind, args), *sorted((name, _kind(one)) for name, one in named.items()))
    if key not in _alike:
        _alike[key] = _rows_are_alike(func, args, named, rows, n)
    return func(*args, **named) if _alike[key] else _row_by_row(func, args, named, rows, n)


def _row_by_row(
    func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], rows: Sequence[bool], n: int
) -> Tensor:
    parts = [one.chunk(n) if mine else None for one, mine in zip(args, rows, strict=True)]
    each = [[one if part is None else part[i] for one, part in zip(args, parts, strict=True)] for i in range(n)]
    made = [_in_a_pair(func, some, named, rows) for some in each]
    return made[0] if n == 1 else torch.cat(made)


def _in_a_pair(func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], rows: Sequence[bool]) -> Tensor:
    """One row, computed beside a copy of itself whose result nobody reads."""
    pairs = [torch.cat([one, one.detach()]) if mine else one for one, mine in zip(args, rows, strict=True)]
    both = func(*pairs, **named)
    return both[: len(both) // 2]


def _kind(value: Any) -> Any:
    """What a kernel is chosen by."""
    if isinstance(value, Tensor):
        return (*value.shape, *value.stride(), value.dtype, value.device, value.requires_grad)
    return str(value)


def _rows_are_alike(
    func: Callable[..., Any], args: Sequence[Any], named: Mapping[str, Any], rows: Sequence[bool], n: int
) -> bool:
    """One row of noise, in a pair and n times over: every row must have the bits of the one in the pair, and its gradient."""
    with torch.enable_grad():
        generator = torch.Generator().manual_seed(0)
        single = [_noise(one, n, generator) if mine else one for one, mine in zip(args, rows, strict=True)]
        batch = [_repeated(one, like, n) if mine else one for one, like, mine in zip(single, args, rows, strict=True)]
        rule, together = _in_a_pair(func, single, named, rows), func(*batch, **named)
        if not _equal(together.detach(), rule.detach(), n):
            return False
        arriving = torch.randn(rule.shape, generator=generator, dtype=torch.float32).to(rule)
        back = torch.autograd.grad(rule, [one for one, mine in zip(single, rows, strict=True) if mine], arriving)
        moved = [one for one, mine in zip(batch, rows, strict=True) if mine]
        back_n = torch.autograd.grad(together, moved, _tiled(arriving, together, n))
        return all(_equal(a, b, n) for a, b in zip(back_n, back, strict=True))


def _noise(like: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """One row's worth of noise, laid out in memory as the row of the batch is."""
    row = like.detach()[: len(like) // n]
    drawn = torch.empty_strided(row.shape, row.stride(), dtype=row.dtype, device=row.device)
    drawn.copy_(torch.randn(row.shape, generator=generator, dtype=torch.float32))
    return drawn.requires_grad_()


def _repeated(row: Tensor, like: Tensor, n: int) -> Tensor:
    many = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
    many.copy_(_tiled(row.detach(), like, n))
    return many.requires_grad_()


def _tiled(row: Tensor, like: Tensor, n: int) -> Tensor:
    return row.repeat(n, *[1] * (row.ndim - 1)).view(like.shape)


def _equal(together: Tensor, alone: Tensor, n: int) -> bool:
    return torch.equal(together, _tiled(alone, together, n))
