"""Five questions about a network, each with an answer that was measured, and curves over its depth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from tapetum.types.refusals import TapetumError
from tapetum.types.results import PARTS, WHOLE, Result, axes
from tapetum.types.text import table

Topic: TypeAlias = Literal["hierarchy", "space", "redundancy", "abstraction", "uses"]

QUESTIONS: dict[Topic, str] = {
    "hierarchy": "How do late layers differ from early ones?",
    "space": "Where does the network lose space?",
    "redundancy": "Are filters redundant?",
    "abstraction": "Why do inversions of deep layers look abstract?",
    "uses": "What are its features good for?",
}

Verdict: TypeAlias = Literal["yes", "no", "unsaid"]


@dataclass(frozen=True, eq=False)
class DepthCurve(Result):
    """A number at n depths of a network, with the interval of 95 % that `measured` of its answer explains.

    panel    what the number is, the title of its chart
    name     whose number it is: the network's, or that of networks with random weights
    layers   (n,) names; "pixels" and "answer" are the two ends
    values   (n,) with `low` and `high` (n,), NaN where there is none
    """

    panel: str
    name: str
    layers: tuple[str, ...] = field(metadata=axes("n"))
    values: Tensor = field(metadata=axes("n"))
    low: Tensor = field(metadata=axes("n"))
    high: Tensor = field(metadata=axes("n"))


@dataclass(frozen=True, eq=False)
class Answer(Result):
    """One question, and the answer that was measured.

    topic      which of the five
    verdict    "yes" if the sentence claims something of this network that random weights and chance do not explain, "no" if
               they do, "unsaid" if it was not measured
    sentence   the answer with its numbers and intervals; measured: how; false_if: what would make it false
    numbers    {name: value}, those of the sentence and others
    curves     over the depth of the network
    left_out   parts of the answer that are missing, each with the reason
    pictures   (k, 3, h, w) in [0, 1], inversions with the photograph first; None for other questions
    captions   (k,) of the pictures
    """

    topic: Topic
    verdict: Verdict
    sentence: str
    measured: str
    false_if: str
    numbers: Mapping[str, float] = field(default_factory=dict[str, float])
    curves: tuple[DepthCurve, ...] = ()
    left_out: tuple[str, ...] = ()
    pictures: Tensor | None = None
    captions: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        return QUESTIONS[self.topic]

    @property
    def panels(self) -> tuple[str, ...]:
        """Titles of the charts."""
        return tuple(dict.fromkeys(curve.panel for curve in self.curves))

    def __str__(self) -> str:
        lines = [self.question, self.sentence, f"measured: {self.measured}", f"false if: {self.false_if}"]
        return "\n".join([*lines, *(f"left out: {one}" for one in self.left_out)])


@dataclass(frozen=True, eq=False)
class FiveAnswers(Result):
    """The answers to five questions about a network, in the order of `QUESTIONS`.

    layers     depths at which was measured; pictures: how many; classes: names of the classes that the pictures have
    skipped    {name: why a picture was left out}
    seconds    {part of the work: seconds}
    """

    answers: tuple[Answer, ...] = field(metadata=PARTS)
    layers: tuple[str, ...]
    pictures: int
    classes: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    model: str = ""
    data: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    def of(self, topic: str) -> Answer:
        """Returns the answer about hierarchy, space, redundancy, abstraction or uses."""
        for one in self.answers:
            if one.topic == topic:
                return one
        raise TapetumError(f"no answer about '{topic}'; there are {', '.join(one.topic for one in self.answers)}")

    def __str__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ", no classes"
        head = f"five questions about {self.model}, {self.pictures} pictures of {self.data}{classes}"
        return "\n\n".join([head, *map(str, self.answers), "every number by depth: str(answers.of('uses').curves[0])"])


def curve_table(answer: Answer) -> str:
    """Writes all curves of an answer as a table, a row per depth."""
    depths = tuple(dict.fromkeys(layer for curve in answer.curves for layer in curve.layers))
    head = ["depth", *(f"{curve.panel}, {curve.name}" for curve in answer.curves)]
    return table(head, [[layer, *(at(curve, layer) for curve in answer.curves)] for layer in depths])


def at(curve: DepthCurve, layer: str) -> str:
    """Writes the value of a curve at a depth with its interval, "-" where there is none."""
    if layer not in curve.layers:
        return "-"
    i = curve.layers.index(layer)
    value, low, high = (float(one[i]) for one in (curve.values, curve.low, curve.high))
    if value != value:
        return "-"
    return f"{value:.2f}" if low != low else f"{value:.2f} ({low:.2f} to {high:.2f})"
