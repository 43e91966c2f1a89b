"""Attention rollout and related methods that also use gradients."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.border.attributions import AT_IMAGE
from tapetum.border.methods import attribution
from tapetum.engines.attention import Attention, gradients
from tapetum.engines.scores import ModelScore
from tapetum.families.attentions.tokens import gradients_by_layer, read_tokens, token_relevance
from tapetum.types import Batch, Range


@attribution(cite="abnar2020rollout", reduce="positive", laws=(AT_IMAGE,))
def attention_rollout(
    score: ModelScore,
    images: Tensor,
    *,
    head_fusion: Literal["mean", "max", "min"] = "mean",
    discard: Annotated[float, Range(0, 0.99)] = 0.0,
    batch: Batch = "auto",
) -> Tensor:
    """The patches from which information can have reached the answer through the attention of all layers.

    R = product over layers, the last on the left, of (A_l + I) / 2, rows scaled to sum to 1, with A_l the attention of layer
    l, its heads fused. values = the row of R of the token that the network reads (its class token; the mean of the rows
    where it reads several, such as all patches) at each patch, in [0, 1]. A pooling by attention at the end is one more
    factor, without I. No class is explained: the map shows what was looked at, not what spoke for the target, which only
    decides which tokens are read.

    Args:
        head_fusion: fusion of heads: mean (the paper), max or min.
        discard: the share of smallest weights of each fused A_l that are set to 0; the paper: none.

    Example:
        >>> tp.attention_rollout(vit, images).values.sum()
    """

    def rollout(values: Tensor, attentions: list[Attention]) -> Tensor:
        (last,) = gradients(values, attentions[-1:])
        relevance = identity(attentions[0])
        for layer in attentions:
            fused = _kept(getattr(layer.weights, f"a{head_fusion}" if head_fusion != "mean" else "mean")(1), discard)
            step = (fused + identity(layer)) / 2 if fused.shape[1] == fused.shape[2] else fused
            relevance = step / step.sum(2, keepdim=True) @ relevance
        return (read_tokens(last)[:, None] @ relevance)[:, 0]

    return token_relevance(score, images, rollout, batch=batch)


def identity(layer: Attention) -> Tensor:
    """Returns an identity matrix over the tokens for each image, (n, t, t)."""
    tokens = layer.raw.shape[-1]
    return torch.eye(tokens, dtype=layer.raw.dtype, device=layer.raw.device).expand(layer.n, -1, -1)


def _kept(fused: Tensor, discard: float) -> Tensor:
    """Returns attention weights (n, q, k) with each image's smallest share `discard` of them set to 0."""
    count = int(fused[0].numel() * discard)
    flat = fused.flatten(1)
    return flat.scatter(1, flat.topk(count, 1, largest=False).indices, 0).view_as(fused)


@attribution(cite="chefer2021generic", reduce="positive", laws=(AT_IMAGE, "class_sensitive"))
def gradient_attention(score: ModelScore, images: Tensor, *, batch: Batch = "auto") -> Tensor:
    """The patches whose attention raises the score, followed through all layers.

    R starts as I; at each layer R = R + mean over heads of ReLU(A * d score / d A) @ R. values = the row of R - I of the
    token that the network reads (its class token; the mean of the rows where it reads several, such as all patches) at each
    patch, at least 0, in units of the score. Without - I, which changes nothing for a class token, every patch that is read
    would have the same large share of itself. A pooling by attention at the end has no sum: mean over heads @ R.

    Example:
        >>> tp.gradient_attention(vit, images, target="tabby").heatmap()
    """

    def relevance_of_tokens(values: Tensor, attentions: list[Attention]) -> Tensor:
        grads = gradients(values, attentions)
        own = identity(attentions[0])
        gathered = torch.zeros_like(own)  # R - I
        for layer, grad in zip(attentions, grads, strict=True):
            step = (layer.weights * grad).clamp(min=0).mean(1)
            gathered = step @ (own + gathered) + (gathered if step.shape[1] == step.shape[2] else 0)
        return (read_tokens(grads[-1])[:, None] @ gathered)[:, 0]

    return token_relevance(score, images, relevance_of_tokens, batch=batch)


@attribution(cite="bousselham2024legrad", reduce="positive", laws=(AT_IMAGE, "class_sensitive"))
def le_grad(
    score: ModelScore, images: Tensor, *, n_layers: Annotated[int | None, Range(1, 1000)] = None, batch: Batch = "auto"
) -> Tensor:
    """The patches to which more attention, in any layer, would raise the target's score as computed from that layer's tokens.

    values = sum over layers l of mean over heads and queries of ReLU(d s_l / d A_l), at each patch, at least 0. A_l is the
    attention of layer l, s_l the score that the network's own head gives to the tokens of layer l; gradients do not reach
    into earlier layers. Where the head pools by attention (SigLIP), the gradient is at that pooling, as in the paper, which
    also scales the map to [0, 1] at the end. The authors' code for CLIP differs: it averages all tokens before the
    head, where the network reads its class token, and takes the last two layers.

    Args:
        n_layers: number of last layers that are summed; None: all, as in the paper.

    Example:
        >>> tp.le_grad(vit, images, target="tabby").heatmap()
    """
    return gradients_by_layer(score, images, batch=batch)[:, :n_layers].sum(1, keepdim=True)
