"""Metrics against Quantus: one map of one picture, the same network and order of pixels, equal numbers.

The picture is grey, since Quantus counts each value of each channel as a place: of colour images it flips single channels,
and its ROAD ends in an IndexError.
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

STEPS = 32
PERCENTAGES = (10, 30, 50, 70, 90)
CLOSE = 1e-4  # single precision, and another order of sums
USUAL: dict[str, Any] = {"normalise": False, "disable_warnings": True}
TARGET, PASSES = 2.0, 1.0
"""Pixel flipping of a large network is nothing but its passes, which both sides need: there no more than equal is asked."""


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
    networks = {"SimpleCNN": (SimpleCNN(10), 32), "efficientnet_lite0": (tp.load("efficientnet_lite0").module, 224)}
    for name, (module, size) in networks.items():
        model = tp.wrap(Grey(module).eval(), size=size, mean=(0.5,), std=(0.5,))
        images = _picture(size)
        with torch.no_grad():
            targets = [int(one) for one in model.module(images).argmax(1)]
        maps = _ranks(tp.random_attribution(model, images, targets))
        yield _flipping(f"{name} {size} px", model, images, maps, targets, TARGET if size < 200 else PASSES)
        yield _road(f"{name} {size} px", model, images, maps, targets)


def _picture(size: int) -> Tensor:
    """The packaged cat, grey, (1, 1, size, size)."""
    cat = nn.functional.interpolate(read_image(packaged_photo("cat")), (size, size), mode="area").mean(1, keepdim=True) * 2 - 1
    return cat.contiguous()


def _ranks(maps: tp.Attribution) -> tp.Attribution:
    """The ranks of the pixels in place of their values: no ties, whose order is another in each library."""
    heat = maps.ranking()
    ranks = heat.flatten(1).argsort(dim=1, stable=True).argsort(dim=1).view_as(heat)
    return replace(maps, values=ranks[:, None].float(), reduce="sum")


def _flipping(
    name: str, model: tp.VisionModel, images: Tensor, maps: tp.Attribution, targets: list[int], target: float
) -> Pair:
    black = images.amin((1, 2, 3), keepdim=True).expand_as(images)
    theirs: Any = quantus.PixelFlipping(features_in_step=images.shape[-1] * images.shape[-2] // STEPS, **USUAL)

    def ours() -> Tensor:
        return tp.pixel_flipping(model, images, maps, n_steps=STEPS, fill=black).curve[:, 1:]

    def peer() -> Tensor:
        return torch.as_tensor(np.array(_asked(theirs, model.module, images, maps.values, targets)))

    return Pair(f"pixel flipping, {name}", "Quantus", ours, peer, target, CLOSE)


def _road(name: str, model: tp.VisionModel, images: Tensor, maps: tp.Attribution, targets: list[int]) -> Pair:
    """Highest first and lowest first, two runs of Quantus, whose probabilities are read before it counts classes."""
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
