"""CRAFT: concepts of one class as non-negative parts of the activations of crops, each beside parts of shuffled ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.layers import POSITIVE, layer_of
from tapetum.engines.batching import batch_size
from tapetum.engines.probe import activations
from tapetum.engines.scores import ModelScore, as_score, probabilities
from tapetum.families.compositions.directions import factorize
from tapetum.families.concept_tests.importance import Parts, explained, parts_of, shares_of
from tapetum.families.concept_tests.sets import MOST, PictureSet, network_for, picture_set
from tapetum.families.verdicts.judging import holm
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage, track
from tapetum.types import AnyOf, Batch, Concept, Craft, LayerError, MethodError, ModelLike, Range, TargetLike
from tapetum.types.checks import checked_choice, checked_range

FEWEST = 4
"""Pictures of a class below which nothing can be left out."""

SETS = 20
"""Shufflings: to explain more than all of them has the p-value 1 / 21; a concept's least is n / (1 + 20 n), just below .05:
that any of the n directions of one more shuffling is beyond those of all others has the chance 1 / 21, too.
"""

STEPS = 100
"""Updates of the factors that are compared, of shuffled and of other activations."""

ASKED = 50
"""Pictures whose score is taken apart, at most; crops come from all."""

SHOWN, TYPICAL, CROP_PX = 6, 6, 96
"""Pictures whose maps are kept, crops of each concept, side of a kept crop."""


def craft(
    model: ModelLike,
    source: Any,
    target: TargetLike,
    layer: str | None = None,
    *,
    n: Annotated[int, Range(2, 100)] = 10,
    crops: Annotated[int, Range(1, 1000)] = 10,
    crop_share: Annotated[float, Range(0.1, 1)] = 0.4,
    designs: Annotated[int, Range(2, 4096)] = 32,
    keep: Literal["predicted", "all"] = "predicted",
    level: Annotated[float, Range(1e-6, 0.5)] = 0.05,
    shufflings: Annotated[int, Range(1, 1000)] = SETS,
    most: Annotated[int, Range(4, 100_000)] | None = MOST,
    seed: int = 0,
    batch: Batch = "auto",
) -> Craft:
    """Concepts of one class: what its pictures are made of at a layer, how much each part matters, and where it is.

    Random crops of the class's pictures are resized to the model's input; their activations at the layer, averaged over places
    and never negative, are factorised, V ~ W H with W, H >= 0, and the n rows of H are the concepts (fel2023craft; the paper's
    recursion, the same again in an earlier layer, is left out). In each picture the activation is sum_k m_k share_k(place) h_k
    + the rest, which stays as it is (the paper drops it), and the network behind the layer is run with m_k in [0, 1]:
    importance = total Sobol index of m_k, by Jansen's estimator over a scrambled Sobol sequence (jansen1999analysis), in
    [0, 1] up to its error; effect = the fall of the score for m_k = 0, which has a sign.

    Chance: each channel's values are shuffled over the pictures, so that channels are no longer active together, and are
    factorised again, 20 times. The verdict is "no better than directions of shuffled channels" unless directions from half of
    the pictures explain the other half better than all shuffled ones do (of directions of shuffled channels, 1 in 21 do), and
    better than its mean. The p of each concept compares its effect with those of shuffled directions, corrected for all
    concepts by Holm's method. (Plainly random directions would not do: a factorisation of noise beats them.)

    Refused: fewer than four pictures, and a layer with negative activations.

    Args:
        source: pictures of the class: a folder or another source, or images.
        target: class, `tp.union` of classes, or any other target.
        layer: name of a layer with a map that is never negative; None: the first such from the last that combines places.
        n: concepts.
        crops: crops of each picture.
        crop_share: side of a crop as a share of the picture's.
        designs: points of the Sobol sequence, for each of which the network behind the layer is run n + 1 times per picture.
        keep: pictures that are used: "predicted", those that the model takes for the class or one of the union; "all".
        level: p-value up to which a concept counts as more than a shuffled direction.
        shufflings: times that channels are shuffled; no p is below 1 / (1 / n + shufflings), so lower levels take more.
        most: pictures of the source, drawn at random; None: all.
        seed: random seed of pictures, crops, factors, points and shufflings.

    Example:
        >>> print(tp.craft(model, folder, 1, n=2, crops=2, designs=2, keep="all").verdict)
    """
    checked_choice(keep, ("predicted", "all"), "keep")
    numbers = (("n", n, 2, 100), ("crops", crops, 1, 1000), ("designs", designs, 2, 4096), ("shufflings", shufflings, 1, 1000))
    for name, value, low, high in numbers:
        checked_range(value, low, high, name)
    if not 0.1 <= crop_share <= 1:
        raise MethodError(f"crop_share is a share of the picture's side from .1 to 1, not {crop_share:g}")
    with noting() as said, network_for(model, source) as network:
        kept = _kept(network, picture_set(network, source, most, seed), target, keep, batch)
        name, words = _layer(network, kept, target, layer)
        found = _Search(network, kept, target, name, batch, seed).found(n, crops, crop_share, designs, level, shufflings)
    return replace(found, target=words, notes=tuple(said))


@dataclass(frozen=True, eq=False)
class _Kept:
    """The pictures that are used, model-ready (n, c, h, w), and their names."""

    images: Tensor
    names: tuple[str, ...]


def _kept(model: VisionModel, pictures: PictureSet, target: TargetLike, keep: str, batch: Batch) -> _Kept:
    images, rows = list[Tensor](), list[int]()
    wanted: tuple[int, ...] = ()
    for some, ready in pictures.batches(model, batch):
        if keep == "predicted":
            wanted = wanted or _classes(model, ready, target)
            table = probabilities(model, ready)
            if table is None:
                raise MethodError(
                    f'{model.name} gives no probabilities of classes: choose the pictures yourself and say keep="all"'
                )
            right = torch.isin(table.argmax(1).cpu(), torch.tensor(wanted))
        else:
            right = torch.ones(len(some), dtype=torch.bool)
        images.append(ready[right.to(ready.device)])
        rows += [row for row, one in zip(some, right.tolist(), strict=True) if one]
    if len(rows) < FEWEST:
        which = f" that {model.name} takes for the target" if keep == "predicted" else ""
        raise MethodError(
            f"{len(rows)} of {len(pictures)} pictures{which} are too few: give at least {FEWEST}, or a tp.union of classes"
        )
    if len(rows) < len(pictures):
        note(f"{len(rows)} of {len(pictures)} pictures are used: those that {model.name} takes for the target")
    return _Kept(torch.cat(images), tuple(pictures.ids[row] for row in rows))


def _classes(model: VisionModel, images: Tensor, target: TargetLike) -> tuple[int, ...]:
    """Returns the indices of the classes of a target; refuses one that is no class or union of classes."""
    (one,) = as_score(model, images[:1], target if not isinstance(target, (list, tuple)) else None).explains(1)
    members = one.of if isinstance(one, AnyOf) else (one,)
    classes = tuple(member for member in members if isinstance(member, int))
    if target is None or isinstance(target, (list, tuple)) or len(classes) < len(members):
        raise MethodError(
            'pictures of a class are chosen for a class or a tp.union of classes; for other targets say keep="all"'
        )
    return classes


def _layer(model: VisionModel, kept: _Kept, target: TargetLike, layer: str | None) -> tuple[str, str]:
    some = kept.images[:FEWEST]
    score = as_score(model, some, target)
    name = layer_of(score, some, layer, (POSITIVE,) if layer is None else ())
    if float(activations(model, some, name).min()) < 0:
        raise LayerError(
            f"{name} of {model.name} has negative activations, which are no sums of parts: name a layer after a ReLU"
        )
    return name, score.describe(1)[0] if len(set(score.describe(len(some)))) == 1 else "the predicted class"


class _Search:
    """Factors of the crops of the kept pictures, their importance, and factors of shuffled channels beside them."""

    def __init__(self, model: VisionModel, kept: _Kept, target: TargetLike, layer: str, batch: Batch, seed: int) -> None:
        self.model, self.kept, self.layer, self.seed = model, kept, layer, seed
        self.batch: Batch = batch
        self.score: ModelScore = as_score(model, kept.images, target)
        self.generator = torch.Generator().manual_seed(seed)

    def found(self, n: int, crops: int, share: float, designs: int, level: float, shufflings: int) -> Craft:
        with stage("crops"):
            boxes = self._boxes(crops, share)
            values = self._values(boxes)
        owner = torch.arange(len(self.kept.images)).repeat_interleave(crops)
        directions = factorize(values, n, seed=self.seed).directions
        with stage("shuffled channels"):
            mine, chance, nulls = self._compared(values, owner, n, shufflings)
        with stage("importance"):
            parts = self._parts(directions, nulls, designs)
        totals, losses, null = (torch.stack([getattr(one, name) for one in parts]) for name in ("totals", "losses", "null"))
        null = null.mean(0).flatten()
        order = totals.mean(0).argsort(descending=True, stable=True)
        effect, least = losses.mean(0)[order], n / (1 + len(null))
        if least > level:
            note(
                f"with {shufflings} shufflings p is at least {least:.2g}, so nothing can count at level {level:g}: ask for more"
            )
        p = holm([(1 + int((null.abs() >= abs(one)).sum())) / (1 + len(null)) for one in effect.tolist()])
        best = shares_of(values, directions[order]).topk(min(TYPICAL, len(values)), 0).indices.T
        shown = torch.stack([one.maps[order] for one in parts[:SHOWN]])
        return Craft(
            self.layer,
            "",
            tuple(Concept(self.layer, directions[i], f"concept {rank}") for rank, i in enumerate(order.tolist())),
            importance=totals.mean(0)[order],
            stderr=(totals.std(0) / len(totals) ** 0.5)[order],
            effect=effect,
            p=torch.tensor(p, dtype=torch.float64),
            null_effect=null,
            explained=mine,
            null_explained=chance,
            crops=torch.stack([self._shown(boxes, row) for row in best.tolist()]),
            crop_names=tuple(tuple(self.kept.names[int(owner[i])] for i in row) for row in best.tolist()),
            maps=shown.float(),
            photographs=self.model.denormalize(self.kept.images[:SHOWN]).float().cpu(),
            pictures=self.kept.names,
            n_crops=len(values),
            level=level,
            model=self.model.name,
        )

    def _boxes(self, crops: int, share: float) -> list[tuple[int, int, int, int, int]]:
        """Draws crops as (picture, top, left, height, width) in px of the model-ready image."""
        h, w = self.kept.images.shape[-2:]
        height, width = max(1, round(share * h)), max(1, round(share * w))
        places = torch.rand(len(self.kept.images), crops, 2, generator=self.generator)
        corners = (places * torch.tensor([h - height + 1, w - width + 1])).long().clamp(max=max(h, w)).tolist()
        return [(i, top, left, height, width) for i, some in enumerate(corners) for top, left in some]

    def _crop(self, box: tuple[int, int, int, int, int], size: tuple[int, int]) -> Tensor:
        i, top, left, height, width = box
        part = self.kept.images[i : i + 1, :, top : top + height, left : left + width]
        return F.interpolate(part, size, mode="bilinear", align_corners=False, antialias=True)

    def _values(self, boxes: Sequence[tuple[int, int, int, int, int]]) -> Tensor:
        """Returns the activations of all crops, averaged over places, (crops, c)."""
        size, found = (int(self.kept.images.shape[-2]), int(self.kept.images.shape[-1])), list[Tensor]()
        several = batch_size(self.model, self.batch, n=len(boxes))
        starts = range(0, len(boxes), several)
        for start in track(starts, len(starts), "batches of crops"):
            images = torch.cat([self._crop(box, size) for box in boxes[start : start + several]])
            found.append(activations(self.model, images, self.layer).mean((2, 3)).double().cpu())
        return torch.cat(found).clamp(min=0)

    def _shown(self, boxes: Sequence[tuple[int, int, int, int, int]], rows: Sequence[int]) -> Tensor:
        side = min(CROP_PX, *self.kept.images.shape[-2:])
        return torch.cat([self.model.denormalize(self._crop(boxes[i], (side, side))).float().cpu() for i in rows])

    def _compared(self, values: Tensor, owner: Tensor, n: int, shufflings: int) -> tuple[float, Tensor, list[Tensor]]:
        """Returns the variance of one half that directions of the other explain, that by shuffled ones, and these."""
        pictures = torch.randperm(len(self.kept.images), generator=self.generator)
        learned = torch.isin(owner, pictures[: len(pictures) // 2])
        half, rest, crops = values[learned], values[~learned], int((owner == 0).sum())
        fewer = min(n, len(half))
        own = factorize(half, fewer, seed=self.seed, n_steps=STEPS).directions
        nulls = [
            factorize(shuffled(half, crops, self.generator), fewer, seed=self.seed + 1 + i, n_steps=STEPS).directions
            for i in track(range(shufflings), shufflings, "shufflings")
        ]
        return explained(rest, own), torch.tensor([explained(rest, one) for one in nulls], dtype=torch.float64), nulls

    def _parts(self, directions: Tensor, nulls: Sequence[Tensor], designs: int) -> list[Parts]:
        images, asked = self.kept.images, min(len(self.kept.images), ASKED)
        if asked < len(images):
            note(f"importance and effect are means over the first {asked} pictures")
        others = torch.stack(list(nulls))

        def one(i: int) -> Parts:
            score = self.score.take([i])
            return parts_of(score, images[i : i + 1], self.layer, directions, others, designs, self.seed, self.batch)

        return [one(i) for i in track(range(asked), asked, "pictures")]


def shuffled(values: Tensor, crops: int, generator: torch.Generator) -> Tensor:
    """Returns activations (pictures x crops, c) with each channel's values given to other pictures, their crops together."""
    blocks = values.reshape(-1, crops, values.shape[1])
    order = torch.rand(len(blocks), values.shape[1], generator=generator).argsort(0)
    return blocks.gather(0, order[:, None, :].expand(-1, crops, -1)).reshape(values.shape)
