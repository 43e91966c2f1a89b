"""The result of suppressing a cue: the edited model, its patch, what was predicted of the edit, and what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tapetum.models.patches import Patch
from tapetum.types import CUE_WORDS, Attempt, Effects
from tapetum.types.checks import listed
from tapetum.types.repairs import classes_table
from tapetum.types.results import WHOLE, Result

ENOUGH = 0.8
"""Share of the cue's pull that an edit has to take away."""

ALONE = "the network knows the class by little else, and how='last_two' may teach it something else"

BEARABLE = 0.01
"""Loss of accuracy of the classes that do not follow the cue, mean over them, that an edit may cost."""


@dataclass(frozen=True, eq=False)
class Repair(Result):
    """An edit of a model that makes its answers follow a cue less, and what it costs.

    kind       of the cue; `labels` are the classes that follow it
    words      what was changed
    patch      the change, as it is written to a file and taken back
    predicted  its effects, from half of the pictures, before it was made: fitted and judged on different ones
    measured   its effects on the other half, with the edited model
    attempts   all edits that were considered, those that change fewest weights first
    classes    names; `own` (k,) bool marks those that follow the cue
    model      the edited `VisionModel`; a repair that was saved and opened again has only the model's name
    """

    kind: str
    labels: tuple[str, ...]
    words: str
    patch: Patch
    predicted: Effects
    measured: Effects
    attempts: tuple[Attempt, ...]
    classes: tuple[str, ...]
    own: Tensor
    chosen: str
    data: str = ""
    model: Any = None
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    @property
    def reached(self) -> bool:
        """Whether the cue's pull, as measured, fell by four fifths and the other classes lost a point at most, on average."""
        return self.measured.fall >= ENOUGH and self.measured.others(self.own) >= -BEARABLE

    @property
    def error(self) -> float:
        """Mean distance, over the other classes, of predicted and measured change of accuracy, as a share in [0, 1]."""
        both = [one.accuracy[:, 1] - one.accuracy[:, 0] for one in (self.predicted, self.measured)]
        apart = (both[0] - both[1]).abs()[~self.own]
        return float(apart.nanmean()) if len(apart) else 0.0

    @property
    def said(self) -> str:
        """The outcome in sentences: the pull and the gap, the other classes, the suspected ones."""
        before, after = listed(self.measured.pull)
        low, high = self.measured.interval
        gap = " to ".join(f"{100 * one:.1f}" for one in listed(self.measured.gap))
        lines = [
            f"the cue's pull on answers fell from {100 * before:.1f} to {100 * after:.1f} points ({100 * low:.1f} to "
            f"{100 * high:.1f}), by {self.measured.fall:.0%} (predicted: {self.predicted.fall:.0%}), the gap of accuracy "
            f"between pictures with their own cue and with another's from {gap} points",
            f"the other classes changed by {100 * self.measured.others(self.own):+.1f} points on average "
            f"(predicted: {100 * self.predicted.others(self.own):+.1f})",
        ]
        for index in torch.nonzero(self.own)[:, 0].tolist():
            if int(self.measured.n[index]):
                was, now = (100 * one for one in listed(self.measured.accuracy[index]))
                lost = f"; {ALONE}" if now < 0.5 * was else ""
                lines.append(f"'{self.classes[index]}' itself went from {was:.1f} % to {now:.1f} % right{lost}")
        return "; ".join(lines)

    @property
    def outcome(self) -> str:
        """Whether the edit did what it was made for, in one sentence."""
        if self.reached:
            return f"suppressed: {self.words}, {self.patch.changed:,} weights"
        why = (
            f"the cue's pull fell by {self.measured.fall:.0%}, not by {ENOUGH:.0%}"
            if self.measured.fall < ENOUGH
            else f"the other classes lost {-100 * self.measured.others(self.own):.1f} points"
        )
        return f"not suppressed as asked ({why}); the best of {len(self.attempts)} edits: {self.words}"

    def __str__(self) -> str:
        follows = ", ".join(f"'{label}'" for label in self.labels)
        head = f"{self.patch.model}: {CUE_WORDS[self.kind]} ({self.kind}), which {follows} follows"
        lines = (head, self.outcome, self.said, classes_table(self.classes, self.predicted, self.measured, self.own))
        return "\n".join(lines)
