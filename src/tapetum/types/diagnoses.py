"""Findings of an examination of a model: what was found, what tapetum does about it, and what the user should do."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import wrap
from typing import Literal, NamedTuple, TypeAlias

from tapetum.types.results import PARTS, Result, saved

Severity: TypeAlias = Literal["error", "warning", "note"]
"""error: results are wrong or impossible until it is mended. warning: results may mislead. note: it is handled."""

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""The worst first."""

LETTERS = 118
"""Letters of a line of words."""


@saved
class Finding(NamedTuple):
    """One thing that an examination found.

    name       short name of the fault, such as "training_mode"
    severity   "error", "warning" or "note"
    what       what was found, with its layer and the number that was measured
    done       what tapetum does about it
    advice     what the user should do
    """

    name: str
    severity: Severity
    what: str
    done: str
    advice: str

    def __str__(self) -> str:
        """Returns the finding as lines: its name and what was found, what tapetum does, what to do."""
        head = f"{self.severity}: {self.name.replace('_', ' ')}: {self.what}"
        rest = [*wrap(f"tapetum: {self.done}", LETTERS - 4), *wrap(f"to do: {self.advice}", LETTERS - 4)]
        return "\n".join([*wrap(head, LETTERS, subsequent_indent="  "), *(f"    {line}" for line in rest)])

    @property
    def line(self) -> str:
        """The finding in one line: its name, what was found, and what to do."""
        return f"{self.name.replace('_', ' ')}: {self.what}; {self.advice}"


@dataclass(frozen=True, eq=False)
class Diagnosis(Result):
    """Findings of an examination of a model, the worst first.

    model      name of the model
    images     number of pictures that were looked at
    checks     names of the checks that were made
    left_out   checks that were not made, each with the reason
    """

    findings: tuple[Finding, ...] = field(metadata=PARTS)
    model: str
    images: int
    checks: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def serious(self) -> tuple[Finding, ...]:
        """The findings that are errors or warnings."""
        return tuple(one for one in self.findings if one.severity != "note")

    @property
    def healthy(self) -> bool:
        """Whether there is no error and no warning among the findings."""
        return not self.serious

    @property
    def verdict(self) -> str:
        """The outcome in a line: "efficientnet_lite0 on 3 pictures: healthy (15 checks, 2 notes)"."""
        counts = [(one, sum(found.severity == one for found in self.findings)) for one in SEVERITIES]
        told = [f"{n} {one}{'s' * (n != 1)}" for one, n in counts if n]
        pictures = f"{self.images} picture{'s' * (self.images != 1)}" if self.images else "no picture"
        outcome = "healthy" if self.healthy else "not healthy"
        return f"{self.model} on {pictures}: {outcome} ({', '.join([f'{len(self.checks)} checks', *told])})"

    def __str__(self) -> str:
        """Returns the verdict, every finding in its lines, and what was left out."""
        left = [line for one in self.left_out for line in wrap(f"not tested: {one}", LETTERS, subsequent_indent="  ")]
        return "\n".join([self.verdict, *map(str, self.findings), *left, *self.notes])
