"""Grad-CAM of given numbers, with its arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tapetum.families.cams.steps import steps_of
from tapetum.types import GradCamSteps, MethodError

ENLARGED = 4
"""Factor by which a heatmap is larger than its layer: enough to see the effect of upsampling."""


def grad_cam_by_hand(
    activations: Any, weights: Any = None, *, gradients: Any = None, names: Sequence[str] | str | None = None
) -> GradCamSteps:
    """Grad-CAM of numbers that you give, with its arithmetic: activations of a few channels, and a weight for each.

    total = sum_k a_k A_k, positive = ReLU(total), heatmap = positive upsampled four times. activations (c, h, w); weights (c,),
    or (m, c) for m classes; or gradients (c, h, w) or (m, c, h, w), whose means over places are the weights. Numbers that
    do not fit together are refused, and so are weights and gradients at once.

    Args:
        activations: nested lists or a tensor (c, h, w), one map per channel.
        weights: one number per channel, or one list per class.
        gradients: d score / d A, in place of weights.
        names: of the classes; None: "class A", "class B".

    Example:
        >>> print(tp.grad_cam_by_hand([[[1, 0], [0, 2]], [[0, 1], [1, 0]], [[2, 0], [0, 0]]], [0.8, 0.1, 0.5]))
    """
    maps = _numbers("activations", activations, (3,))
    given, grads = _weights(maps, weights, gradients)
    called = [names] if isinstance(names, str) else names or [f"class {chr(65 + i)}" for i in range(len(given))]
    if len(called) != len(given):
        raise MethodError(f"{len(given)} classes were given and {len(called)} names")
    side = int(maps.shape[1]) * ENLARGED, int(maps.shape[2]) * ENLARGED
    return steps_of(
        maps[None],
        None if grads is None else grads[None],
        weights=given[None],
        k=len(maps),
        targets=(tuple(called),),
        scores=torch.full((1, len(given)), torch.nan),
        size=side,
        layer="a layer made by hand",
    )


def _weights(maps: Tensor, weights: Any, gradients: Any) -> tuple[Tensor, Tensor | None]:
    """Returns weights (m, c) for maps (c, h, w), and the gradients (m, c, h, w) whose means they are, or None."""
    if (weights is None) == (gradients is None):
        raise MethodError("give either weights (c,) or (m, c), or gradients (c, h, w) or (m, c, h, w)")
    if gradients is None:
        alphas = torch.atleast_2d(_numbers("weights", weights, (1, 2)))
        if alphas.shape[1] != len(maps):
            raise MethodError(f"{len(maps)} channels were given and {alphas.shape[1]} weights: one weight a channel")
        return alphas, None
    grads = _numbers("gradients", gradients, (3, 4))
    if grads.shape[-3:] != maps.shape:
        raise MethodError(f"gradients {tuple(grads.shape)} do not fit activations {tuple(maps.shape)}: one a value")
    grads = grads.view(-1, *maps.shape)
    return grads.mean((2, 3)), grads


def _numbers(what: str, given: Any, axes: tuple[int, ...]) -> Tensor:
    try:
        values = torch.as_tensor(given, dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise MethodError(f"{what} are numbers in lists of equal length ({error})") from error
    if values.ndim not in axes or values.numel() == 0 or not values.isfinite().all():
        shapes = {1: "(c,)", 2: "(m, c)", 3: "(c, h, w)", 4: "(m, c, h, w)"}
        raise MethodError(f"{what} are finite numbers {' or '.join(shapes[n] for n in axes)}, not {tuple(values.shape)}")
    return values
