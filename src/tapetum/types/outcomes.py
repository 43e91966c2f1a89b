"""Outcomes of a measurement, one per image: a number, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from torch import Tensor

Outcome: TypeAlias = Literal[
    "ok",
    "empty_mask",
    "full_mask",
    "no_positive_evidence",
    "constant",
    "zero",
    "non_finite",
    "no_change",
    "impossible",
    "certain",
    "non_finite_output",
    "not_repeated",
]
"""Outcome per image: ok, or the reason why its number is NaN, in the words of `REASONS`."""

REASONS: Mapping[Outcome, str] = {
    "empty_mask": "empty mask",
    "full_mask": "a mask of the whole picture",
    "no_positive_evidence": "no positive evidence",
    "constant": "constant map",
    "zero": "a map of zeros",
    "non_finite": "NaN in the map",
    "no_change": "an output that does not change",
    "impossible": "probability 0 from the start",
    "certain": "probability 1 from the start",
    "non_finite_output": "NaN in the output",
    "not_repeated": "a map that its method does not give again",
}


def mean_in_words(value: Tensor, status: Sequence[Outcome], form: str = "#.3g") -> str:
    """Describes numbers (n,) in words: "0.83 on average of 16 images; without a number: 2 constant map"."""
    known = value[~value.isnan()]
    number = f"{float(known.double().mean()):{form}}" if len(known) else "undefined"
    of = f" on average of {len(known)} images" if len(known) > 1 else ""
    counts = {word: status.count(one) for one, word in REASONS.items() if one in status}
    lost = ", ".join(f"{count} {word}" for word, count in counts.items())
    return number + of + (f"; without a number: {lost}" if lost else "")
