"""Attention is seen however a network spells it, and seeing it changes nothing.

Tolerance 1e-12: float64 sums over a handful of terms in another order.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.engines.attention import Attention, attention_weights, gradients, in_sequence
from tapetum.types import TargetError

N, HEADS, TOKENS, WIDTH = 2, 3, 5, 4


def qkv(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(3, N, HEADS, TOKENS, WIDTH, generator=generator, dtype=torch.float64))  # type: ignore[return-value]


def by_hand(q: Tensor, k: Tensor, scale: float, bias: Tensor | None = None) -> Tensor:
    """softmax(scale q k + bias), one number after the other."""
    weights = torch.zeros(N, HEADS, TOKENS, TOKENS, dtype=torch.float64)
    for index in torch.cartesian_prod(torch.arange(N), torch.arange(HEADS), torch.arange(TOKENS)):
        n, h, i = index.tolist()
        row = torch.stack([scale * (q[n, h, i] * k[n, h, j]).sum() for j in range(TOKENS)])
        row = row if bias is None else row + bias[i]
        weights[n, h, i] = row.exp() / row.exp().sum()
    return weights


CAUSAL = torch.full((TOKENS, TOKENS), -torch.inf, dtype=torch.float64).triu(1)
BIAS = torch.linspace(-1, 1, TOKENS * TOKENS, dtype=torch.float64).view(TOKENS, TOKENS)
FUSED: dict[str, tuple[dict, float, Tensor | None]] = {
    "plain": ({}, 0.5, None),
    "scale": ({"scale": 0.3}, 0.3, None),
    "causal": ({"is_causal": True}, 0.5, CAUSAL),
    "bias": ({"attn_mask": BIAS}, 0.5, BIAS),
    "mask": ({"attn_mask": CAUSAL == 0}, 0.5, CAUSAL),
}


@pytest.mark.parametrize("spelling", FUSED)
def test_fused_attention_is_computed_as_what_it_stands_for(spelling: str) -> None:
    keywords, scale, bias = FUSED[spelling]
    q, k, v = qkv()
    fused = F.scaled_dot_product_attention(q, k, v, **keywords)
    with attention_weights() as found:
        explicit = F.scaled_dot_product_attention(q, k, v, **keywords)
    torch.testing.assert_close(explicit, fused, rtol=0, atol=1e-12)
    (attention,) = found.used
    attention.n = N
    torch.testing.assert_close(attention.weights, by_hand(q, k, scale, bias), rtol=0, atol=1e-12)
    torch.testing.assert_close(attention.weights @ v, fused, rtol=0, atol=1e-12)


def test_grouped_queries_share_keys() -> None:
    q, k, v = qkv()
    q = torch.cat([q, q.flip(1)], 1)
    fused = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    with attention_weights() as found:
        explicit = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(explicit, fused, rtol=0, atol=1e-12)
    assert found.used[0].raw.shape == (N, 2 * HEADS, TOKENS, TOKENS)


def dropped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = nn.Softmax(dim=-1)(q @ k.mT / 2)
    return torch.matmul(F.dropout(weights, 0.5, training=False).to(v.dtype), v)


def batched(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = torch.softmax(torch.bmm(q.flatten(0, 1), k.flatten(0, 1).mT) / 2, dim=2)
    return torch.bmm(weights, v.flatten(0, 1)).view_as(v)


def einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("nhij,nhjd->nhid", (torch.einsum("nhid,nhjd->nhij", q, k) / 2).softmax(-1), v)


def einsum_turned(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("nhjd,nhij->nhid", v, F.softmax(q @ k.mT / 2, 3))


def operator(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.transpose(-1, -2) / 2).softmax(dim=-1) @ v


@pytest.mark.parametrize("spelling", [dropped, batched, einsum, einsum_turned, operator])
def test_a_softmax_that_multiplies_something_is_an_attention(spelling: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    q, k, v = qkv()
    plain = spelling(q, k, v)
    with attention_weights() as found:
        assert torch.equal(spelling(q, k, v), plain)
    (attention,) = found.used
    attention.n = N
    torch.testing.assert_close(attention.weights @ v, plain, rtol=0, atol=1e-12)


def test_a_softmax_that_multiplies_nothing_is_none() -> None:
    q, k, v = qkv()
    with attention_weights() as found:
        ((q @ k.mT).softmax(-1) * 0.5) @ v  # no longer the weights
        (q @ k.mT).softmax(-2) @ v  # over the queries
        q.mean((1, 2)).softmax(-1) @ v[0, 0].mT  # a classifier's probabilities
    assert found.used == []
    assert len(found.seen) == 1


def layer(**keywords: bool) -> nn.Module:
    """torch's own layer, in evaluation mode, where it may take its native fast path."""
    return nn.TransformerEncoderLayer(8, 2, 16, dtype=torch.float64, **keywords).eval().requires_grad_(False)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_torchs_own_layers_are_seen_also_where_they_would_take_their_fast_path(batch_first: bool, norm_first: bool) -> None:
    block = layer(batch_first=batch_first, norm_first=norm_first)
    x = torch.randn(N, TOKENS, 8, dtype=torch.float64)
    plain = block(x)
    with attention_weights() as found:
        torch.testing.assert_close(block(x), plain, rtol=0, atol=1e-12)
    assert len(found.used) == 1
    inner = x if not norm_first else block.norm1(x)
    _, weights = block.self_attn(inner, inner, inner, average_attn_weights=False)
    images = N if batch_first else TOKENS
    found.used[0].n = images
    torch.testing.assert_close(found.used[0].weights, weights, rtol=0, atol=1e-12)


@pytest.mark.parametrize("need_weights", [False, True])
def test_multi_head_attention_is_seen_with_and_without_its_weights(need_weights: bool) -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64).eval().requires_grad_(False)
    x = torch.randn(N, TOKENS, 8, dtype=torch.float64)
    plain, weights = attention(x, x, x, average_attn_weights=False)
    with torch.enable_grad(), attention_weights() as found:
        output, _ = attention(x, x, x, need_weights=need_weights)
    torch.testing.assert_close(output, plain, rtol=0, atol=1e-12)
    found.used[0].n = N
    torch.testing.assert_close(found.used[0].weights, weights, rtol=0, atol=1e-12)
    v = F.linear(x, attention.in_proj_weight[16:], attention.in_proj_bias[16:]).view(N, TOKENS, 2, 4)
    reads = attention.out_proj.weight.sum(0).view(2, 4)  # d output.sum() / d A_hij = v_jh . (columns of the projection)
    expected = torch.einsum("njhd,hd->nhj", v, reads)[:, :, None].expand(N, 2, TOKENS, TOKENS)
    torch.testing.assert_close(gradients(output.sum((1, 2)), found.used)[0], expected, rtol=0, atol=1e-12)


def test_cut_weights_pass_no_gradient_on() -> None:
    q, k, v = qkv()
    q.requires_grad_()
    with attention_weights(cut=True) as found:
        output = F.scaled_dot_product_attention(q, k, v)
    found.used[0].n = N
    assert torch.autograd.grad(output.sum(), q, allow_unused=True)[0] is None
    with attention_weights(cut=True) as found:
        output = F.scaled_dot_product_attention(q, k, v)
    found.used[0].n = N
    expected = v.sum(-1)[:, :, None].expand(N, HEADS, TOKENS, TOKENS)
    torch.testing.assert_close(gradients(output.sum((1, 2, 3)), found.used)[0], expected, rtol=0, atol=1e-12)


def test_attentions_side_by_side_are_told_from_those_that_follow_each_other() -> None:
    def ran(parallel: bool) -> list[Attention]:
        q, k, v = qkv()
        with attention_weights() as found:
            one = F.scaled_dot_product_attention(q, k, v)
            F.scaled_dot_product_attention(q if parallel else one, k, v)
        return found.used

    assert in_sequence(ran(parallel=False))
    assert not in_sequence(ran(parallel=True))


def test_a_score_without_a_gradient_says_so() -> None:
    with attention_weights() as found, torch.no_grad():
        values = F.scaled_dot_product_attention(*qkv()).sum((1, 2, 3))
    with pytest.raises(TargetError, match="no gradient"):
        gradients(values, found.used)


def test_nothing_is_seen_after_an_error_in_the_block() -> None:
    with pytest.raises(KeyError), attention_weights() as found:
        raise KeyError
    F.scaled_dot_product_attention(*qkv())
    assert found.used == []
