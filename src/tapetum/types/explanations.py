"""Explanation of one image, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch import Tensor

from tapetum.types.activation_maps import ActivationMaps
from tapetum.types.attributions import Attribution
from tapetum.types.evaluations import Evaluation
from tapetum.types.models import Number, Prediction
from tapetum.types.results import PARTS, Result, saved
from tapetum.types.runs import Provenance
from tapetum.types.verdicts import Verdict

AnswerKind = Literal["classes", "labels", "binary", "numbers", "maps", "detections", "other"]
"""Kind of a model's output: one of several classes, independent labels, yes or no, numbers, a segmentation, detections."""


SAME = 0.6
"""Share of the top fifth of two maps in common above which they point to the same place; by chance 0.2."""


@saved
@dataclass(frozen=True, eq=False)
class Judged:
    """One method's map of one target, with its time, its evidence, and the verdict on it.

    `evidence` maps "deletion" (low is good) and "insertion" (high is good) to areas under the probability curve, and
    "faithfulness" to insertion - deletion in log-odds as a share of the range, which orders the maps. `baseline` marks the
    random and edge maps, which know nothing of the model's decision. `class_overlap` is the share of its top fifth that the map
    has in common with the same method's map of an unlikely class; None where that was not measured.
    """

    attribution: Attribution
    title: str
    summary: str
    seconds: float
    evidence: Mapping[str, float]
    curves: Mapping[str, Evaluation]
    baseline: bool
    provenance: Provenance
    verdict: Verdict | None = None
    class_overlap: float | None = None

    @property
    def stands(self) -> bool:
        """Whether the map stands up against random maps, edges and a blob in the middle."""
        return self.verdict is not None and self.verdict.stands

    @property
    def is_reason(self) -> bool:
        """Whether the map depends on the class, as far as that was measured; one that does not is no reason for the class."""
        return self.class_overlap is None or self.class_overlap <= SAME

    @property
    def faithfulness(self) -> float:
        return self.evidence.get("faithfulness", float("nan"))


TOGETHER = "near classes together"
"""Role of a question about the union of classes that the network hardly tells apart."""


@saved
@dataclass(frozen=True, eq=False)
class Question:
    """One target and all of its maps, best first, with the baselines.

    probability, value  of the target in the image: its probability where it has one, else its score in its own units
    hidden   target's probability (or score) with everything hidden, {fill: value}; empty where no evidence was measured
    refused  {method: why it gave no map}
    tried    of methods="best": {method: faithfulness} for every method that was tried, also if its map is not
             kept; NaN where time ran out
    """

    target: str
    index: int | None
    probability: float | None
    role: str  # "predicted", `TOGETHER`, "runner-up", "also found" or "asked"
    maps: tuple[Judged, ...]
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    tried: Mapping[str, float] = field(default_factory=dict[str, float])
    value: float | None = None
    hidden: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def leader(self) -> Judged | None:
        """The first map, in the order of faithfulness, that stands up and depends on the class; None where none does."""
        found = [one for one in self.maps if one.stands and one.is_reason and not one.baseline]
        return max(found, key=lambda one: one.faithfulness, default=None)

    @property
    def measured_by(self) -> str:
        """Quantity whose change the evidence measures: the target's probability, or the number that is explained."""
        return "number" if self.probability is None else "probability"


@dataclass(frozen=True, eq=False)
class Explanation(Result):
    """One image with its crop, predictions, activation maps, judged maps, and findings in words."""

    file: str
    photo: Tensor  # (1, 3, H, W) in [0, 1]: the whole photograph, upright
    pixels: Tensor  # (1, 3, h, w) in [0, 1]: exactly what the model saw
    crop: str  # how the photograph became the crop, in words
    predictions: tuple[Prediction | Number, ...]
    found: tuple[ActivationMaps, ...]
    questions: tuple[Question, ...] = field(metadata=PARTS)
    findings: tuple[str, ...]
    notes: tuple[str, ...] = ()  # what a reader must know of the model and its input, for any question
    answer: AnswerKind = "classes"
    outputs: str = ""  # meaning of the model's output numbers, in words

    def __str__(self) -> str:
        return "\n".join([self.name, *self.findings, *self.notes])

    @property
    def name(self) -> str:
        """File name of the image without its folders."""
        return Path(self.file).name or self.file
