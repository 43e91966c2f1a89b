"""Networks whose circuits are known, by hand or by training, with their pictures: the truth for measures of edges."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from tapetum.families.circuits.planted_by_hand import MAKERS
from tapetum.families.circuits.planted_heads import taught_heads
from tapetum.families.circuits.planted_training import SIDE, taught
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import wrap
from tapetum.types import MethodError
from tapetum.types.circuits import CircuitTruth

PlantedKind: TypeAlias = Literal[
    "cross", "inhibited", "chain", "residual", "depthwise", "two_heads", "trained", "trained_heads"
]


def planted_circuit(kind: PlantedKind, seed: int = 0) -> tuple[VisionModel, CircuitTruth]:
    """A small network in which the circuit of class 0 is known, and that circuit: its pictures, its edges and their signs.

    cross      two bar detectors excite a cross detector
    inhibited  one detector excites the next one, another one inhibits it
    chain      three steps through max-pooling and batch-norm; one step is excitation by two negative signs
    residual   a unit acts on a far one past a convolution, which takes part of it back
    depthwise  a stage in which every channel hears only itself, between two others
    two_heads  a vision transformer: one head excites a head of the next block, the other one inhibits the answer past it
    trained    units that were taught factors, while all other units had the values of other pictures (some seconds)
    trained_heads  the same with heads of a vision transformer

    Every network has more units than those. The networks whose weights are written by hand have small random weights between
    all units; the seed shuffles channels and draws these weights and the pictures, bars that cross on coloured noise. Models
    are in double precision and have three classes; pictures are (12, 3, 24, 24) in [0, 1]. An unknown kind is refused
    (MethodError), and so is a seed with which "trained" does not learn its classes.

    Example:
        >>> model, truth = tp.planted_circuit("cross", 1)
        >>> found = tp.circuit(model, 0, truth.images, edges=len(truth.edges))
        >>> truth.compare(found)
        (1.0, 1.0)
    """
    if kind not in get_args(PlantedKind):
        raise MethodError(f"there is no planted circuit {kind!r}: give one of {', '.join(get_args(PlantedKind))}")
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # new modules draw weights, which are replaced, from the global generator
        if kind in TAUGHT:
            network, edges, images, others = TAUGHT[kind](generator)
        else:
            network, edges = MAKERS[kind](generator)
            images, others = _pictures(generator, 12), _dark(generator, 12)
    model = wrap(network.double().eval(), name=f"planted {kind}", mean=(0.0,) * 3, std=(1.0,) * 3, size=SIDE)
    return model, CircuitTruth(kind, seed, images, others, tuple(edges))


def _pictures(generator: torch.Generator, n: int) -> Tensor:
    """Draws n pictures (n, 3, SIDE, SIDE) in [0, 1]: a horizontal and a vertical bar that cross, on dark coloured noise."""
    pixels = 0.1 * torch.rand(n, 3, SIDE, SIDE, generator=generator)
    pixels = pixels + 0.3 * torch.rand(n, 3, 1, 1, generator=generator)
    for one in pixels:
        row, column = (torch.randint(5, SIDE - 5, (2,), generator=generator)).tolist()
        one[:, row] = one[:, :, column] = 0.8 + 0.2 * torch.rand((), generator=generator)
    return pixels.clamp(0, 1).double()


def _dark(generator: torch.Generator, n: int) -> Tensor:
    """Draws n pictures of dark noise, without bars."""
    return 0.1 * torch.rand(n, 3, SIDE, SIDE, generator=generator, dtype=torch.float64)


TAUGHT = {"trained": taught, "trained_heads": taught_heads}
