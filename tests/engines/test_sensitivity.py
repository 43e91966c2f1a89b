"""Sobol indices and HSIC: known answers, and the papers' formulas by loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.families.perturbations.designs import balanced_design, hsic_binary, jansen, sobol_design
from tapetum.types import MethodError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- Sobol


def additive(m: Tensor) -> Tensor:
    return m @ torch.tensor([4.0, 2.0, 1.0, 0.0], dtype=torch.float64)


def ishigami(m: Tensor) -> Tensor:
    """sin x + 7 sin^2 y + 0.1 z^4 sin x on [-pi, pi]^3; the fourth input does nothing."""
    x, y, z, _ = (math.pi * (2 * m - 1)).unbind(1)
    return x.sin() + 7 * y.sin() ** 2 + 0.1 * z**4 * x.sin()


def ishigami_totals() -> list[float]:
    """Textbook values: variances of the parts for a = 7, b = 0.1."""
    a, b, pi = 7, 0.1, math.pi
    alone = [0.5 * (1 + b * pi**4 / 5) ** 2, a**2 / 8, 0.0]
    x_with_z = b**2 * pi**8 * (1 / 18 - 1 / 50)
    total = sum(alone) + x_with_z
    return [(alone[0] + x_with_z) / total, alone[1] / total, x_with_z / total, 0.0]


@pytest.mark.parametrize(
    ("function", "truth"), [(additive, [16 / 21, 4 / 21, 1 / 21, 0]), (ishigami, ishigami_totals())], ids=["sum", "ishigami"]
)
def test_total_indices_of_functions_whose_indices_are_known(function: Callable[[Tensor], Tensor], truth: list[float]) -> None:
    n = 4096
    values, errors = jansen(function(sobol_design(n, 4, seeded())), n)
    # quasi-random points do better than the error of independent ones, which is the bound here
    assert ((values - torch.tensor(truth)).abs() <= 4 * errors).all()
    assert errors[:3].max() < 0.03
    assert values[3] == errors[3] == 0  # what does nothing


def test_jansen_is_its_formula_by_loops() -> None:
    n, d = 8, 9
    design = sobol_design(n, 9, seeded(1)).numpy()
    scores = np.sin(7 * design).sum(1) * design[:, 0]
    a = design[:n]
    assert len(design) == n * (d + 1)
    mean = sum(scores[:n]) / n
    variance = sum((one - mean) ** 2 for one in scores[:n]) / (n - 1)
    values, _ = jansen(torch.from_numpy(scores), n)
    for i in range(d):
        block = slice(n * (i + 1), n * (i + 2))
        assert (design[block][:, np.arange(d) != i] == a[:, np.arange(d) != i]).all()  # cell i alone is exchanged
        assert (design[block][:, i] != a[:, i]).all()
        total = sum((before - after) ** 2 for before, after in zip(scores[:n], scores[block], strict=True)) / (2 * n)
        assert float(values[i]) == pytest.approx(total / variance, rel=1e-12)


def test_the_design_covers_each_cell_evenly_and_another_seed_gives_another() -> None:
    design = sobol_design(16, 9, seeded())
    assert design.min() >= 0
    assert design.max() <= 1
    for column in design[:16].T:  # one point in each sixteenth: what a Sobol sequence is for
        assert sorted((16 * column).floor().long().tolist()) == list(range(16))
    assert torch.equal(design, sobol_design(16, 9, seeded()))
    assert not torch.equal(design, sobol_design(16, 9, seeded(1)))


def test_a_score_that_never_varies_has_no_indices() -> None:
    values, errors = jansen(torch.ones(40, dtype=torch.float64), 8)
    assert (values == 0).all()
    assert (errors == 0).all()


class Corner(torch.nn.Module):
    """Twice the mean of the top left quarter and once that of the bottom right one."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([2 * x[..., :8, :8].mean((1, 2, 3)) + x[..., 8:, 8:].mean((1, 2, 3))] * 2, 1)


def test_sobol_of_a_model_that_adds_up_two_quarters() -> None:
    ones = torch.ones(1, 3, 16, 16, dtype=torch.float64)
    result = tp.sobol(wrapped(Corner()), ones, lambda out: out[:, 0], cells=2, n_designs=512)
    truth = torch.tensor([[[[0.8, 0], [0, 0.2]]]], dtype=torch.float64)  # variances 4 : 1, no interaction
    assert result.stderr is not None
    assert ((result.values - truth).abs() <= 4 * result.stderr + 1e-12).all()
    assert result.stderr.max() < 0.05


# --- HSIC


def by_trace(x: np.ndarray, y: np.ndarray) -> float:
    n = len(x)
    distances = [abs(y[i] - y[j]) for i in range(n) for j in range(i + 1, n)]
    width = sorted(distances)[(len(distances) - 1) // 2]
    K = np.array([[0.5 - (x[i] - x[j]) ** 2 for j in range(n)] for i in range(n)])
    L = np.array([[math.exp(-((y[i] - y[j]) ** 2) / (2 * width**2)) for j in range(n)] for i in range(n)])
    H = np.eye(n) - 1 / n
    return float(np.trace(K @ H @ L @ H) / (n - 1) ** 2)


def test_hsic_is_the_trace_of_the_papers_formula() -> None:
    design = balanced_design(30, 2, seeded())
    scores = design @ torch.tensor([1.0, 0.5, 0, 0], dtype=torch.float64) + 0.1 * torch.randn(30, generator=seeded(1)).double()
    values, _ = hsic_binary(design, scores)
    for column, value in zip(design.T, values, strict=True):
        assert float(value) == pytest.approx(by_trace(column.numpy(), scores.numpy()), rel=1e-10)


def test_hsic_tells_what_matters_from_what_does_not() -> None:
    n = 2000
    design = balanced_design(n, 2, seeded())
    scores = design[:, 0] + 0.5 * design[:, 1] * design[:, 2]
    values, errors = hsic_binary(design, scores)
    assert values[0] > values[1] > 20 * values[3]
    assert values[2] > 20 * values[3]
    assert 0 <= values[3] < 2 / n  # independent: the estimate's bias is of order 1 / n, with kernels of at most one
    assert (errors > 0).all()


def test_hsic_of_a_constant_score_is_zero() -> None:
    values, errors = hsic_binary(balanced_design(20, 2, seeded()), torch.full((20,), 3.0, dtype=torch.float64))
    assert values.abs().max() < 1e-15  # the centring of ones leaves their rounding
    assert torch.isfinite(errors).all()


def test_every_cell_is_seen_in_half_of_the_masks() -> None:
    assert (balanced_design(50, 4, seeded()).sum(0) == 25).all()


@pytest.mark.parametrize("method", ["sobol", "hsic"])
def test_the_scatter_over_seeds_is_about_the_standard_error(method: str) -> None:
    settings = {"sobol": {"n_designs": 64, "cells": 2}, "hsic": {"n_samples": 200, "cells": 2}}[method]
    runs = [getattr(tp, method)(shared("functional"), pictures(1), 1, seed=seed, **settings) for seed in range(20)]
    scatter = torch.stack([one.values for one in runs]).std(0).mean()
    told = torch.stack([one.stderr for one in runs]).mean()
    # quasi-random and balanced designs scatter less than independent points, never much more
    assert scatter < 1.3 * told
    assert told < 12 * scatter


@pytest.mark.parametrize("method", ["sobol", "hsic"])
def test_a_grid_that_is_finer_than_the_image_is_refused(method: str) -> None:
    with pytest.raises(MethodError, match="a grid of 17 cells a side does not fit into an image of 16 x 16 px"):
        getattr(tp, method)(shared("functional"), pictures(1), 1, cells=17)
