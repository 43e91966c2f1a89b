"""What an audit found: cues that a model's answers follow, each with the experiment that shows it, and a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.results import PARTS, WHOLE, Result, axes, saved
from tapetum.types.text import table

AuditVerdict: TypeAlias = Literal["clean", "shortcut"]

CUE_WORDS: Mapping[str, str] = {
    "background": "the background",
    "watermark": "something in the corners or at the sides",
    "border": "the frame",
    "color": "the hue of the object",
    "texture": "the surface of the object",
    "tint": "the colour cast",
    "sharpness": "the sharpness",
}
"""{kind of a cue: what it is, in words}."""


@dataclass(frozen=True, eq=False)
class Suspicion(Result):
    """A cue that the answers follow towards one class, as an experiment showed: moved between pictures, it moves answers.

    kind      what was moved: "background", "watermark", "border", "color", "texture", "tint", "sharpness"
    label     the class that the cue speaks for
    effect    mean change of that class's probability on pictures of other classes where the cue comes from a picture of the
              class, less where it comes from another; where a place is moved, less the same for an equal area elsewhere
    interval  95 % interval of the effect, by resampling the pictures that give and that take
    p_value   share of 2000 shuffles of the givers' classes with as large a t anywhere among all cues and classes
    flips     share of the pictures of other classes that are answered by `label` with the cue of the class, and with another
    n         moves from pictures of the class to pictures of others
    before    (m, 3, h, w) pictures in [0, 1] before the cue was moved, those that changed most first; `after`: after it
    examples  (m,) names of these pictures; givers (m,): of the pictures that gave the cue
    chances   (m, 2) probability of `label` before and after
    """

    kind: str
    label: str
    effect: float
    interval: tuple[float, float]
    p_value: float
    flips: tuple[float, float]
    n: int
    examples: tuple[str, ...] = field(metadata=axes("_"))
    givers: tuple[str, ...] = field(metadata=axes("_"))
    before: Tensor = field(metadata=axes("_ c h w"))
    after: Tensor = field(metadata=axes("_ c h w"))
    chances: Tensor = field(metadata=axes("_ _"))
    index: int = 0

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"'{self.label}' follows {CUE_WORDS[self.kind]} ({self.kind}): taken from a picture of '{self.label}', it raises "
            f"that class's probability on pictures of other classes by {points(self.effect)} points "
            f"({points(low)} to {points(high)}; p = {self.p_value:.3g}), and {self.flips[0]:.0%} of {self.n} are then answered "
            f"'{self.label}', against {self.flips[1]:.0%} with the same from other classes"
        )

    @property
    def row(self) -> tuple[str, ...]:
        """The suspicion as a row of a table: cue, class, effect, interval, p-value, flips."""
        low, high = self.interval
        flips = f"{self.flips[0]:.0%} / {self.flips[1]:.0%}"
        return self.kind, self.label, f"{self.effect:+.3f}", f"{low:+.3f} to {high:+.3f}", f"{self.p_value:.2g}", flips


def points(share: float) -> str:
    """A difference of probabilities in points of 100."""
    return f"{100 * share:.0f}" if abs(share) >= 0.0995 else f"{100 * share:.1f}"


@saved
@dataclass(frozen=True)
class Receipt:
    """What the same audit finds on small networks whose truth is known: twins in the user's setting.

    found, planted   twins with a planted cue that were accused of it by its name, of all such twins
    accused, clean   twins without a cue that were accused of anything, of all such twins
    kinds            {kind of the planted cue: (found, planted)}
    suspected        twins with a planted cue that were accused of anything
    refused          twins that did not take the cue that was planted: they have no shortcut to find, and count nowhere
    setting          what the twins are, in words
    """

    found: int
    planted: int
    accused: int
    clean: int
    kinds: Mapping[str, tuple[int, int]]
    suspected: int = 0
    refused: int = 0
    setting: str = ""

    def __str__(self) -> str:
        total = self.planted + self.clean
        each = ", ".join(f"{kind} {found} of {planted}" for kind, (found, planted) in self.kinds.items())
        return (
            f"on {total} networks like yours we found {self.found} of {self.planted} planted shortcuts and accused "
            f"{self.accused} of {self.clean} clean ones ({each})"
        )


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


@dataclass(frozen=True, eq=False)
class Audit(Result):
    """Cues that a model's answers follow, strongest first, of all that were moved between n pictures.

    suspicions  those whose p-value is at most `level` and whose effect reaches the bar of their kind (`bars`)
    effects     {kind: (k,)} effect of every cue on each of the k classes, found or not; p_values {kind: (k,)} likewise
    bars        {kind: least effect that counts}
    properties  what goes with the classes, or with mistakes, in the pictures themselves
    reliance    (k, 2) drop of the probability of the own class when the object, and when the surroundings, are those of
                another class's picture: what each class's answers rest on
    accuracy    share of right answers
    clusters    groups of pictures of a class whose evidence lies in the same places, the largest effect first
    components  parts of each class's logit, those that rest most on the surroundings first
    shares      (k, 3) of the positive evidence of maps on object, surroundings and outer band; NaN without maps
    receipt     what this audit finds on twins, where some were trained
    smallest    {kind: least effect on a class that would have reached p <= level}
    """

    suspicions: tuple[Suspicion, ...] = field(metadata=PARTS)
    classes: tuple[str, ...]
    n: int
    level: float
    accuracy: float
    effects: Mapping[str, Tensor]
    p_values: Mapping[str, Tensor]
    bars: Mapping[str, float]
    smallest: Mapping[str, float]
    reliance: Tensor
    properties: tuple[Property, ...] = ()
    clusters: tuple[RelevanceCluster, ...] = ()
    components: tuple[ClassComponent, ...] = ()
    shares: Tensor | None = None
    receipt: Receipt | None = None
    masked: bool = False
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    model: str = ""
    data: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def verdict(self) -> AuditVerdict:
        """ "shortcut" if there is a suspicion, else "clean": no cue that was moved moves the answers."""
        return "shortcut" if self.suspicions else "clean"

    def __str__(self) -> str:
        head = f"{self.model} on {self.n} pictures of {len(self.classes)} classes of {self.data}: {self.said}"
        rows = [one.row for one in self.suspicions]
        names = ("cue", "towards", "effect", "95 %", "p", "flips")
        lines = [head, table(names, rows) if rows else "", "" if self.receipt is None else f"receipt: {self.receipt}"]
        return "\n".join(line for line in lines if line)

    @property
    def said(self) -> str:
        """The verdict in one sentence."""
        if not self.suspicions:
            most = max(self.smallest.values(), default=0.0)
            return (
                f"no cue that was moved ({', '.join(self.effects)}) moves the answers; an effect under {points(most)} points "
                "would not have been seen"
            )
        first = self.suspicions[0]
        return f"shortcut: {first}"
