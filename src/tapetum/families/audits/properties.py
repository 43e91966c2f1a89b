"""Properties of the pictures themselves, such as brightness, against their classes and against the model's mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import one_hot

from tapetum.data.preprocessing import size_of
from tapetum.engines.similarity import ranks
from tapetum.families.audits.cues import frame_of
from tapetum.families.audits.files import FILE_PROPERTIES
from tapetum.families.audits.pictures import Audited
from tapetum.types import Property

SHUFFLES = 2000


def _luma(pixels: Tensor) -> Tensor:
    return pixels.mean(1)


def _sharpness(pixels: Tensor) -> Tensor:
    luma = pixels.mean(1, keepdim=True)
    fine = luma - F.avg_pool2d(F.pad(luma, (1, 1, 1, 1), "replicate"), 3, 1)
    return fine.flatten(1).std(1) / luma.flatten(1).std(1).clamp(min=1e-4)


def _frame(channel: int) -> Callable[[Tensor], Tensor]:
    return lambda pixels: pixels[:, channel][:, frame_of(size_of(pixels))].mean(1)


def _channel(channel: int) -> Callable[[Tensor], Tensor]:
    return lambda pixels: pixels[:, channel].mean((1, 2)) / pixels.mean((1, 2, 3)).clamp(min=1e-4)


PROPERTIES: Mapping[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "brightness": ("mean of the pixels, 0 to 1", lambda pixels: _luma(pixels).mean((1, 2))),
    "contrast": ("standard deviation of the brightness", lambda pixels: _luma(pixels).flatten(1).std(1)),
    "sharpness": ("share of the finest structure in the contrast", _sharpness),
    "red cast": ("mean of red by mean of all", _channel(0)),
    "green cast": ("mean of green by mean of all", _channel(1)),
    "blue cast": ("mean of blue by mean of all", _channel(2)),
    "red of the frame": ("mean, 0 to 1", _frame(0)),
    "green of the frame": ("mean, 0 to 1", _frame(1)),
    "blue of the frame": ("mean, 0 to 1", _frame(2)),
    "evenness of the frame": ("minus the standard deviation of its brightness", lambda pixels: -_luma(pixels)[
        :, frame_of(size_of(pixels))
    ].std(1)),
}  # fmt: skip
"""{name: (unit, function of pixels (n, 3, h, w) in [0, 1] -> (n,))}"""


def properties_of(read: Audited, right: Tensor, seed: int) -> tuple[Property, ...]:
    """Tests every property against classes and against mistakes; p-values are corrected for all properties."""
    values = torch.stack([function(read.pixels).double() for _, function in PROPERTIES.values()], 1)
    values = torch.cat([values, read.files], 1)
    units = {**{name: unit for name, (unit, _) in PROPERTIES.items()}, **FILE_PROPERTIES}
    placed = standardised(values)
    own = one_hot(read.labels, len(read.classes)).double()
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(placed), generator=generator) for _ in range(SHUFFLES)]
    share = _between(placed, own)
    chance = torch.stack([_between(placed, own[order]) for order in orders]).amax(1)
    inside = placed - own @ (own.T @ placed / own.sum(0)[:, None])
    difference = _difference(inside, right)
    within = torch.stack([_difference(inside, _within(right, read.labels, order)) for order in orders]).abs().amax(1)
    means = own.T @ values / own.sum(0)[:, None]
    return tuple(
        Property(
            name,
            unit,
            dict(zip(read.classes, means[:, i].tolist(), strict=True)),
            float(share[i]),
            _p(chance, share[i]),
            float(difference[i]),
            _p(within, difference[i].abs()),
        )
        for i, (name, unit) in enumerate(list(units.items())[: values.shape[1]])
    )


def standardised(values: Tensor) -> Tensor:
    """Ranks (n, p) of each property with mean 0 and variance 1, so that outliers do not decide; equal values share a rank.

    A property that is the same for all pictures is 0 for all.
    """
    placed = ranks(values.T).T
    spread = placed.std(0)
    return (placed - placed.mean(0)) / torch.where(spread > 0, spread, 1.0)


def _between(ranks: Tensor, own: Tensor) -> Tensor:
    """Share (p,) of the variance of standardised ranks (n, p) that lies between classes."""
    counts = own.sum(0)[:, None]
    return ((own.T @ ranks).square() / counts.clamp(min=1)).sum(0) / ranks.square().sum(0).clamp(min=1e-9)


def _difference(inside: Tensor, right: Tensor) -> Tensor:
    """Mean (p,) over wrong answers less that over right ones; NaN where there are none of either."""
    return inside[~right].mean(0) - inside[right].mean(0)


def _within(right: Tensor, labels: Tensor, order: Tensor) -> Tensor:
    """Shuffles the marks of right answers inside each class."""
    mixed = order[labels[order].argsort(stable=True)]  # rows of the first class in random order, then of the second, ...
    plain = labels.argsort(stable=True)
    found = torch.empty_like(right)
    found[plain] = right[mixed]
    return found


def _p(chance: Tensor, value: Tensor) -> float:
    return float("nan") if bool(value.isnan()) else (float((chance >= value - 1e-12).sum()) + 1) / (len(chance) + 1)
