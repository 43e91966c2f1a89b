"""Nodes and weights of quadrature rules on [0, 1]; the weights of every rule sum to one."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

Quadrature: TypeAlias = Literal["gauss_legendre", "middle", "trapezoid", "left", "right"]


def nodes(rule: Quadrature, n: int) -> tuple[list[float], list[float]]:
    """Returns n points in [0, 1] and their weights. Gauss-Legendre is exact for polynomials up to degree 2n - 1."""
    if rule == "gauss_legendre":
        points, weights = np.polynomial.legendre.leggauss(n)
        return ((points + 1) / 2).tolist(), (weights / 2).tolist()
    if rule == "trapezoid" and n > 1:
        ends = np.ones(n)
        ends[[0, -1]] = 0.5
        return np.linspace(0, 1, n).tolist(), (ends / (n - 1)).tolist()
    offset = {"left": 0.0, "middle": 0.5, "right": 1.0, "trapezoid": 0.5}[rule]  # one trapezoid node: the middle
    return ((np.arange(n) + offset) / n).tolist(), [1 / n] * n
