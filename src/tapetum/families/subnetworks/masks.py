"""Masks from scores of units, how alike two masks are, and what a part of a network keeps of a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.engines.batching import over_images
from tapetum.engines.ranks import interval, resamples
from tapetum.engines.scores import ModelScore, as_score
from tapetum.families.subnetworks.cutting import Masks, means, part_of
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import track
from tapetum.types import ImagesLike, MethodError, ModelLike, Range, Result, TargetLike
from tapetum.types.checks import checked_choice, checked_range, listed
from tapetum.types.results import WHOLE, axes
from tapetum.types.text import table

NOTHING, ROUNDING = 1e-3, 1e-6
"""Changes of a score that are none: as a share of what the images change one by one, and of the score in single precision."""


def unit_mask(
    scores: Mapping[str, Tensor], share: float, *, over: Literal["layer", "all"] = "layer", size: bool = False
) -> dict[str, Tensor]:
    """Returns masks that keep the highest-scoring share of the units: {layer: bool of the scores' shape}.

    Scores of channels are (c,), those of kernels (c_out, c_in), by any method: gradient x activation, relevance, ablation. The
    number kept is the share times the number of units, rounded, and at least 1; of equal scores the first are kept.

    Args:
        share: share of the units that is kept, in (0, 1].
        over: "layer": the same share of each layer; "all": the highest of all layers together, whose scores must be in the same
            units.
        size: rank by absolute value, for scores where a number below 0 speaks against the target.

    Example:
        >>> masks = tp.unit_mask({"blocks.6": model.module.linear.weight[1]}, 0.5)
    """
    checked_choice(over, ("layer", "all"), "over")
    if not 0 < share <= 1:
        raise MethodError(f"share is in (0, 1], not {share:g}")
    if not scores or not all(isinstance(one, Tensor) and one.numel() and bool(one.isfinite().all()) for one in scores.values()):
        raise MethodError("scores are {layer: tensor of finite numbers}, one number per unit")
    flat = {name: (one.abs() if size else one).detach().double().cpu().flatten() for name, one in scores.items()}
    if over == "layer":
        kept = {name: _highest(one, share) for name, one in flat.items()}
    else:
        every = _highest(torch.cat(list(flat.values())), share)
        kept = dict(zip(flat, every.split([len(one) for one in flat.values()]), strict=True))
    return {name: kept[name].reshape(one.shape) for name, one in scores.items()}


def _highest(values: Tensor, share: float) -> Tensor:
    count = max(1, round(share * len(values)))
    return torch.zeros(len(values), dtype=torch.bool).index_fill_(0, values.argsort(descending=True, stable=True)[:count], True)


@dataclass(frozen=True, eq=False)
class MaskOverlap(Result):
    """How alike two masks are: intersection over union per layer (n,), beside what random masks of these sizes have.

    iou       (n,) intersection over union, in [0, 1];  expected: its mean for random masks of these sizes
    p         (n,) probability that random masks of these sizes have at least as many units in common
    sizes     (n, 3) number of units kept by a, by b, by both
    total     iou of all layers together;  expected_total: that of random masks
    """

    layers: tuple[str, ...] = field(metadata=axes("n"))
    iou: Tensor = field(metadata=axes("n"))
    expected: Tensor = field(metadata=axes("n"))
    p: Tensor = field(metadata=axes("n"))
    sizes: Tensor = field(metadata=axes("n _"))
    total: float = field(default=float("nan"), metadata=WHOLE)
    expected_total: float = field(default=float("nan"), metadata=WHOLE)

    def __str__(self) -> str:
        numbers = zip(listed(self.iou), listed(self.expected), listed(self.p), strict=True)
        rows = [
            (name, *map(str, sizes), f"{iou:.3f}", f"{expected:.3f}", f"{p:.2g}")
            for name, sizes, (iou, expected, p) in zip(self.layers, listed(self.sizes), numbers, strict=True)
        ]
        last = f"all layers: {self.total:.3f}, by chance {self.expected_total:.3f}"
        return "\n".join([table(("layer", "a", "b", "both", "IoU", "by chance", "p"), rows), last])


def mask_overlap(a: Masks, b: Masks) -> MaskOverlap:
    """Returns the intersection over union of two masks, per layer and in all, beside that of random masks of the same sizes.

    Of N units of a layer, a keeps A and b keeps B; random masks have X of them in common with the hypergeometric probability:
    the expected IoU is the mean of X / (A + B - X), computed exactly, and p = P(X >= those in common). For all layers together
    it is the ratio of the sums with each layer's X at its mean. Two empty masks are equal: IoU 1.

    Example:
        >>> print(tp.mask_overlap({"blocks.6": [True, True, False]}, {"blocks.6": [False, True, False]}))
    """
    a, b = ({name: torch.as_tensor(mask) for name, mask in some.items()} for some in (a, b))
    if not a or set(a) != set(b) or any(a[name].shape != b[name].shape for name in a):
        raise MethodError("masks are compared where both name the same layers with the same shapes")
    rows, means = list[tuple[float, float, float, int, int, int]](), list[float]()
    for name in a:
        one, two = a[name].bool().flatten().cpu(), b[name].bool().flatten().cpu()
        sizes = (int(one.sum()), int(two.sum()), int((one & two).sum()))
        expected, p = by_chance(len(one), *sizes)
        rows.append((_iou(*sizes), expected, p, *sizes))
        means.append(sizes[0] * sizes[1] / len(one))
    iou, expected, p, first, second, both = map(list, zip(*rows, strict=True))
    either = sum(first) + sum(second)
    return MaskOverlap(
        tuple(a), *(torch.tensor(one, dtype=torch.float64) for one in (iou, expected, p)),
        sizes=torch.tensor([first, second, both]).T,
        total=_iou(int(sum(first)), int(sum(second)), int(sum(both))),
        expected_total=1.0 if not either else sum(means) / (either - sum(means)),
    )  # fmt: skip


def _iou(a: int, b: int, both: int) -> float:
    return both / (a + b - both) if a + b else 1.0


def by_chance(n: int, a: int, b: int, both: int) -> tuple[float, float]:
    """Returns the expected IoU of random masks that keep a and b of n units, and P(at least `both` in common)."""
    x = torch.arange(max(0, a + b - n), min(a, b) + 1, dtype=torch.float64)
    log = _choose(a, x) + _choose(n - a, b - x) - _choose(n, torch.tensor(float(b), dtype=torch.float64))
    chance = log.exp()
    iou = torch.where(a + b - x > 0, x / (a + b - x).clamp(min=1), torch.ones_like(x))
    return float((chance * iou).sum()), min(1.0, float(chance[x >= both].sum()))


def _choose(n: int, k: Tensor) -> Tensor:
    return torch.lgamma(torch.tensor(n + 1.0, dtype=torch.float64)) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)


@dataclass(frozen=True, eq=False)
class Faithfulness(Result):
    """What a part of a network keeps of the score on n images, beside random parts of the same size.

    full      (n,) score of the whole network;  part: of the part;  empty: with all units of the masked layers removed
    random    (r, n) of random parts, with as many units of each layer
    units     (number of units kept, number of units of the masked layers)
    kept      share of the score that the part keeps: sum (part - empty) / sum (full - empty);  interval: of 95 % over images
    random_kept  (r,) the same of the random parts
    p         (1 + random parts that keep at least as much) / (1 + r)
    """

    full: Tensor = field(metadata=axes("n"))
    part: Tensor = field(metadata=axes("n"))
    empty: Tensor = field(metadata=axes("n"))
    random: Tensor = field(metadata=axes("r n"))
    units: tuple[int, int] = (0, 0)
    kept: float = field(default=float("nan"), metadata=WHOLE)
    interval: tuple[float, float] = field(default=(float("nan"), float("nan")), metadata=WHOLE)
    random_kept: tuple[float, ...] = field(default=(), metadata=WHOLE)
    p: float = field(default=float("nan"), metadata=WHOLE)
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    def __str__(self) -> str:
        low, high = self.interval
        words = f"{self.units[0]} of {self.units[1]} units keep {self.kept:.0%} of the score (95 %: {low:.0%} to {high:.0%})"
        most = max(self.random_kept, default=float("nan"))
        return f"{words} on {len(self.full)} images; random parts of this size at most {most:.0%} (p = {self.p:.2g})"


def mask_faithfulness(
    model: ModelLike,
    masks: Masks,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    fill: Literal["zero", "mean"] = "zero",
    reference: ImagesLike | None = None,
    parts: Annotated[int, Range(1, 10_000)] = 39,
    seed: int = 0,
) -> Faithfulness:
    """Returns how much of the score the sub-network of a mask keeps, beside random ones with as many units in each layer.

    kept = sum over images of (score of the part - score with all units of these layers removed) / (score of the whole - the
    same): 1 where the part does all that these layers do, 0 where it is worth no more than none of them; it may exceed 1, where
    units were removed that speak against the target. Its interval of 95 % resamples images; p = (1 + random parts that keep at
    least as much) / (1 + parts). NaN, with a note, where removing everything changes nothing: means over the same images would
    do so before a linear head, as what one image loses another gains.

    Args:
        masks: as for `subnetwork`; of channels, (c,).
        fill: output of a removed channel: zero, or its mean over the reference.
        reference: images of the means, such as pictures of other classes.
        parts: number of random sub-networks; p is at least 1 / (1 + parts).
        seed: random seed of the random parts and of the interval.

    Example:
        >>> print(tp.mask_faithfulness(model, {"blocks.6": [True] * 6 + [False] * 2}, images, 1, parts=3))
    """
    checked_range(parts, 1, 10_000, "parts")
    checked_choice(fill, ("zero", "mean"), "fill")
    if (fill == "mean") != (reference is not None):
        raise MethodError('fill="mean" takes other images, reference=, of which the means are, and "zero" takes none')
    with noting() as said, border(model, images) as (network, ready):
        explained = as_score(network, ready, target).explains(len(ready))
        known = None if reference is None else means(network, masks, network.as_images(reference))

        def value(some: Masks | None) -> Tensor:
            return _scores(network if some is None else part_of(network, some, known), ready, explained)

        generator = torch.Generator().manual_seed(seed)
        full, part = value(None), value(masks)
        empty = value({name: torch.zeros_like(torch.as_tensor(one), dtype=torch.bool) for name, one in masks.items()})
        random = torch.stack([value(_shuffled(masks, generator)) for _ in track(range(parts), parts, "random parts")])
        found = _measured(full, part, empty, random, masks, seed)
    return replace(found, notes=tuple(said))


def _scores(model: VisionModel, images: Tensor, explained: Any) -> Tensor:
    def work(score: ModelScore, some: Tensor) -> Tensor:
        with torch.no_grad():
            return score(some).double().cpu()

    return over_images(as_score(model, images, explained if callable(explained) else list(explained)), images, work, "auto")


def _shuffled(masks: Masks, generator: torch.Generator) -> dict[str, Tensor]:
    """Returns random masks with as many units of each layer."""
    made = dict[str, Tensor]()
    for name, mask in masks.items():
        flat = torch.as_tensor(mask).bool().flatten()
        made[name] = flat[torch.randperm(len(flat), generator=generator)].reshape(torch.as_tensor(mask).shape)
    return made


def _measured(full: Tensor, part: Tensor, empty: Tensor, random: Tensor, masks: Masks, seed: int) -> Faithfulness:
    every = torch.cat([torch.as_tensor(one).bool().flatten().cpu() for one in masks.values()])
    units = (int(every.sum()), len(every))
    gap = full - empty
    if float(gap.sum().abs()) <= max(NOTHING * float(gap.abs().sum()), ROUNDING * float(full.abs().sum())):
        note("removing all these units changes nothing in the sum over the images: there is no share to keep")
        return Faithfulness(full, part, empty, random, units)
    kept = float((part - empty).sum() / gap.sum())
    others = ((random - empty).sum(1) / gap.sum()).tolist()
    low, high = (float(one) for one in interval(part - empty, gap, resamples(len(full), seed)))
    p = (1 + sum(one >= kept - 1e-9 for one in others)) / (1 + len(others))
    return Faithfulness(full, part, empty, random, units, kept, (low, high), tuple(others), p)
