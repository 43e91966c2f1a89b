"""Compares several maps of one prediction: verdicts, curves beside two model-free baselines, and overlap of the maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.engines.scores import as_probability, measures
from tapetum.families.baselines import edge_attribution, random_attribution
from tapetum.families.metrics.curves import EVIDENCE, deletion, insertion
from tapetum.families.verdicts import judge
from tapetum.models.vision_model import VisionModel
from tapetum.progress import track
from tapetum.types import Attribution, ImagesLike, MapComparison, MethodError, ModelLike

CELLS = 14
"""Cells per side of the grid on which maps are compared: 16 px at 224 px, about the finest detail of a CAM."""

TOP = 0.2
"""Share of the picture, ranked highest by a map, that is compared with other maps."""


def compare_maps(
    model: ModelLike,
    images: ImagesLike,
    maps: Sequence[Attribution],
    *,
    n_steps: int = 14,
    draws: int = 3,
    level: float = 0.05,
    seed: int = 0,
) -> MapComparison:
    """Compares maps of the same images: verdicts, curves of deletion and insertion, two baselines, and agreement.

    Which maps stand up is judged as by `judge`, corrected for all of them. The curves hide, or show, squares of a 14 x 14 grid
    against a blurred image, most important first; beside them are those of random cells (averaged over `draws`, since one can
    be lucky) and of the edges of the image. agreement (m, m) is the share of the top fifth of the picture that two maps have in
    common, 0.2 by chance. Maps of other images, or of different targets, are refused.

    Args:
        maps: attributions of these images, all of the same targets.
        n_steps: steps of a curve; each costs a pass per image and map, for both curves.
        draws: random maps that the curve of the first baseline is the mean of.
        level: largest probability that a random map stands up, of all maps of an image together.
        seed: random seed of the verdicts' random maps.

    Example:
        >>> print(tp.compare_maps(model, images, [tp.grad_cam(model, images), tp.saliency(model, images)], n_steps=2))
    """
    with border(model, images) as (network, ready):
        _check(maps, len(ready))
        like = maps[0]
        noise = [_asking(random_attribution(network, ready, seed=seed), like) for seed in range(max(1, draws))]
        known = [[one] for one in (*maps, _asking(edge_attribution(network, ready), like))]
        curves = [_curves(network, ready, group, n_steps) for group in track([*known, noise], len(known) + 1, "maps")]
        shown = (*maps, known[-1][0], noise[0])
        return MapComparison(
            maps=shown,
            deletion=torch.stack([hiding for hiding, _ in curves]),
            insertion=torch.stack([showing for _, showing in curves]),
            fraction=torch.linspace(0, 1, n_steps + 1, dtype=curves[0][0].dtype, device=curves[0][0].device),
            agreement=torch.tensor([[overlap(a, b) for b in shown] for a in shown]),
            photographs=network.denormalize(ready),
            n_baselines=2,
            measures=measures(as_probability(network, ready, like.explains)),
            verdicts=judge(network, ready, maps, level=level, seed=seed),
        )


def overlap(a: Attribution, b: Attribution) -> float:
    """Returns the share of the top fifth of cells that two maps have in common, mean over images: 1 if equal, 0.2 by chance."""
    first, second = _top(a), _top(b)
    return float((first & second).sum() / first.sum())


def _top(attribution: Attribution) -> Tensor:
    """Returns a mask (n, cells) bool over a common coarse grid: True for the fifth of the cells that the map ranks highest."""
    coarse = F.adaptive_avg_pool2d(attribution.ranking().float(), CELLS).flatten(1)
    chosen = torch.zeros_like(coarse, dtype=torch.bool)
    return chosen.scatter(1, coarse.topk(round(TOP * coarse.shape[1])).indices, True)


def _check(maps: Sequence[Attribution], n: int) -> None:
    if not maps or not all(isinstance(one, Attribution) for one in maps):
        raise MethodError("compare_maps takes a list of attributions, such as [tp.grad_cam(...), tp.saliency(...)]")
    if any(len(one) != n for one in maps):
        raise MethodError(f"maps of {', '.join(str(len(one)) for one in maps)} images were given for {n} images")
    if len({one.target for one in maps}) > 1:
        targets = "; ".join(dict.fromkeys(", ".join(one.target) for one in maps))
        raise MethodError(f"the maps explain different targets ({targets}): their evidence cannot be compared")


def _asking(baseline: Attribution, like: Attribution) -> Attribution:
    """Returns the baseline's map with the target of `like`, so that both are measured by the same score."""
    return replace(baseline, explains=like.explains, target=like.target)


def _curves(model: VisionModel, images: Tensor, group: Sequence[Attribution], n_steps: int) -> tuple[Tensor, Tensor]:
    """Returns the deletion and the insertion curves, each (n, n_steps + 1), averaged over a group of maps."""
    both: list[Tensor] = []
    for measure in (deletion, insertion):
        given = {**EVIDENCE[measure.__name__], "n_steps": n_steps}
        found = [measure(model, images, one, **given) for one in group]
        curves = [one.curve.masked_fill(one.value.isnan()[:, None], torch.nan) for one in found]  # NaN: map not finite
        both.append(torch.stack(curves).mean(0))
    return both[0], both[1]
