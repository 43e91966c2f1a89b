"""Measures of whether a map's relevance lies on the object, from the map and the object's mask, without the model.

Masks are (n, h, w) bool, or (h, w) of one image, as large as the images that the model saw. The measures show where the
relevance is, not whether the map is faithful: a network that looks at the background should score low.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.attributions import status_of
from tapetum.border.methods import metric
from tapetum.engines.ranks import auc_of_ranks
from tapetum.engines.similarity import ranks
from tapetum.types import Attribution, Localization, MethodError, Range
from tapetum.types.outcomes import Outcome

SHARE = 0.02
"""Share of the pixels that `top_k_intersection` counts: about the paper's 1000 of 224 x 224."""


@metric(cite="arras2022clevrxai")
def relevance_mass(attribution: Attribution, masks: Tensor) -> Localization:
    """The share of a map's positive relevance that lies inside the object's mask.

    value = sum of max(R, 0) inside the mask / sum of max(R, 0) everywhere, in [0, 1], R = `attribution.heatmap()` at the
    size of the images. A map that knows nothing reaches the mask's share of the pixels (`area`). NaN where the mask is
    empty, where no R is positive, where the map is constant or not finite: `status` says which.

    Example:
        >>> tp.relevance_mass(tp.grad_cam(model, images), images[:, 0] > 0).value
    """
    positive = attribution.heatmap().clamp(min=0)
    return _measured("relevance_mass", attribution, masks, positive, lambda maps, mask: maps[mask].sum() / maps.sum())


@metric(cite="arras2022clevrxai")
def relevance_rank(attribution: Attribution, masks: Tensor) -> Localization:
    """The share of a map's highest pixels, as many as the mask has, that lie inside the object's mask.

    value = |the K highest pixels inside the mask| / K, in [0, 1], K = pixels of the mask. Pixels that are equally high at
    the K-th place count by their mean: what a random order of them would give. It does not see how high they are, so a
    single bright spot does not decide. NaN as in `relevance_mass`.

    Example:
        >>> tp.relevance_rank(tp.grad_cam(model, images), images[:, 0] > 0).value
    """
    return _measured("relevance_rank", attribution, masks, attribution.ranking(), _rank)


@metric(cite="zhang2018excitation")
def pointing_game(
    attribution: Attribution, masks: Tensor, *, tolerance_px: Annotated[float, Range(0, 10_000)] = 15
) -> Localization:
    """Hit or miss of a map's highest pixel: whether it lies in the object's mask, or near it.

    value = 1 if the highest pixel is at most `tolerance_px` from the mask, else 0; of several that are equally high, the
    share that hits. The mean over images is the accuracy of the paper. NaN as in `relevance_mass`.

    Args:
        tolerance_px: in pixels of the masks, >= 0 (the paper: 15, of pictures of some 500; use less for small ones).

    Example:
        >>> tp.pointing_game(tp.grad_cam(model, images), images[:, 0] > 0, tolerance_px=4).value
    """
    return _measured("pointing_game", attribution, masks, attribution.ranking(), partial(_pointing, tolerance_px))


@metric(cite="theiner2022interpretable")
def top_k_intersection(
    attribution: Attribution, masks: Tensor, *, k: Annotated[int | None, Range(1, 1_000_000_000)] = None
) -> Localization:
    """The share of a map's k highest pixels that lie inside the object's mask.

    value = |the k highest pixels inside the mask| / k, in [0, 1]. Pixels that are equally high at the k-th place count by
    their mean, as in `relevance_rank`, which takes as many pixels as the mask has. With fewer than k pixels in the mask the
    value cannot reach 1. NaN as in `relevance_mass`.

    Args:
        k: number of pixels of the masks' size (the paper: 1000); None: 2 % of them, 1004 of 224 x 224. No more than there are.

    Example:
        >>> tp.top_k_intersection(tp.grad_cam(model, images), images[:, 0] > 0, k=100).value
    """
    pixels = masks[0].numel()
    most = max(1, round(SHARE * pixels)) if k is None else k
    if most > pixels:
        raise MethodError(f"top_k_intersection: the maps have {pixels} pixels, fewer than k = {most}")
    return _measured("top_k_intersection", attribution, masks, attribution.ranking(), partial(_highest, most))


@metric(cite="fawcett2006roc")
def localization_auc(attribution: Attribution, masks: Tensor) -> Localization:
    """The chance that a map ranks a pixel of the object above a pixel outside of it.

    value = area under the ROC curve of the map as a detector of the mask's pixels = P(R_inside > R_outside) + P(equal) / 2,
    in [0, 1]; .5 is chance whatever the size of the mask, 1 a map whose every pixel inside is higher than all outside. NaN as
    in `relevance_mass`, and where the mask covers the whole picture.

    Example:
        >>> tp.localization_auc(tp.grad_cam(model, images), images[:, 0] > 0).value
    """
    return _measured("localization_auc", attribution, masks, attribution.ranking(), _auc, full="full_mask")


def _measured(
    metric: str,
    attribution: Attribution,
    inside: Tensor,
    maps: Tensor,
    measure: Callable[[Tensor, Tensor], Tensor],
    full: Outcome = "ok",
) -> Localization:
    """Makes the result of a measure; `full` is the outcome of a mask of all pixels."""
    status: tuple[Outcome, ...] = tuple(
        _status(attribution, row, heatmap, mask, full) for row, (heatmap, mask) in enumerate(zip(maps, inside, strict=True))
    )
    nan = torch.tensor(torch.nan, dtype=torch.float64)
    value = [
        measure(heatmap.double(), mask).cpu() if said == "ok" else nan
        for heatmap, mask, said in zip(maps, inside, status, strict=True)
    ]
    area = inside.flatten(1).double().mean(1)
    return Localization(metric, torch.stack(value), area.cpu(), status, maps, inside, attribution.method, attribution.target)


def _status(attribution: Attribution, row: int, heatmap: Tensor, mask: Tensor, full: Outcome) -> Outcome:
    """Returns the first status that is not "ok", of the map, of its heatmap, or of the mask; else "ok"."""
    own = attribution.status[row]
    if own != "ok":
        return own
    reduced = status_of(heatmap[None, None], attribution.reduce)[0]
    if reduced == "constant" and bool(heatmap.max() <= 0):
        return "no_positive_evidence"
    if reduced != "ok":
        return reduced
    return "empty_mask" if not bool(mask.any()) else full if bool(mask.all()) else "ok"


def _rank(ranking: Tensor, mask: Tensor) -> Tensor:
    return _highest(int(mask.sum()), ranking, mask)


def _highest(k: int, ranking: Tensor, mask: Tensor) -> Tensor:
    """Returns the share of the k highest pixels inside the mask; those that are equal at the k-th place count by their mean."""
    least = ranking.flatten().topk(k).values[-1]
    above, level = ranking > least, ranking == least
    shared = (k - above.sum()) * (level & mask).sum().double() / level.sum()
    return ((above & mask).sum() + shared) / k


def _pointing(tolerance_px: float | int, ranking: Tensor, mask: Tensor) -> Tensor:
    peaks, inside = (ranking == ranking.max()).nonzero().double(), mask.nonzero().double()
    nearest = torch.cat([torch.cdist(some, inside).amin(1) for some in peaks.split(64)])
    return (nearest <= tolerance_px).double().mean()


def _auc(ranking: Tensor, mask: Tensor) -> Tensor:
    order = ranks(ranking.flatten()[None])[0]
    return auc_of_ranks(order[mask.flatten()].sum(), mask.sum().double(), mask.numel())
