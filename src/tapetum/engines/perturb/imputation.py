"""Linear imputation: hidden pixels become what their neighbours say, so that their place is hard to see (`rong2022road`)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

WEIGHTS = {(0, 1): 1 / 6, (1, 0): 1 / 6, (1, 1): 1 / 12, (1, -1): 1 / 12}
"""{(down, right): weight} of a neighbour; the opposite neighbour has the same. The eight weights sum to 1."""


def imputed(image: Float[Tensor, "c h w"], hidden: Bool[Tensor, "h w"]) -> Float[Tensor, "c h w"]:
    """Returns the image with each hidden pixel as the weighted mean of its neighbours, hidden ones among them.

    That is one sparse linear system for all channels: at the border the weights of the neighbours inside count alone. At least
    one pixel must be visible.
    """
    from scipy.sparse.linalg import splu  # imported here: only ROAD needs it

    if not bool(hidden.any()):
        return image
    mask = hidden.cpu().numpy()
    pixels = image.detach().double().cpu().numpy()
    number = np.where(mask, np.cumsum(mask).reshape(mask.shape) - 1, -1)
    matrix, known = _system(pixels, mask, number)
    # symmetric and diagonally dominant: an ordering for symmetric matrices and no pivots, 2 to 4 times quicker than the usual
    solved = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}).solve(known)
    made = pixels.copy()
    made[:, mask] = solved.T
    return torch.from_numpy(made).to(image)


def _system(
    pixels: NDArray[np.float64], mask: NDArray[np.bool_], number: NDArray[np.int64]
) -> tuple[object, NDArray[np.float64]]:
    """Returns the matrix (k, k) over the k hidden pixels, and what visible neighbours give to each, (k, c)."""
    from scipy.sparse import csc_matrix

    k, (height, width) = int(mask.sum()), mask.shape
    diagonal, known = np.zeros(k), np.zeros((k, len(pixels)))
    rows, columns, values = [np.arange(k)], [np.arange(k)], [diagonal]
    for (down, right), weight in WEIGHTS.items():
        left, top = max(0, -right), 0
        one = slice(top, height - down), slice(left, width - max(0, right))
        other = slice(top + down, height), slice(left + right, width - max(0, right) + right)
        for here, there in ((one, other), (other, one)):
            inside = mask[here]
            diagonal[number[here][inside]] += weight
            both, edge = inside & mask[there], inside & ~mask[there]
            rows.append(number[here][both])
            columns.append(number[there][both])
            values.append(np.full(int(both.sum()), -weight))
            known[number[here][edge]] += weight * pixels[:, *there][:, edge].T
    return csc_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(k, k)), known
