"""Measured receptive fields: squared gradients of a layer's middle place with respect to the pixels, and their extent.

energy = gradient_energy(model, ["layer1", "layer4"], images, generator)     # {layer: (h, w)}
support(energy["layer4"])                  # the rows and columns with any gradient at all
smallest_square(energy["layer4"], 0.95)    # the smallest square that holds 95 % of it
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.engines.probe import capture
from tapetum.models.layers import Window
from tapetum.models.vision_model import VisionModel
from tapetum.progress import track

ROUNDING = 1 - 1e-12
"""Factor on the required share that allows for rounding, so that a square with all the energy reaches a share of 1."""


def gradient_energy(
    model: VisionModel, layers: Sequence[str], images: Tensor, generator: torch.Generator
) -> dict[str, tuple[Tensor, tuple[int, int]]]:
    """Returns, per layer, the mean squared gradient (h, w) of its middle place, and (row, column) of that place.

    The gradient is d/dx of sum_c s_c a_c(middle); its square is summed over colours and averaged over images. The signs s_c
    are drawn anew for each image, so that channels cannot cancel: the expectation is sum_c sum_colours (da_c/dx)².
    """
    found: dict[str, tuple[Tensor, tuple[int, int]]] = {}
    for image in track(images.split(1), len(images), "images"):
        with torch.enable_grad():
            x = image.detach().clone().requires_grad_(True)
            with capture(model, layers) as acts:
                model(x)
            for layer in layers:
                row, column = (side // 2 for side in acts[layer].shape[-2:])
                values = acts[layer][0, :, row, column]
                signs = (torch.rand(len(values), generator=generator) < 0.5).to(values) * 2 - 1
                (gradient,) = torch.autograd.grad((values * signs).sum(), x, retain_graph=layer != layers[-1])
                # in float64: in float32 the squares of small gradients underflow to zero
                energy = gradient.double().square().sum((0, 1)) / len(images)
                found[layer] = found[layer][0] + energy if layer in found else energy, (row, column)
    return found


def support(energy: Tensor) -> Window | None:
    """Returns (top, bottom, left, right), ends included, of the smallest box around all nonzero values; None for zeros."""
    rows, columns = (_ends(energy.sum(dim)) for dim in (1, 0))
    return None if rows is None or columns is None else (*rows, *columns)


def _ends(values: Tensor) -> tuple[int, int] | None:
    places = values.nonzero().flatten()
    return None if len(places) == 0 else (int(places[0]), int(places[-1]))


def smallest_square(energy: Tensor, share: float) -> Window | None:
    """Returns the smallest square that holds `share` of the energy (h, w); of several, that nearest to the centre of mass."""
    total = float(energy.sum())
    if not total > 0:
        return None
    height, width = energy.shape
    cumulated = torch.nn.functional.pad(energy.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    low, high = 1, max(height, width)
    while low < high:
        side = (low + high) // 2
        enough = float(_held(cumulated, side).max()) >= share * total * ROUNDING
        low, high = (low, side) if enough else (side + 1, high)
    places = (_held(cumulated, low) >= share * total * ROUNDING).nonzero()
    middle = _centre_of_mass(energy) - (low - 1) / 2
    top, left = places[(places - middle).square().sum(1).argmin()].tolist()
    return top, min(top + low, height) - 1, left, min(left + low, width) - 1


def _centre_of_mass(energy: Tensor) -> Tensor:
    total = energy.sum()
    moments = [(energy.sum(1 - dim) * torch.arange(side, device=energy.device)).sum() for dim, side in enumerate(energy.shape)]
    return torch.stack(moments) / total


def _held(cumulated: Tensor, side: int) -> Tensor:
    """Returns the energy in every square of a side in px, from the cumulated energy; squares lie fully in the image."""
    h, w = (min(side, size - 1) for size in cumulated.shape)
    return cumulated[h:, w:] - cumulated[:-h, w:] - cumulated[h:, :-w] + cumulated[:-h, :-w]


def within(inner: Window, outer: Window) -> bool:
    """Returns whether the window `inner` lies in the window `outer`."""
    return outer[0] <= inner[0] and inner[1] <= outer[1] and outer[2] <= inner[2] and inner[3] <= outer[3]
