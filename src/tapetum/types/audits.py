"""What an audit found: cues that a model's answers follow, each with the experiment that shows it, and a receipt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.looks import ClassComponent, MistakeConcept, Property, RelevanceCluster, points
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
    before    (m, 3, h, w) pictures in [0, 1] before the cue was moved, those that changed most first, each one once;
              `after`: after it; `sources`: the pictures that gave the cue
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
    sources: Tensor = field(metadata=axes("_ c h w"))
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
class Audit(Result):
    """Cues that a model's answers follow, strongest first, of all that were moved between n pictures.

    suspicions  those whose p-value is at most `level`, whose effect reaches the bar of their kind (`bars`), and that work both
                ways: `losses` is two fifths of the effect or more
    effects     {kind: (k,)} effect of every cue on each of the k classes, found or not; p_values {kind: (k,)} likewise
    losses      {kind: (k,)} fall of each class's probability on its own pictures where another class gives the cue
    bars        {kind: least effect that counts}
    properties  what goes with the classes, or with mistakes, in the pictures themselves
    reliance    (k, 2) drop of the probability of the own class when the object, and when the surroundings, are those of
                another class's picture: what each class's answers rest on
    accuracy    share of right answers
    clusters    groups of pictures of a class whose evidence lies in the same places, the largest effect first
    components  parts of each class's logit, those that rest most on the surroundings first
    mistakes    concepts that drive wrong answers, the largest effect first
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
    mistakes: tuple[MistakeConcept, ...] = ()
    shares: Tensor | None = None
    receipt: Receipt | None = None
    losses: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
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
