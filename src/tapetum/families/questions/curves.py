"""Makes the curves of answers: the network's number at each depth, and that of networks with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch

from tapetum.families.questions.estimates import Estimate, next_of
from tapetum.families.questions.subjects import Seen
from tapetum.types.answers import DepthCurve

Others: TypeAlias = Sequence[Sequence[Mapping[str, Seen]]]
"""Features of random networks by kind, each {layer: features}, as `subjects.beside` returns them."""

OWN, TWINS = "this network", "random weights"


def curve(panel: str, name: str, found: Mapping[str, Estimate]) -> DepthCurve:
    """Returns the curve of {layer: estimate}."""
    values, low, high = (torch.tensor(one, dtype=torch.float64) for one in zip(*found.values(), strict=True))
    return DepthCurve(panel, name, tuple(found), values, low, high)


def plain(found: Mapping[str, float]) -> dict[str, Estimate]:
    """Returns {layer: estimate without an interval}."""
    return {layer: Estimate(value, float("nan"), float("nan")) for layer, value in found.items()}


def of_random(others: Others, measure: Callable[[Mapping[str, Seen]], float]) -> Estimate:
    """Returns the mean number of random networks, and where another one's would lie, of either kind."""
    return of_either([next_of([measure(one) for one in group]) for group in others])


def of_either(found: Sequence[Estimate]) -> Estimate:
    """Returns the first kind's mean, and an interval that holds those of all kinds."""
    return Estimate(found[0].value, min(one.low for one in found), max(one.high for one in found))


def of_twins(panel: str, others: Others, measure: Callable[[Seen], float]) -> tuple[DepthCurve, dict[str, Estimate]]:
    """Returns the curve of random networks over their layers, and its {layer: estimate}."""
    found = {name: as_share(of_random(others, lambda one, name=name: measure(one[name]))) for name in others[0][0]}
    return curve(panel, TWINS, found), found


def as_share(one: Estimate) -> Estimate:
    """Returns an estimate of a share with its interval inside of [0, 1]."""
    return Estimate(one.value, max(one.low, min(0.0, one.value)), min(one.high, 1.0))


def of_one_twin(panel: str, found: Mapping[str, Estimate]) -> DepthCurve:
    return curve(panel, TWINS, found)
