"""What an audit sees beside its experiments: properties, groups and parts of classes, concepts of mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from tapetum.types.results import Result, axes


def points(share: float) -> str:
    """A difference of probabilities in points of 100."""
    return f"{100 * share:.0f}" if abs(share) >= 0.0995 else f"{100 * share:.1f}"


@dataclass(frozen=True, eq=False)
class Property(Result):
    """Association of a property of pictures, such as brightness, with their classes and with the model's mistakes.

    name       of the property; unit says what its numbers are
    means      {class: mean}
    share      share of the property's variance between classes, in [0, 1]
    p_label    p-value of `share` by shuffling classes, corrected for all properties
    difference mean over wrong answers less the mean over right ones of the same class, in standard deviations; NaN if none
    p_error    p-value of `difference` by shuffling within classes, corrected for all properties
    """

    name: str
    unit: str
    means: Mapping[str, float]
    share: float
    p_label: float
    difference: float
    p_error: float


@dataclass(frozen=True, eq=False)
class RelevanceCluster(Result):
    """Pictures of one class whose evidence lies in the same places, and what hiding these places does.

    label     the class; n: pictures of the group
    shares    of the positive evidence on the object, on its surroundings, in the outer band; they sum to 1
    grid      (7, 7) mean share of evidence of each cell
    effect    mean drop of the class's probability when the 7 cells with the most evidence are hidden, less that for the 7 cells
              with the least; `interval` of 95 % by resampling pictures
    p_value   by flipping signs of the pictures' differences, times the number of groups
    examples  (m,) names of the pictures nearest to the mean; pictures (m, 3, h, w) in [0, 1]; place (h, w): what was hidden
    """

    label: str
    n: int
    shares: tuple[float, float, float]
    grid: Tensor
    effect: float
    interval: tuple[float, float]
    p_value: float
    examples: tuple[str, ...] = field(metadata=axes("_"))
    pictures: Tensor = field(metadata=axes("_ c h w"))
    place: Tensor = field(metadata=axes("h w"))

    def __str__(self) -> str:
        on, around, band = (f"{share:.0%}" for share in self.shares)
        low, high = self.interval
        where = f"{on} of the evidence on the object, {around} on its surroundings, {band} in the outer band"
        hidden = f"{points(self.effect)} points ({points(low)} to {points(high)}; p = {self.p_value:.2g})"
        return f"{self.n} pictures of '{self.label}': {where}; hiding where most of it lies costs {hidden} more than elsewhere"


@dataclass(frozen=True, eq=False)
class MistakeConcept(Result):
    """Concept in wrongly answered pictures that speaks for the wrong class, and what hiding it does.

    label     the class that they are answered; truths {true class: pictures}
    shares    of the concept on the object, on its surroundings, in the outer band; they sum to 1
    effect    mean drop of the probability of `label` when the seventh of the picture with most of the concept is hidden, less
              that when as much is hidden at random; `interval` of 95 % by resampling pictures
    p_value   by flipping signs of the pictures' differences, times the number of such concepts
    repaired  share of the mistakes that are answered right with the concept hidden, and with as much hidden at random
    before    (m, 3, h, w) pictures in [0, 1], those that changed most first; `after`: with the concept hidden
    examples  (m,) their names; chances (m, 2): probability of `label` before and after
    """

    label: str
    truths: Mapping[str, int]
    shares: tuple[float, float, float]
    effect: float
    interval: tuple[float, float]
    p_value: float
    repaired: tuple[float, float]
    examples: tuple[str, ...] = field(metadata=axes("_"))
    before: Tensor = field(metadata=axes("_ c h w"))
    after: Tensor = field(metadata=axes("_ c h w"))
    chances: Tensor = field(metadata=axes("_ _"))

    @property
    def n(self) -> int:
        """Number of the mistakes."""
        return sum(self.truths.values())

    def __str__(self) -> str:
        on, around, band = (f"{share:.0%}" for share in self.shares)
        true = ", ".join(f"{count} of '{name}'" for name, count in sorted(self.truths.items(), key=lambda one: -one[1]))
        low, high = self.interval
        return (
            f"{self.n} pictures are wrongly answered '{self.label}' ({true}): what speaks for it lies {on} on the object, "
            f"{around} on its surroundings, {band} in the outer band; hiding it costs {points(self.effect)} points "
            f"({points(low)} to {points(high)}; p = {self.p_value:.2g}) more than hiding as much at random, and puts "
            f"{self.repaired[0]:.0%} of them right, against {self.repaired[1]:.0%}"
        )


@dataclass(frozen=True, eq=False)
class ClassComponent(Result):
    """Part of a class's logit along a principal component of its contributions, and what of it object and surroundings carry.

    label            the class; share: of the variance of the contributions over the class's pictures
    mean             mean part of the logit on the class's pictures, in units of the logit
    of_object        by how much that part falls when the object is another class's
    of_surroundings  by how much it falls when the surroundings are
    interval         of 95 % of of_object - of_surroundings, by resampling pictures
    examples         (m,) names of the pictures with the largest part; pictures (m, 3, h, w) in [0, 1]
    """

    label: str
    share: float
    mean: float
    of_object: float
    of_surroundings: float
    interval: tuple[float, float]
    examples: tuple[str, ...] = field(metadata=axes("_"))
    pictures: Tensor = field(metadata=axes("_ c h w"))

    @property
    def on_surroundings(self) -> bool:
        """Whether the surroundings carry more of it than the object, in the whole interval."""
        return self.interval[1] < 0

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"a part of the logit of '{self.label}' ({self.share:.0%} of its variance) falls by {self.of_object:+.2f} without "
            f"the object and by {self.of_surroundings:+.2f} without the surroundings (difference {low:+.2f} to {high:+.2f})"
        )
