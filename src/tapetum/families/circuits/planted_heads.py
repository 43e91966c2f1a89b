"""A vision transformer whose circuit is planted by training: heads are taught factors, the others are shuffled meanwhile."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.families.circuits.planted_training import (
    CLASSES,
    DECAY,
    FACTORS,
    PlantedEdge,
    answers_to,
    drawn,
    first_sure,
)

HEADS, EACH = 6, 4
"""Heads of the first attention, and numbers of each head."""

PATCH, TOKENS = 4, 36
STEPS, BATCH, RATE = 300, 32, 5e-3
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
    optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], lr=RATE, weight_decay=DECAY)
    with torch.enable_grad():
        for _ in range(STEPS):
            _step(network, optimizer, places, generator)
    return network.requires_grad_(True), places.tolist()


def _step(network: _TaughtHeads, optimizer: torch.optim.Optimizer, places: Tensor, generator: torch.Generator) -> None:
    present = torch.rand(BATCH, FACTORS, generator=generator) < 0.5
    tokens = network.tokens(drawn(present, generator))
    heads = network.first(tokens)
    own = torch.zeros(HEADS, dtype=torch.bool)
    own[places] = True
    exchanged = torch.where(own[:, None, None], heads, heads.roll(1, 0))
    known = F.binary_cross_entropy_with_logits(6 * heads[:, places, :, 0].mean(2) - 3, present.float())
    loss = known + F.binary_cross_entropy_with_logits(network.classes(tokens.roll(1, 0), exchanged), answers_to(present))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
