"""`judge`: tests maps against random maps, edges and a blob in the middle, corrected for all maps that were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.engines.scores import as_probability
from tapetum.families.verdicts.trials import JUDGING, ORDERING, Setting, Trials
from tapetum.types import Attribution, ImagesLike, MethodError, ModelLike
from tapetum.types.verdicts import LEAST_RANGE, Outcome, Verdict, Verdicts

GRID = 7
"""Values per side of random maps, or as many as a coarser map has. Finer random maps differ less, so they pass more rarely."""

FEWEST = 50
"""Fewest random maps, 100 with their reverses."""

FIRST = 16
"""Random maps that are tried first; where they beat all maps, no more are needed."""


def judge(
    model: ModelLike,
    images: ImagesLike,
    attributions: Attribution | Sequence[Attribution],
    *,
    level: float = 0.05,
    seed: int = 0,
) -> Verdicts:
    """Judges maps: a map stands up if it is more faithful than random maps, the image's edges, and a blob in the middle.

    Cells of a 14 x 14 grid are shown in the order of the map, and in the reverse order, the rest blurred. faithfulness = mean
    over four shares of (log-odds with the highest cells shown - log-odds with the lowest shown) / (log-odds of the image -
    log-odds with nothing shown): insertion - deletion, 1 at best, about 0 for random maps. `p_value` is the probability that
    a random map of 7 x 7 values (or of the map's own grid, if coarser) reaches it: (1 + random maps at least as far from 0) /
    (2 (1 + k)), since a map and its reverse have opposite values; corrected for all given maps by Holm's method. A map stands
    up if p <= level and if it exceeds the edges and the blob by more than one standard error of the difference, paired over
    two fills and three grids. Nothing is tested, and the outcome says so, where hiding everything lowers the probability by
    less than 0.1, by blur or by zero. Of scores without a probability, levels are the scores, and the fall is relative.

    Args:
        level: largest probability that a random map passes, of all maps of an image together, in (0, 1).
        seed: random seed of the random maps.

    Example:
        >>> print(tp.judge(model, images, [tp.grad_cam(model, images), tp.saliency(model, images)], level=0.2))
    """
    maps = [attributions] if isinstance(attributions, Attribution) else list(attributions)
    if not maps or not all(isinstance(one, Attribution) for one in maps):
        raise MethodError("judge takes an attribution, such as tp.grad_cam(...), or a list of them")
    if not 0 < level < 1:
        raise MethodError(f"level is a probability between 0 and 1, such as 0.05, not {level!r}")
    with border(model, images) as (network, ready):
        if any(len(one) != len(ready) for one in maps):
            raise MethodError(f"maps of {', '.join(str(len(one)) for one in maps)} images were given for {len(ready)} images")
        found: list[Verdict] = []
        for row in range(len(ready)):
            targets = {one.explains[row]: one for one in maps}
            scores = [as_probability(network, ready, one.explains).take([row]) for one in targets.values()]
            trials = Trials(network, ready[row : row + 1], scores, seed)
            which = [list(targets).index(one.explains[row]) for one in maps]
            found += ask(trials, [one[row] for one in maps], which, level, row)
    return Verdicts(tuple(found), len(maps))


def ask(trials: Trials, maps: Sequence[Attribution], which: Sequence[int], level: float, image: int = 0) -> list[Verdict]:
    """Returns the verdicts on maps of one image, each of the score `which` of the trials, corrected for all of them."""
    case = _Case(trials, maps, which, level, image)
    early: list[Outcome | None] = [case.untestable(i) for i in range(len(maps))]
    tested = [i for i, outcome in enumerate(early) if outcome is None]
    values = dict(zip(tested, case.measured(tested, JUDGING[0]), strict=True))
    nulls = _nulls(case, values)
    p_values = dict(zip(tested, holm([_p_value(values[i], nulls[i]) for i in tested]), strict=True))
    found: list[Verdict] = []
    for i, outcome in enumerate(early):
        if outcome is not None:
            found.append(case.verdict(i, outcome))
            continue
        margins = case.margins(i) if p_values[i] <= level else {}
        null = torch.cat([nulls[i], -nulls[i]])
        found.append(case.verdict(i, _outcome(p_values[i], level, margins), values[i], p_values[i], null, margins))
    return found


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected by Holm's step-down method: the k-th smallest of m times m - k + 1, made monotone."""
    corrected, largest = [math.nan] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


class _Case:
    """The maps of one image with their trials."""

    def __init__(self, trials: Trials, maps: Sequence[Attribution], which: Sequence[int], level: float, image: int) -> None:
        self.trials, self.maps, self.which, self.level, self.image = trials, maps, which, level, image
        self.rankings = [one.ranking(trials.size)[0].detach().double() for one in maps]
        self.whole = trials.whole.tolist()
        self.hidden = {fill: values.tolist() for fill, values in trials.hidden.items()}

    def untestable(self, i: int) -> Outcome | None:
        """Returns why a map cannot be tested, or None."""
        status, score = self.maps[i].status[0], self.which[i]
        if status != "ok":
            return status
        whole, hidden = self.whole[score], max(values[score] for values in self.hidden.values())
        if self.trials.probable[score]:
            return None if whole - hidden >= LEAST_RANGE else "improbable" if whole < 2 * LEAST_RANGE else "no_range"
        return None if whole - hidden >= LEAST_RANGE * abs(whole) and whole > hidden else "no_range"

    def measured(self, some: Sequence[int], setting: Setting) -> list[float]:
        """Returns the faithfulness of some maps under one setting."""
        if not some:
            return []
        values = self.trials.faithfulness(torch.stack([self.rankings[i] for i in some]), setting)
        return [float(values[row, self.which[i]]) for row, i in enumerate(some)]

    def margins(self, i: int) -> dict[str, tuple[float, float]]:
        """Returns the mean difference from each baseline with its standard error, paired over settings, within each fill."""
        own = torch.tensor([self.measured([i], setting)[0] for setting in JUDGING])
        found: dict[str, tuple[float, float]] = {}
        for name in BARS:
            known = [float(self.trials.baseline(name, setting)[self.which[i]]) for setting in JUDGING]
            found[name] = _paired(own - torch.tensor(known))
        return found

    def verdict(self, i: int, outcome: Outcome, value: float = math.nan, p: float = math.nan, null: Tensor | None = None,
                margins: dict[str, tuple[float, float]] | None = None) -> Verdict:  # fmt: skip
        one, score, tested = self.maps[i], self.which[i], null is not None
        known = {name: float(self.trials.baseline(name, JUDGING[0])[score]) if tested else math.nan for name in BARS}
        return Verdict(
            one.method, one.target[0], self.image, outcome, value, p, torch.empty(0) if null is None else null, **known,
            whole=self.whole[score], hidden={fill: values[score] for fill, values in self.hidden.items()},
            first=self.measured([i], ORDERING)[0] if tested else math.nan, margins=margins or {}, tried=len(self.maps),
            level=self.level, measures="probability" if self.trials.probable[score] else "score",
        )  # fmt: skip


BARS: tuple[Literal["edges", "centre"], ...] = ("edges", "centre")


def _paired(differences: Tensor) -> tuple[float, float]:
    """Returns mean and standard error of differences, one per setting of `JUDGING`; fills are fixed, grids are drawn."""
    groups: dict[str, list[float]] = {}
    for setting, value in zip(JUDGING, differences.tolist(), strict=True):
        groups.setdefault(setting.fill, []).append(value)
    within = sum(float(torch.tensor(some).var()) for some in groups.values()) / len(groups)
    return float(differences.mean()), math.sqrt(within / len(differences))


def _nulls(case: _Case, values: dict[int, float]) -> dict[int, Tensor]:
    """Returns the faithfulness of random maps that belong to each tested map; fewer where no map can stand up any more."""
    many = max(FEWEST, math.ceil(len(values) / (2 * case.level)))
    grids = {i: min(GRID, *case.maps[i].values.shape[-2:]) for i in values}
    for count in (FIRST, many):
        nulls = {i: case.trials.random(max(2, grids[i]), count)[:, case.which[i]] for i in values}
        hopeful = any(
            _hits(values[i], nulls[i]) + 1 <= 2 * (many + 1) * case.level / len(values) for i in values if values[i] > 0
        )
        if not hopeful:
            break
    return nulls


def _hits(value: float, null: Tensor) -> int:
    return int((null.abs() >= abs(value)).sum())


def _p_value(value: float, null: Tensor) -> float:
    """Returns the one-sided p-value of a value under a null that is symmetric around 0."""
    if math.isnan(value):
        return 1.0
    half = (1 + _hits(value, null)) / (2 * (1 + len(null)))
    return half if value > 0 else 1 - half


def _outcome(p: float, level: float, margins: dict[str, tuple[float, float]]) -> Outcome:
    if p > level:
        return "random"
    below: list[Outcome] = [name for name in BARS if not margins[name][0] > margins[name][1]]
    return below[0] if below else "stands"
