"""Metrics against Quantus: one map of one picture, the same network and order of pixels, equal numbers.

Quantus counts each value of each channel as a place. Its pixel flipping is given ranks in which the three values of a pixel
follow each other, so that it flips whole pixels; its ROAD ends in an IndexError for colour images, so that picture is grey.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import quantus
import torch
from torch import Tensor, nn

import tapetum as tp
from benchmarks.harness import Pair
from tapetum.data.images import read_image
from tapetum.data.sources import packaged_photo
from tapetum.models.zoo import SimpleCNN

STEPS = 36
"""Of 36 steps Quantus divides the values of three channels by 12 evenly, as it asks, if sides are multiples of 12 px."""
PERCENTAGES = (10, 30, 50, 70, 90)
CLOSE = 1e-4  # single precision, and another order of sums
USUAL: dict[str, Any] = {"normalise": False, "disable_warnings": True}
TARGET = 2.0


class Grey(nn.Module):
    """A network for colour images that gets grey ones."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, images: Tensor) -> Tensor:
        return self.inner(images.expand(-1, 3, -1, -1))


def pairs() -> Iterator[Pair]:
    """A small network, where a metric's own work counts, and the built-in one, whose passes take the time."""
    torch.manual_seed(0)
    networks = {"SimpleCNN": (SimpleCNN(10).eval(), 36), "efficientnet_lite0": (tp.load("efficientnet_lite0").module, 228)}
    for name, (module, size) in networks.items():
        colour, grey = _picture(size, 3), _picture(size, 1)
        yield _flipping(f"{name} {size} px", tp.wrap(module, size=size, mean=(0.5,) * 3, std=(0.5,) * 3), colour)
        yield _road(f"{name} {size} px", tp.wrap(Grey(module).eval(), size=size, mean=(0.5,), std=(0.5,)), grey)


def _picture(size: int, channels: int) -> Tensor:
    """The packaged cat in colour or grey, (1, channels, size, size), in [-1, 1]."""
    cat = nn.functional.interpolate(read_image(packaged_photo("cat")), (size, size), mode="area") * 2 - 1
    return (cat if channels == 3 else cat.mean(1, keepdim=True)).contiguous()


def _asked_of(model: tp.VisionModel, images: Tensor) -> tuple[tp.Attribution, list[int]]:
    """A random map whose values are the ranks of the pixels: no ties, whose order is another in each library."""
    with torch.no_grad():
        targets = [int(one) for one in model.module(images).argmax(1)]
    maps = tp.random_attribution(model, images, targets)
    heat = maps.ranking()
    ranks = heat.flatten(1).argsort(dim=1, stable=True).argsort(dim=1).view_as(heat)
    return replace(maps, values=ranks[:, None].float(), reduce="sum"), targets


def _flipping(name: str, model: tp.VisionModel, images: Tensor) -> Pair:
    maps, targets = _asked_of(model, images)
    black = images.amin((1, 2, 3), keepdim=True).expand_as(images)
    channels, pixels = images.shape[1], images.shape[-1] * images.shape[-2]
    theirs: Any = quantus.PixelFlipping(features_in_step=channels * pixels // STEPS, **USUAL)
    in_turn = channels * maps.values + torch.arange(channels).view(-1, 1, 1)

    def ours() -> Tensor:
        return tp.pixel_flipping(model, images, maps, n_steps=STEPS, fill=black).curve[:, 1:]

    def peer() -> Tensor:
        return torch.as_tensor(np.array(_asked(theirs, model.module, images, in_turn, targets)))

    return Pair(f"pixel flipping, {name}", "Quantus", ours, peer, TARGET, CLOSE)


def _road(name: str, model: tp.VisionModel, images: Tensor) -> Pair:
    """Highest first and lowest first, two runs of Quantus, whose probabilities are read before it counts classes."""
    maps, targets = _asked_of(model, images)
    theirs: Any = quantus.ROAD(percentages=list(PERCENTAGES), noise=0.0, **USUAL)

    def ours() -> Tensor:
        found = tp.road(model, images, maps, shares=tuple(one / 100 for one in PERCENTAGES), noise=0.0).parts
        return torch.cat([found["highest_first"], found["lowest_first"]], 1)

    def run(values: Tensor) -> Tensor:
        asked = _probabilities(model.module, lambda: _asked(theirs, model.module, images, values, targets), targets)
        return asked[:, -len(PERCENTAGES) :]

    def peer() -> Tensor:
        return torch.cat([run(maps.values), run(-maps.values)], 1)

    return Pair(f"ROAD, {name}", "Quantus", ours, peer, TARGET, CLOSE, runs=3)


def _asked(metric: Any, module: nn.Module, images: Tensor, values: Tensor, targets: list[int]) -> Any:
    about = {"x_batch": images.numpy(), "y_batch": np.array(targets), "a_batch": values.numpy()}
    return metric(model=module, softmax=True, **about)


def _probabilities(module: nn.Module, work: Callable[[], Any], targets: list[int]) -> Tensor:
    """Probabilities (n, passes) of the targets in all passes during the work."""
    seen: list[Tensor] = []
    with module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.detach().softmax(1))):
        work()
    return torch.stack([one[range(len(targets)), targets] for one in seen], 1)
