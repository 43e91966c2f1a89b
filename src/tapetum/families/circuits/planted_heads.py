"""A vision transformer whose circuit is planted by training: heads are taught factors, the others are shuffled meanwhile."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.families.circuits.planted_training import (
    CLASSES,
    FACTORS,
    PlantedEdge,
    answers_to,
    exchanged,
    first_sure,
    optimised,
)

HEADS, EACH = 6, 4
"""Heads of the first attention, and numbers of each head."""

PATCH, TOKENS = 4, 36
STEPS, RATE = 300, 5e-3
SHARP = 4.0
"""Weight of each class's head in its logit, which is fixed, so that a class is made in its own head."""


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv = heads, nn.Linear(width, 3 * heads * EACH)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what each head says of each token, (n, heads, tokens, EACH)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, EACH)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v)


class _TaughtHeads(nn.Module):
    """Two attentions: heads of factors among other heads, and one head per class."""

    def __init__(self) -> None:
        super().__init__()
        width = HEADS * EACH
        self.embed, self.places = nn.Conv2d(3, width, PATCH, stride=PATCH), nn.Parameter(torch.zeros(TOKENS, width))
        self.first, self.mixed = _Attention(width, HEADS), nn.Linear(width, width)
        self.second, self.answer = _Attention(width, CLASSES), nn.Linear(CLASSES * EACH, CLASSES)

    def tokens(self, images: Tensor) -> Tensor:
        return F.gelu(self.embed(images)).flatten(2).transpose(1, 2) + self.places

    def classes(self, tokens: Tensor, heads: Tensor) -> Tensor:
        """Returns the logits (n, CLASSES) of tokens and of what the first heads say of them."""
        stream = tokens + self.mixed(heads.transpose(1, 2).flatten(2))
        return self.answer(self.second(stream).transpose(1, 2).flatten(2).mean(1))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.tokens(images)
        return self.classes(tokens, self.first(tokens))


def taught_heads(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge], Tensor, Tensor]:
    """Trains a transformer whose class 0 is made of two heads alone; returns it, its edges, pictures with and without them.

    Factors and classes are those of `taught`. In training, all other heads and the residual stream have the values of another
    picture, so that no class can depend on them.
    """
    network, places, images, others = first_sure(_trained, generator)
    edges = [*((f"first head {place}", "second head 0", 1) for place in places[:2]), ("second head 0", "class 0", 1)]
    return network, edges, images, others


def _trained(generator: torch.Generator) -> tuple[nn.Module, list[int]]:
    """Trains a network once; returns it and the heads of the factors."""
    network = _TaughtHeads()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * weight[0].numel() ** -0.5 * (weight.ndim > 1))
        network.answer.weight.zero_()
        network.answer.weight[range(CLASSES), range(0, CLASSES * EACH, EACH)] = SHARP
        network.answer.bias.fill_(-SHARP / 2)
    network.answer.requires_grad_(False)
    places = torch.randperm(HEADS, generator=generator)[:FACTORS]
    return optimised(network, partial(_loss, network, places), STEPS, RATE, generator), places.tolist()


def _loss(network: _TaughtHeads, places: Tensor, images: Tensor, present: Tensor) -> Tensor:
    tokens = network.tokens(images)
    heads = network.first(tokens)
    known = F.binary_cross_entropy_with_logits(6 * heads[:, places, :, 0].mean(2) - 3, present.float())
    logits = network.classes(tokens.roll(1, 0), exchanged(heads, places))
    return known + F.binary_cross_entropy_with_logits(logits, answers_to(present))
