"""Lays activation vectors out in two dimensions, similar ones near each other, and sorts them into a grid of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.notes import note
from tapetum.switches import ignoring
from tapetum.types import TapetumError

Projection = Literal["umap", "pca"]

NEIGHBORS = 50
MIN_DIST = 0.05
"""UMAP's settings in Lucid's recipe (carter2019activation), with cosine distances."""

FEW = 100
"""Smallest number of vectors for UMAP, since 50 neighbours would be most of fewer; those get principal components."""

PERCENTILES = (1, 99)
MARGIN = 0.1

LEAST = 5
"""Smallest number of vectors in a cell; cells with fewer are dropped, since their means are mostly noise."""

PER_CELL = 40
"""Average number of vectors per cell; since they are not spread evenly, a full cell has two to three times as many."""


def laid_out(vectors: Tensor, *, seed: int = 0, layout: Projection | None = None) -> tuple[Tensor, Projection]:
    """Returns places (m, 2) in [0, 1] for vectors (m, c), and the layout used: UMAP, else principal components (with a note).

    UMAP (mcinnes2018umap): 2 dimensions, cosine distance, 50 neighbours, min_dist .05, one thread, seeded: the same vectors
    and seed give the same places on one machine. Each axis is clipped to its 1st and 99th percentile, plus a tenth of their
    distance, so that a few outliers do not make the map small; then it is scaled to [0, 1].
    """
    if vectors.ndim != 2 or len(vectors) < LEAST or not bool(torch.isfinite(vectors).all()):
        raise TapetumError(f"a map is laid out of at least {LEAST} finite vectors (m, c), not {tuple(vectors.shape)}")
    chosen = layout or _possible(len(vectors))
    flat = vectors.float().cpu().numpy()
    places = _umap(flat, seed) if chosen == "umap" else principal(vectors.double().cpu()).numpy()
    return torch.from_numpy(_normalized(places)), chosen


def _possible(m: int) -> Projection:
    if m < FEW:
        note(f"laid out by principal components: {m} vectors are too few for UMAP")
        return "pca"
    try:
        _imported()
    except ImportError:
        note("laid out by principal components, which show less: pip install 'tapetum[atlas]' brings UMAP")
        return "pca"
    return "umap"


def _imported() -> Any:
    """Imports UMAP from umap-learn, without warnings about optional packages."""
    with ignoring():
        from umap import UMAP
    return UMAP


def _umap(vectors: NDArray[np.float32], seed: int) -> NDArray[Any]:
    settings = {"n_components": 2, "metric": "cosine", "n_neighbors": min(NEIGHBORS, len(vectors) - 1), "min_dist": MIN_DIST}
    threads = torch.get_num_threads()
    try:
        with ignoring():
            return _imported()(**settings, random_state=seed, n_jobs=1).fit_transform(vectors)
    except ImportError as error:
        raise TapetumError("a layout by UMAP needs umap-learn: pip install 'tapetum[atlas]'") from error
    finally:
        torch.set_num_threads(threads)  # numba sets its own number for the whole process, torch's too


def principal(vectors: Tensor) -> Tensor:
    """Returns the first two principal components (m, 2), with signs such that each direction's largest weight is positive."""
    centred = vectors - vectors.mean(0)
    directions = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -2:].flip(1)
    largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
    places = centred @ (directions * largest.sign())
    return places if places.shape[1] == 2 else torch.cat([places, torch.zeros_like(places)], 1)  # one channel only


def _normalized(places: NDArray[Any]) -> NDArray[np.float64]:
    low, high = (np.percentile(places.astype(np.float64), p, axis=0) for p in PERCENTILES)
    wide = high - low
    clipped = np.clip(places.astype(np.float64), low - MARGIN * wide, high + MARGIN * wide)
    clipped -= clipped.min(0)
    sides = clipped.max(0)
    return np.where(sides > 0, clipped / np.where(sides > 0, sides, 1), 0.5)


# --- cells


@dataclass(frozen=True, eq=False)
class Binned:
    """Vectors sorted into the cells of a grid.

    rows, columns  (k,) rows and columns of the cells that are kept, from the top left
    members        (m,) the cell of each vector, -1 where its cell was dropped
    means          (k, c) float64, the mean vector of each cell
    counts         (k,) vectors in each cell
    dropped        number of cells that had vectors, but fewer than 5
    """

    grid: tuple[int, int]
    rows: Tensor
    columns: Tensor
    members: Tensor
    means: Tensor
    counts: Tensor
    dropped: int

    def __len__(self) -> int:
        return len(self.counts)


def grid_side(m: int) -> int:
    """Returns the number of cells per side, 3 to 40, at which m vectors fill cells with 40 each on average."""
    return max(3, min(40, round((m / PER_CELL) ** 0.5)))


def binned(points: Tensor, vectors: Tensor, side: int) -> Binned:
    """Sorts vectors (m, c) into side x side cells by their places (m, 2) in [0, 1], x to the right and y down."""
    if side < 1:
        raise TapetumError(f"a grid has at least 1 cell a side, not {side}")
    at = (points * side).long().clamp(0, side - 1)
    flat = at[:, 1] * side + at[:, 0]
    counts = torch.bincount(flat, minlength=side * side)
    kept = (counts >= LEAST).nonzero().flatten()
    if not len(kept):
        raise TapetumError(f"no cell of {side} x {side} has {LEAST} of the {len(points)} vectors: take a coarser grid")
    number = torch.full((side * side,), -1).index_copy(0, kept, torch.arange(len(kept)))
    sums = torch.zeros(side * side, vectors.shape[1], dtype=torch.float64).index_add(0, flat, vectors.double().cpu())
    dropped = int(((counts > 0) & (counts < LEAST)).sum())
    means = sums[kept] / counts[kept, None]
    return Binned((side, side), kept // side, kept % side, number[flat], means, counts[kept], dropped)


def whitening(vectors: Tensor) -> Tensor:
    """Returns the inverse (c, c) of the shrunk second moments of vectors: ((1 - s) C + s tr(C)/c I)^-1, C = V'V / m.

    C is not centred, as in Lucid's recipe. s in [0, 1] minimises the expected error (ledoit2004well), so that directions in
    which the sample hardly varies do not become the largest.
    """
    v = vectors.double().cpu()
    m, c = v.shape
    second = v.T @ v / m
    scale = second.trace() / c
    if scale == 0:
        return torch.eye(c, dtype=torch.float64)
    eye = torch.eye(c, dtype=torch.float64)
    spread = (second - scale * eye).square().sum()
    error = ((v.square().sum(1).square().sum() / m - second.square().sum()) / m).clamp(min=0)
    share = float((error / spread).clamp(max=1)) if spread > 0 else 1.0
    return torch.linalg.pinv((1 - share) * second + share * scale * eye, hermitian=True)
