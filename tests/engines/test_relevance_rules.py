"""Rules of LRP in matrix form.

Every operation here is turned into its matrix by applying it to the unit vectors; the rules are then written with sums over
i and j as in the papers, in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.backward.equations import (
    Affine,
    AffineRule,
    alpha_beta,
    epsilon,
    flat,
    gamma,
    w_square,
    z_box,
    z_minus,
    z_plus,
)

Operation = Callable[[Tensor, Tensor, Tensor | None], Tensor]
OPERATIONS: dict[str, tuple[Operation, tuple[int, ...], tuple[int, ...], int]] = {
    # operation, shape of x, shape of the weight, biases
    "linear": (F.linear, (1, 7), (5, 7), 5),
    "linear on tokens": (F.linear, (1, 3, 4), (5, 4), 5),
    "conv1d": (F.conv1d, (1, 2, 9), (3, 2, 3), 3),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), (1, 2, 5, 5), (3, 2, 3, 3), 3),
    "conv2d in groups": (lambda x, w, b: F.conv2d(x, w, b, padding=1, groups=4), (1, 4, 4, 4), (4, 1, 3, 3), 4),
    "conv2d dilated": (lambda x, w, b: F.conv2d(x, w, b, dilation=2), (1, 2, 6, 6), (3, 2, 3, 3), 3),
    "conv3d": (F.conv3d, (1, 2, 3, 3, 3), (3, 2, 2, 2, 2), 3),
    "conv_transpose2d": (lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2), (1, 2, 3, 3), (2, 3, 2, 2), 3),
}


def divided(a: np.ndarray, z: np.ndarray, eps: float = 1e-6) -> np.ndarray:
    return a / (z + eps * np.where(z < 0, -1, 1))


def by_epsilon(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    return (x[:, None] * w) @ divided(r, x @ w + b)


def by_plus(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    excitation = np.maximum(x[:, None] * w, 0)
    return excitation @ divided(r, excitation.sum(0) + np.maximum(b, 0))


def by_minus(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    inhibition = np.minimum(x[:, None] * w, 0)
    return inhibition @ divided(r, inhibition.sum(0) + np.minimum(b, 0))


def by_gamma(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    z, parts = x[:, None] * w, 0
    for side, keep in ((np.maximum, x @ w + b > 0), (np.minimum, x @ w + b < 0)):
        favoured = z + 0.25 * side(z, 0)
        parts = parts + favoured @ divided(r * keep, favoured.sum(0) + b + 0.25 * side(b, 0))
    return np.asarray(parts)


def by_box(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    shares = x[:, None] * w + 2 * np.maximum(w, 0) - 3 * np.minimum(w, 0)  # l = -2, h = 3
    return shares @ divided(r, shares.sum(0))


def by_squares(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    return w**2 @ divided(r, (w**2).sum(0) + b**2)


def by_count(x: np.ndarray, w: np.ndarray, b: np.ndarray, r: np.ndarray) -> np.ndarray:
    sees = (w != 0).astype(float)
    return sees @ divided(r, sees.sum(0))


RULES: dict[str, tuple[AffineRule, Callable[..., np.ndarray]]] = {
    "epsilon": (epsilon(), by_epsilon),
    "epsilon 0.5": (epsilon(0.5), lambda x, w, b, r: (x[:, None] * w) @ divided(r, x @ w + b, 0.5)),
    "z+": (z_plus(), by_plus),
    "z-": (z_minus(), by_minus),
    "z+ without biases": (z_plus(bias=False), lambda x, w, b, r: by_plus(x, w, 0 * b, r)),
    "alpha 2 beta 1": (alpha_beta(2.0), lambda *given: 2 * by_plus(*given) - by_minus(*given)),
    "gamma": (gamma(0.25), by_gamma),
    "z-box": (z_box(), by_box),
    "w^2": (w_square(), by_squares),
    "flat": (flat(), by_count),
}


def matrix(apply: Operation, shape: tuple[int, ...], weight: Tensor) -> np.ndarray:
    """(inputs, outputs)."""
    units = torch.eye(int(np.prod(shape)), dtype=torch.float64)
    return np.stack([apply(unit.view(shape), weight, None).flatten().numpy() for unit in units])


@pytest.mark.parametrize("positive", [True, False], ids=["x >= 0", "x signed"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_its_equation_in_matrix_form(rule: str, operation: str, positive: bool) -> None:
    apply, shape, weights, biases = OPERATIONS[operation]
    generator = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (shape, weights, (biases,)))
    x = x.abs() if positive else x
    out = apply(x, w, b)
    r = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    ends = (torch.tensor(-2.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64))
    ours = RULES[rule][0](Affine(apply, x, w, b, operation, box=ends), r)
    each = (apply(torch.zeros_like(x), w, b)).flatten().numpy()  # the bias of every output
    expected = RULES[rule][1](x.flatten().numpy(), matrix(apply, shape, w), each, r.flatten().numpy())
    # the same sums in another order, in float64; small denominators amplify that
    np.testing.assert_allclose(ours.flatten().numpy(), expected, rtol=1e-9, atol=1e-11)
