"""Metrics of a map's form alone, without model or mask: whether it is concentrated on few places or spread over many.

All read the magnitudes |R| of `attribution.heatmap()` at the size of the images, so that maps of different grids can be
compared. They say whether a map is easy to read, not whether it is true: a random dot is as sparse as can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import metric
from tapetum.families.metrics.measuring import evaluated, outcomes
from tapetum.types import Attribution, Better, Evaluation, Range
from tapetum.types.outcomes import Outcome


@metric(cite="chalasani2020concise")
def sparseness(attribution: Attribution) -> Evaluation:
    """Inequality of a map's magnitudes: whether few pixels have most of it.

    value = Gini index of |R| = sum_i (2 i - N - 1) |R|_(i) / (N sum |R|), |R|_(1) <= ... <= |R|_(N), in [0, 1 - 1/N], high is
    sparse: 0 for a constant map, 1 - 1/N for a single pixel. NaN for a map of zeros, one without positive evidence where only
    that counts (class activation maps), and one with NaN.

    Example:
        >>> tp.sparseness(tp.grad_cam(model, images)).value
    """
    return _measured("sparseness", attribution, _gini, "higher", 1.0)


@metric(cite="bhatt2020evaluating")
def complexity(attribution: Attribution) -> Evaluation:
    """Entropy of a map's magnitudes: whether it is spread over many pixels.

    value = - sum_i p_i ln p_i, p = |R| / sum |R|, in [0, ln N] nats, low is simple: 0 for a single pixel, ln N for a constant
    map, ln m for m equal pixels. exp(value) is the number of pixels that the map is spread over. NaN as in `sparseness`.

    Example:
        >>> tp.complexity(tp.grad_cam(model, images)).value
    """
    return _measured("complexity", attribution, _entropy, "lower", None)


@metric(cite="nguyen2020quantitative")
def effective_complexity(attribution: Attribution, *, least: Annotated[float, Range(0, 1)] = 1e-5) -> Evaluation:
    """Number of pixels to which a map gives anything worth counting.

    value = |{i: |R_i| > least * max |R|}|, from 1 to N, low is simple. NaN as in `sparseness`. The paper counts the features
    that are needed until the others no longer change the prediction; the count by size alone is that of Quantus.

    Args:
        least: share of the largest magnitude from which a pixel counts, in [0, 1].

    Example:
        >>> tp.effective_complexity(tp.grad_cam(model, images), least=0.1).value
    """
    return _measured(
        "effective_complexity", attribution, lambda sizes: (sizes > least * sizes.amax()).sum().double(), "lower", None
    )


def _gini(sizes: Tensor) -> Tensor:
    n = len(sizes)
    place = torch.arange(1, n + 1, dtype=sizes.dtype, device=sizes.device)
    return ((2 * place - n - 1) * sizes.sort().values).sum() / (n * sizes.sum())


def _entropy(sizes: Tensor) -> Tensor:
    share = sizes / sizes.sum()
    return -torch.xlogy(share, share).sum()


def _measured(
    metric: str, attribution: Attribution, measure: Callable[[Tensor], Tensor], better: Better, most: float | None
) -> Evaluation:
    """Measures the magnitudes (h w) of each map alone, so that its bits do not depend on the others."""
    sizes, blank = attribution.heatmap().abs().double().flatten(1), "no_positive_evidence"
    known = zip(outcomes(attribution, zero="zero"), sizes, strict=True)
    status: list[Outcome] = [blank if one == "ok" and not bool(row.any()) else one for one, row in known]
    return evaluated(metric, torch.stack([measure(row) for row in sizes]), status, better, (0.0, most))
