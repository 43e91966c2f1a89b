"""Multi-head attention as a sequence of operations that have relevance rules."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.types import MethodError


def multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int,
    in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Tensor | None, bias_v: Tensor | None,
    add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor, out_proj_bias: Tensor | None,
    training: bool = True, key_padding_mask: Tensor | None = None, need_weights: bool = True,
    attn_mask: Tensor | None = None, use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None, k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None, static_v: Tensor | None = None, average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, None]:  # fmt: skip
    """Computes `torch.nn.functional.multi_head_attention_forward` for (t, n, c) or (t, c); returns no attention weights."""
    rare = (bias_k, bias_v, key_padding_mask, static_k, static_v)
    if add_zero_attn or any(one is not None for one in rare):
        raise MethodError("relevance has no rule for attention with padding masks, added keys or static keys")
    if in_proj_weight is not None:
        weights: tuple[Any, ...] = in_proj_weight.chunk(3)
    else:
        weights = q_proj_weight, k_proj_weight, v_proj_weight
    biases: tuple[Any, ...] = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
    projected = [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
    q, k, v = (_heads(one, num_heads) for one in projected)
    mask = attn_mask if attn_mask is None or attn_mask.ndim == 2 else attn_mask.view(-1, num_heads, *attn_mask.shape[-2:])
    if mask is not None and mask.dtype == torch.bool:
        mask = ~mask  # True hides a key in multi-head attention, and shows it in scaled_dot_product_attention
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=is_causal and mask is None)
    together = mixed.movedim(-2, 0).flatten(-2) if query.ndim == 2 else mixed.permute(2, 0, 1, 3).flatten(2)
    return F.linear(together, out_proj_weight, out_proj_bias), None


def _heads(x: Tensor, n: int) -> Tensor:
    """Splits channels into heads: (t, b, c) becomes (b, heads, t, c / heads), and (t, c) becomes (heads, t, c / heads)."""
    split = x.unflatten(-1, (n, -1))
    return split.permute(1, 2, 0, 3) if x.ndim == 3 else split.permute(1, 0, 2)
