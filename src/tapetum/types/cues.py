"""Which of two cues of a picture a network answers: the shape of one thing, or the texture of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.results import WHOLE, Result, axes
from tapetum.types.text import table

UNKNOWN = (float("nan"), float("nan"))


@dataclass(frozen=True, eq=False)
class ShapeTexture(Result):
    """Decisions of a network on n pictures, each with the shape of one category and the texture of another.

    pictures         (n,) names
    shapes           (n,) category that gave the shape; `shape_sources`: the thing itself, "cat7"
    textures         (n,) category that gave the texture; `texture_sources`: the thing itself
    decisions        (n,) category with the highest mean probability of its classes
    shape_rank       (n,) best rank of the shape's classes among all `classes` of the network; 1: the most probable
    texture_rank     (n,) the same for the texture
    shape_chance     (n,) in (0, 1], how often so many classes drawn by lot would have so good a best rank
    texture_chance   (n,) the same for the texture
    sizes            {category: number of its classes}
    interval         95 % of `bias`, by drawing shapes and textures again; rank_interval: of `rank_bias`
    skipped          {name: why a picture was left out}
    """

    pictures: tuple[str, ...] = field(metadata=axes("n"))
    shapes: tuple[str, ...] = field(metadata=axes("n"))
    textures: tuple[str, ...] = field(metadata=axes("n"))
    shape_sources: tuple[str, ...] = field(metadata=axes("n"))
    texture_sources: tuple[str, ...] = field(metadata=axes("n"))
    decisions: tuple[str, ...] = field(metadata=axes("n"))
    shape_rank: Tensor = field(metadata=axes("n"))
    texture_rank: Tensor = field(metadata=axes("n"))
    shape_chance: Tensor = field(metadata=axes("n"))
    texture_chance: Tensor = field(metadata=axes("n"))
    sizes: Mapping[str, int]
    classes: int
    interval: tuple[float, float] = field(default=UNKNOWN, metadata=WHOLE)
    rank_interval: tuple[float, float] = field(default=UNKNOWN, metadata=WHOLE)
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    model: str = ""
    data: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def answers(self) -> tuple[str, ...]:
        """What each picture's decision follows: "shape", "texture", or "neither"."""
        return tuple(map(_answer, self.decisions, self.shapes, self.textures))

    @property
    def counts(self) -> dict[str, int]:
        """Number of decisions by shape, by texture and by neither."""
        return {name: self.answers.count(name) for name in ("shape", "texture", "neither")}

    @property
    def bias(self) -> float:
        """Shape bias in [0, 1]: decisions by shape / decisions by shape or texture; NaN without any."""
        counts = self.counts
        decided = counts["shape"] + counts["texture"]
        return counts["shape"] / decided if decided else float("nan")

    @property
    def rank_bias(self) -> float:
        """Share of all pictures in [0, 1] whose shape ranks better than their texture, for categories of their sizes.

        Compares how often chance would do as well (`shape_chance`, `texture_chance`); equal ones count half.
        """
        ahead = (self.shape_chance < self.texture_chance).double() + 0.5 * (self.shape_chance == self.texture_chance).double()
        return float(ahead.mean())

    @property
    def by_category(self) -> dict[str, dict[str, int]]:
        """{category of the shape: number of its pictures decided by shape, by texture and by neither}."""
        found = {name: {"shape": 0, "texture": 0, "neither": 0} for name in self.sizes if name in self.shapes}
        for shape, answer in zip(self.shapes, self.answers, strict=True):
            found[shape][answer] += 1
        return found

    def said(self) -> str:
        """Says in a sentence which cue the network answers, by both rules."""
        counts, low, high = self.counts, *self.interval
        first = f"{counts['shape']} of {len(self.pictures)} pictures are answered by their shape, {counts['texture']} by their "
        first += f"texture, {counts['neither']} by neither"
        bias = f"shape bias {self.bias:.0%} (95 %: {low:.0%} to {high:.0%})" if self.bias == self.bias else "no shape bias"
        low, high = self.rank_interval
        ranks = f"over all {self.classes} classes the shape ranks better than the texture on {self.rank_bias:.0%} of the "
        return f"{first}: {bias}; {ranks}pictures ({low:.0%} to {high:.0%})".replace("%", " %").replace("  %", " %")

    def __str__(self) -> str:
        rows = [
            (name, *(str(one[key]) for key in ("shape", "texture", "neither")), _share(one))
            for name, one in self.by_category.items()
        ]
        head = ("shape", "by shape", "by texture", "by neither", "shape bias")
        median = f"median rank among {self.classes}: shape {_median(self.shape_rank)}, texture {_median(self.texture_rank)}"
        return "\n".join([f"{self.model} on {self.data}: {self.said()}", median, table(head, rows)])


def _answer(decision: str, shape: str, texture: str) -> str:
    return "shape" if decision == shape else "texture" if decision == texture else "neither"


def _share(one: Mapping[str, int]) -> str:
    decided = one["shape"] + one["texture"]
    return f"{100 * one['shape'] / decided:.0f} %" if decided else "-"


def _median(ranks: Tensor) -> str:
    return f"{float(ranks.double().quantile(0.5)):g}" if len(ranks) else "-"
