"""Codes of dictionaries: turns activations into one number a concept, and back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tapetum.types.dictionaries import Code, Dictionary

SWEEPS = 100
"""Sweeps of coordinate descent for a non-negative code; few directions that differ settle in about ten."""

SETTLED = 1e-6
"""A sweep that changes no number by more than this share of the largest ends the descent."""


def plain(directions: Tensor) -> Dictionary:
    """Returns the dictionary whose code is the activation along each of the directions (n, c) of length 1."""
    n, channels = directions.shape
    return Dictionary("linear", directions, directions.new_zeros(channels), directions, directions.new_zeros(n))


def encode(dictionary: Dictionary, rows: Tensor) -> Tensor:
    """Returns the codes (m, n) of activations (m, c), on their device and in their type."""
    return CODES[dictionary.code](dictionary, rows)


def decode(dictionary: Dictionary, codes: Tensor) -> Tensor:
    """Returns the activations (m, c) that codes (m, n) stand for: b + z D."""
    return dictionary.offset.to(codes) + codes @ dictionary.directions.to(codes)


def code_maps(dictionary: Dictionary, maps: Tensor) -> Tensor:
    """Returns maps (n images, n concepts, h, w) of the codes at each place of maps (n images, c, h, w)."""
    images, _, height, width = maps.shape
    codes = encode(dictionary, maps.permute(0, 2, 3, 1).flatten(0, 2))
    return codes.view(images, height, width, -1).permute(0, 3, 1, 2)


def _linear(dictionary: Dictionary, rows: Tensor) -> Tensor:
    return (rows - dictionary.offset.to(rows)) @ dictionary.encoder.to(rows).T


def _sparse(dictionary: Dictionary, rows: Tensor) -> Tensor:
    return largest(_linear(dictionary, rows) + dictionary.bias.to(rows), dictionary.active)


def largest(values: Tensor, active: int) -> Tensor:
    """Returns max(0, values) with all but the `active` largest of each row set to zero."""
    kept, where = values.topk(active, dim=1)
    return torch.zeros_like(values).scatter(1, where, kept.clamp(min=0))


def _nearest(dictionary: Dictionary, rows: Tensor) -> Tensor:
    sizes = dictionary.bias.to(rows)
    points = sizes[:, None] * dictionary.directions.to(rows)
    x = rows - dictionary.offset.to(rows)
    distance = points.square().sum(1) - 2 * x @ points.T  # without |x|^2, which all points share
    near = distance.argmin(1)
    return torch.zeros_like(distance).scatter(1, near[:, None], sizes[near][:, None])


def _nonnegative(dictionary: Dictionary, rows: Tensor) -> Tensor:
    """Returns argmin over z >= 0 of |x - b - z D|^2, by coordinate descent from zero."""
    d, x = dictionary.directions.to(rows), rows - dictionary.offset.to(rows)
    gram, target = d @ d.T, (x @ d.T).T.contiguous()  # (n, n), (n, m)
    codes = torch.zeros_like(target)
    for _ in range(SWEEPS):
        most = torch.zeros((), dtype=rows.dtype, device=rows.device)
        for i in range(len(d)):
            better = (codes[i] + (target[i] - gram[i] @ codes) / gram[i, i]).clamp(min=0)
            most = torch.maximum(most, (better - codes[i]).abs().max())
            codes[i] = better
        if bool(most <= SETTLED * codes.max()):
            break
    return codes.T


CODES: dict[Code, Callable[[Dictionary, Tensor], Tensor]] = {
    "linear": _linear,
    "nonnegative": _nonnegative,
    "nearest": _nearest,
    "sparse": _sparse,
}
"""{kind of code: (dictionary, rows (m, c)) -> codes (m, n)}."""
