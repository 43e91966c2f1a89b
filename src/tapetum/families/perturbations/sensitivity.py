"""Sensitivity analysis: varies the cells of a grid at random and estimates how much the score depends on each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import Fill
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import coalitions, scores_under
from tapetum.engines.perturb.regressions import precise
from tapetum.engines.perturb.superpixels import cells as cells_of
from tapetum.engines.scores import ModelScore
from tapetum.engines.statistics import stacked
from tapetum.families.perturbations.designs import balanced_design, hsic_binary, jansen, sobol_design
from tapetum.types import Batch, MethodError, Range

LAWS = ("class_sensitive", "forward_only", "sampled")


@attribution(cite="fel2021sobol", reduce="sum", laws=LAWS)
def sobol(
    score: ModelScore,
    images: Tensor,
    *,
    n_designs: Annotated[int, Range(2, 4096)] = 32,
    cells: Annotated[int, Range(2, 64)] = 8,
    fill: Fill,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """The share of the score's variance that each cell takes part in when all cells are dimmed at random.

    values (n, 1, cells, cells) = total Sobol indices mean_j (f(A_j) - f(A_j with cell i from B))^2 / (2 Var f(A)) (Jansen),
    with f(m) the score of m x + (1 - m) fill and m in [0, 1] per cell; at least 0, without unit; at 1 the score varies only
    with the cell. They do not tell whether a cell is evidence for or against the target. A and B come from a scrambled Sobol
    sequence: the plain one of the paper starts with the same coarse points for every cell. It takes n_designs (cells^2 + 1)
    passes; B by itself, which the estimator does not use, is left out. `stderr` treats the points as independent. There is no
    tolerance to stop at: the sequence is balanced only as a whole.

    Args:
        n_designs: points of A; a power of two is best; the paper: 32.
        cells: cells per side; the paper: 8 to 11.

    Example:
        >>> tp.sobol(model, images, cells=4, n_designs=8)
    """
    design = sobol_design(n_designs, cells**2, generator)
    return estimated(score, images, design, cells, fill, batch, lambda scores: jansen(scores, n_designs))


@attribution(cite="novello2022hsic", reduce="sum", laws=LAWS)
def hsic(
    score: ModelScore,
    images: Tensor,
    *,
    n_samples: Annotated[int, Range(4, 20_000)] = 500,
    cells: Annotated[int, Range(1, 64)] = 8,
    fill: Fill,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """Dependence of the score on whether each cell is seen, while half of all cells are hidden at random.

    values (n, 1, cells, cells) = tr(K_i H L H) / (n_samples - 1)^2, the Hilbert-Schmidt independence criterion, with
    K_i = 1/2 - (z_i - z_i')^2 on whether cell i is seen, L = exp(-(y - y')^2 / (2 s^2)) on scores, s their median distance,
    and H = 1 - 1 / n_samples; at least 0, about 0 for a cell that makes no difference, without unit. They do not tell whether
    a cell is evidence for or against the target. Xplique's s is the median score itself, which may be zero or negative.
    `stderr` is that of the leading term; there is no tolerance to stop at, since every cell is seen in exactly half of all.

    Args:
        n_samples: random masks; xplique: 500.
        cells: cells per side; xplique: 8, the paper: 7.

    Example:
        >>> tp.hsic(model, images, cells=4, n_samples=100)
    """
    design = balanced_design(n_samples, cells, generator)
    return estimated(score, images, design, cells, fill, batch, lambda scores: hsic_binary(design.to(scores), scores))


def estimated(
    score: ModelScore,
    images: Tensor,
    design: Tensor,
    cells: int,
    fill: Tensor,
    batch: Batch,
    estimate: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> tuple[Tensor, Tensor]:
    """Scores each image under the masks of a design and applies `estimate`; returns values and errors, (n, 1, cells, cells)."""
    height, width = images.shape[-2:]
    if cells > min(height, width):
        raise MethodError(f"a grid of {cells} cells a side does not fit into an image of {height} x {width} px")
    masks = coalitions(cells_of(height, width, cells**2).to(images.device), design.to(images))
    seen, blank, size = score.model.laid_out(images), score.model.laid_out(fill), batch_size(score.model, batch)

    def one(row: int) -> tuple[Tensor, Tensor]:
        stream = scores_under(score, seen[row : row + 1], masks, blank[row : row + 1], batch=size, row=row)
        return estimate(precise(torch.cat([values for _, values in stream]), images))

    values, errors = stacked(one(row) for row in range(len(images)))
    return values.view(-1, 1, cells, cells).to(images), errors.view(-1, 1, cells, cells).to(images)
