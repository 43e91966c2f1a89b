"""Whether an answer depends on concepts: TCAV with its null."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import PARTS, WHOLE, Result
from tapetum.types.targets import Concept
from tapetum.types.text import table

Dependence: TypeAlias = Literal["raises", "lowers", "none", "unknown"]
"""raises, lowers  the concept does this to the score, more than vectors from shuffled pictures do
none             it does no more than such vectors do, and the layer knows it
unknown          the layer does not tell the concept's pictures from the random ones"""

DEPENDENCE: dict[Dependence, str] = {
    "raises": "raises it",
    "lowers": "lowers it",
    "none": "no effect beyond chance",
    "unknown": "unknown to this layer",
}


@dataclass(frozen=True, eq=False)
class Tcav(Result):
    """Whether a target depends on k concepts at a layer, from m images of which it is asked; `tcav[i]` is the i-th concept.

    concepts       (k,) directions in the layer's channels: units to visualise, targets, directions of other methods
    sensitivity    (k, m) change of the score of each image when every place moves along the vector, to first order, in units of
                   the score; the vector of kind "mean" is as long as the concept's pictures lie from the random ones
    score          (k,) TCAV score in [0, 1]: share of images whose sensitivity is positive
    accuracy       (k,) in [0, 1], how often a left-out picture is nearer to its own set's mean: does the layer know it?
    p_effect       (k,) p-value of the mean sensitivity, two-sided; p_known: of the accuracy, one-sided
    p              (k,) the larger of the two, corrected for all concepts (Holm)
    null_effect    (k, 2) the middle 95 % of the mean sensitivity for shuffled pictures; null_score: of the TCAV score
    null_accuracy  (k,) the accuracy that 5 % of the shuffled labellings reach
    counts         (k,) pictures of each concept, `others` random pictures; `runs` (k,) labellings
    exact          (k,) whether those are all labellings that there are
    level          rate of false alarms, over all concepts together;  vector: its kind, "mean" or "lda"
    """

    layer: str
    target: str
    concepts: tuple[Concept, ...] = field(metadata=PARTS)
    sensitivity: Tensor
    score: Tensor
    accuracy: Tensor
    p: Tensor
    p_effect: Tensor
    p_known: Tensor
    null_effect: Tensor
    null_score: Tensor
    null_accuracy: Tensor
    counts: tuple[int, ...]
    others: int
    runs: tuple[int, ...]
    exact: tuple[bool, ...]
    level: float = 0.05
    vector: str = "mean"
    model: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the concepts."""
        return tuple(map(str, self.concepts))

    @property
    def vectors(self) -> Tensor:
        """Concept vectors of length 1, (k, c) float64."""
        return torch.stack([one.unit_vector for one in self.concepts])

    @property
    def effect(self) -> Tensor:
        """Mean sensitivity over the images, (k,)."""
        return self.sensitivity.mean(1)

    @property
    def outcomes(self) -> tuple[Dependence, ...]:
        """What was found about each concept."""
        rows = zip(listed(self.p), listed(self.p_known), listed(self.effect), strict=True)
        return tuple(_outcome(p, known, effect, self.level) for p, known, effect in rows)

    def __str__(self) -> str:
        head = ("concept", "pictures", "effect", "by chance", "TCAV", "by chance", "accuracy", "by chance", "p", "verdict")
        rows = [self._row(i) for i in range(len(self.concepts))]
        first = (
            f"{self.target} in {self.model}, at {self.layer}: {self.sensitivity.shape[1]} images, {self.others} random pictures"
        )
        return "\n".join([first, table(head, rows)])

    def _row(self, i: int) -> tuple[str, ...]:
        low, high = listed(self.null_effect[i])
        least, most = listed(self.null_score[i])
        return (
            self.names[i],
            str(self.counts[i]),
            f"{float(self.effect[i]):+.3g}",
            f"{low:+.2g} to {high:+.2g}",
            f"{float(self.score[i]):.2f}",
            f"{least:.2f} to {most:.2f}",
            f"{float(self.accuracy[i]):.2f}",
            f"{float(self.null_accuracy[i]):.2f}",
            f"{float(self.p[i]):.2g}",
            DEPENDENCE[self.outcomes[i]],
        )


def _outcome(p: float, known: float, effect: float, level: float) -> Dependence:
    if p <= level:
        return "raises" if effect > 0 else "lowers"
    return "none" if known <= level else "unknown"


@dataclass(frozen=True, eq=False)
class Craft(Result):
    """Concepts of one class, k non-negative directions of a layer, the most important first; `craft[i]` is the i-th.

    concepts      (k,) directions: units to visualise, targets
    importance    (k,) total Sobol index in [0, 1], mean over the pictures: the share of the score's variance in which the
                  concept takes part when all are dimmed at random; unsigned
    stderr        (k,) its standard error over the pictures
    effect        (k,) what the score loses without the concept, mean over the pictures, in units of the score; below 0: it
                  speaks against the target
    p             (k,) share of shuffled directions whose effect is as large, of either sign, corrected for k concepts (Holm)
    null_effect   (q,) effects of directions that were found when the channels had been shuffled over the pictures
    explained     share of the variance of activations on half of the pictures that directions found on the other half explain;
                  at most 1, below 0 where the mean alone would be nearer
    null_explained  (r,) the same for directions of shuffled channels
    crops         (k, e, 3, s, s) in [0, 1], the crops with the largest share of each concept; `crop_names`: of which pictures
    maps          (m, k, h, w) shares of the concepts at every place of the first pictures, `photographs` (m, 3, H, W)
    pictures      names of all pictures that were used; `n_crops` crops of them
    """

    layer: str
    target: str
    concepts: tuple[Concept, ...] = field(metadata=PARTS)
    importance: Tensor
    stderr: Tensor
    effect: Tensor
    p: Tensor
    null_effect: Tensor
    explained: float
    null_explained: Tensor
    crops: Tensor
    crop_names: tuple[tuple[str, ...], ...]
    maps: Tensor
    photographs: Tensor
    pictures: tuple[str, ...]
    n_crops: int
    level: float = 0.05
    model: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def beats_chance(self) -> bool:
        """Whether they explain left-out pictures better than the mean does, and than all directions of shuffled channels."""
        return self.explained > max(0.0, float(self.null_explained.max()))

    @property
    def verdict(self) -> str:
        """Says in a sentence whether these concepts are more than directions of shuffled channels."""
        most = float(self.null_explained.max())
        told = f"{self.explained:.2f} of the variance on left-out pictures, shuffled ones at most {most:.2f}"
        if not self.beats_chance:
            what = "directions of shuffled channels" if self.explained <= most else "the mean of the pictures"
            return f"no better than {what}: they explain {told}"
        used = sum(float(one) <= self.level for one in self.p)
        return f"{used} of {len(self.concepts)} concepts matter more than directions of shuffled channels; they explain {told}"

    def __str__(self) -> str:
        rows = [
            (
                str(i),
                f"{float(self.importance[i]):.2f} ± {float(self.stderr[i]):.2f}",
                f"{float(self.effect[i]):+.3g}",
                f"{float(self.p[i]):.2g}",
                ", ".join(dict.fromkeys(self.crop_names[i])),
            )
            for i in range(len(self.concepts))
        ]
        about = f"{len(self.pictures)} pictures, {self.n_crops} crops"
        first = f"concepts of {self.target} in {self.model}, at {self.layer}: {about}"
        return "\n".join([first, self.verdict, table(("concept", "importance", "effect", "p", "most typical crops of"), rows)])
