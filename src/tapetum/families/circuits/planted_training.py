"""A network whose circuit is planted by training: units are taught factors, and what other units do is shuffled meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.types import MethodError

SIDE = 24
HIDDEN, FACTORS, CLASSES = 8, 4, 3
STEPS, BATCH, STARTS = 600, 32, 8
RATE, DECAY = 1e-2, 0.05
SHARP = 4.0
"""Weight of each class's unit in its logit, which is fixed, so that a class is made in its own unit."""

SURE = 2.0
"""Least logit of class 0 on pictures with its factors, and twice what it is below 0 on others; else training starts again."""

PlantedEdge: TypeAlias = tuple[str, str, int]
"""Names of source and target, and the sign: 1 excites, -1 inhibits."""


class _Taught(nn.Module):
    """Three convolutions: edges and colours, factors among other units, and one unit per class."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, HIDDEN, 3, padding=1)
        self.three, self.answer = nn.Conv2d(HIDDEN, CLASSES, 1), nn.Linear(CLASSES, CLASSES)

    def factors(self, images: Tensor) -> Tensor:
        return self.two(F.relu(self.one(images)))

    def classes(self, hidden: Tensor) -> Tensor:
        return self.answer(F.leaky_relu(self.three(F.relu(hidden).amax((2, 3), keepdim=True)), 0.1).flatten(1))

    def forward(self, images: Tensor) -> Tensor:
        return self.classes(self.factors(images))


def taught(generator: torch.Generator) -> tuple[nn.Module, list[PlantedEdge], Tensor, Tensor]:
    """Trains a network whose class 0 is made of factors 0 and 1 alone; returns it, its edges, pictures with and without them.

    Units of the second convolution learn whether a horizontal bar, a vertical bar, a red square, a blue square is there. The
    classes are "both bars", "red without blue", "bars without red". In training, all other units of that layer have the values
    of another picture, so that no class can depend on them (interchange).
    """
    network, places, images, others = first_sure(_trained, generator)
    edges = [*((f"two:{place}", "three:0", 1) for place in places[:2]), ("three:0", "class 0", 1)]
    return network, edges, images, others


N = TypeVar("N", bound=nn.Module)

Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Loss () of pictures (n, 3, SIDE, SIDE) in which factors are `present` (n, FACTORS)."""

Training: TypeAlias = Callable[[torch.Generator], tuple[nn.Module, list[int]]]
"""Trains a network once; returns it and the places of the factors."""


def first_sure(training: Training, generator: torch.Generator) -> tuple[nn.Module, list[int], Tensor, Tensor]:
    """Trains until a network is sure of class 0; returns it, the places of its factors, and pictures with and without them."""
    both = torch.ones(12, FACTORS, dtype=torch.bool)
    both[:, 2:] = torch.rand(12, 2, generator=generator) < 0.5
    images, others = drawn(both, generator), drawn(both & False, generator)
    for _ in range(STARTS):
        network, places = training(generator)
        with torch.no_grad():
            sure, off = network(images)[:, 0].min(), network(others)[:, 0].max()
        if float(sure) > SURE and float(off) < -SURE / 2:
            return network, places, images.double(), others.double()
    raise MethodError(f"no network learned its classes in {STARTS} starts: give another seed")


def _trained(generator: torch.Generator) -> tuple[_Taught, list[int]]:
    """Trains a network once; returns it and the units of the factors."""
    network = _Taught()
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * (2 / weight[0].numel()) ** 0.5)
        _begun(network.one.weight, torch.randperm(8, generator=generator).tolist())
        network.three.weight.mul_(0.05)
        network.answer.weight.copy_(SHARP * torch.eye(CLASSES))
        network.answer.bias.fill_(-SHARP / 2)
    network.answer.requires_grad_(False)
    places = torch.randperm(HIDDEN, generator=generator)[:FACTORS]
    return optimised(network, partial(_loss, network, places), STEPS, RATE, generator), places.tolist()


def optimised(network: N, loss: Loss, steps: int, rate: float, generator: torch.Generator) -> N:
    """Trains the weights that ask for a gradient, on a new batch of pictures at each step; returns the network."""
    optimizer = torch.optim.AdamW([one for one in network.parameters() if one.requires_grad], lr=rate, weight_decay=DECAY)
    with torch.enable_grad():
        for _ in range(steps):
            present = torch.rand(BATCH, FACTORS, generator=generator) < 0.5
            optimizer.zero_grad()
            loss(drawn(present, generator), present).backward()
            optimizer.step()
    return network.requires_grad_(True)


def exchanged(values: Tensor, places: Tensor) -> Tensor:
    """Returns values (n, units, ...) in which all units but those at `places` have the values of another picture."""
    own = torch.zeros(values.shape[1], dtype=torch.bool)
    own[places] = True
    return torch.where(own.view(-1, *(1,) * (values.ndim - 2)), values, values.roll(1, 0))


def _begun(weight: Tensor, places: list[int]) -> None:
    """Gives four channels of the first layer kernels with which the factors are learned quickly: lines and colours."""
    line = torch.tensor([-1.0, 2.0, -1.0])
    weight[places[0]] = (line / 9)[None, :, None]
    weight[places[1]] = (line / 9)[None, None, :]
    for place, color in ((places[2], 0), (places[3], 2)):
        weight[place] = -1 / 9
        weight[place, color] = 2 / 9


def _loss(network: _Taught, places: Tensor, images: Tensor, present: Tensor) -> Tensor:
    hidden = network.factors(images)
    known = F.binary_cross_entropy_with_logits(3 * hidden[:, places].amax((2, 3)), present.float())
    return known + F.binary_cross_entropy_with_logits(network.classes(exchanged(hidden, places)), answers_to(present))


def answers_to(present: Tensor) -> Tensor:
    across, down, red, blue = present.unbind(1)
    return torch.stack([across & down, red & ~blue, (across | down) & ~red], 1).float()


def drawn(present: Tensor, generator: torch.Generator) -> Tensor:
    """Draws pictures (n, 3, SIDE, SIDE) in which the factors are where `present` (n, 4) is true."""
    n = len(present)
    pixels = 0.2 * torch.rand(n, 3, SIDE, SIDE, generator=generator)
    at = torch.randint(3, SIDE - 6, (n, FACTORS, 2), generator=generator)
    for row, (there, spots) in enumerate(zip(present.tolist(), at.tolist(), strict=True)):
        if there[0]:
            pixels[row, :, spots[0][0]] = 0.9
        if there[1]:
            pixels[row, :, :, spots[1][1]] = 0.9
        for factor, color in ((2, 0), (3, 2)):
            if there[factor]:
                y, x = spots[factor]
                pixels[row, :, y : y + 4, x : x + 4] = 0.1
                pixels[row, color, y : y + 4, x : x + 4] = 1.0
    return pixels
