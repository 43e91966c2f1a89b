"""`judge`: tests maps against random maps, edges and a blob in the middle, corrected for all maps that were tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.engines.scores import as_probability
from tapetum.families.verdicts.trials import BARS, FURTHER, JUDGING, ORDERING, Setting, Trials
from tapetum.types import Attribution, ImagesLike, MethodError, ModelLike, Region
from tapetum.types.verdicts import LEAST_RANGE, Bar, Outcome, Verdict, Verdicts

GRID = 7
"""Values per side of random maps, or as many as a coarser map has. Finer random maps differ less, so they pass more rarely."""

RANDOM = 50
"""Random maps, 100 with their reverses."""

TINY = 1e-6
"""Difference that rounding may make between equal maps."""

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
    log-odds with nothing shown): insertion - deletion, about 1 for a perfect map, about 0 for random maps; probabilities are
    clamped to [0.01, 0.99]. `p_value` is the probability that a random map of 7 x 7 values (or of the map's own grid, if
    coarser) reaches it: (1 + random maps at least as far from 0) / (2 (1 + k)), k = 50, since a map and its reverse have
    opposite values, and beyond all of them by the tail of Student's t; corrected for all given maps by Holm's method. A map
    stands up if p <= level and if it exceeds the edges and the blobs (a disc and a square) by more than one standard error of
    the difference, paired over two fills and three grids, six where that is not clear. Nothing is tested, and the outcome says
    so, where hiding everything lowers the probability by less than 0.1, by blur or by zero. Of scores without a probability,
    levels are the scores, and the fall is relative.

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
            which = _targets([one.explains[row] for one in maps])
            scores = [as_probability(network, ready, maps[i].explains).take([row]) for i in dict.fromkeys(which)]
            trials = Trials(network, ready[row : row + 1], scores, seed)
            which = [list(dict.fromkeys(which)).index(i) for i in which]
            found += ask(trials, [one[row] for one in maps], which, level, image=row)
    return Verdicts(tuple(found), len(maps))


def _targets(explained: Sequence[Any]) -> list[int]:
    """Returns for each target the index of the first that equals it."""
    return [next(i for i, other in enumerate(explained) if _same(one, other)) for one in explained]


def _same(one: Any, other: Any) -> bool:
    """Whether two targets are equal; regions with masks are, if their masks are."""
    if (
        isinstance(one, Region)
        and isinstance(other, Region)
        and isinstance(one.mask, Tensor)
        and isinstance(other.mask, Tensor)
    ):
        return one.label == other.label and torch.equal(one.mask, other.mask)
    return one is other or (type(one) is type(other) and bool(one == other))


def ask(
    trials: Trials,
    maps: Sequence[Attribution],
    which: Sequence[int],
    level: float,
    *,
    image: int = 0,
    more: int = 0,
    first: Sequence[float] | None = None,
) -> list[Verdict]:
    """Returns the verdicts on maps of one image, each of the score `which` of the trials, corrected for all of them.

    more: number of further maps that were tried and given up; first: faithfulness under `ORDERING`, if it was measured before.
    """
    case = _Case(trials, maps, which, level, image, more, first)
    early: list[Outcome | None] = [case.untestable(i) for i in range(len(maps))]
    tested = [i for i, outcome in enumerate(early) if outcome is None]
    values = dict(zip(tested, case.measured(tested, JUDGING[0]), strict=True))
    nulls = _nulls(case, values)
    p_values = dict(zip(tested, holm([_p_value(values[i], nulls[i]) for i in tested], more), strict=True))
    margins = case.margins({i: values[i] for i in tested if p_values[i] <= level})
    found: list[Verdict] = []
    for i, outcome in enumerate(early):
        if outcome is not None:
            found.append(case.verdict(i, outcome))
            continue
        of, null = margins.get(i, {}), torch.cat([nulls[i], -nulls[i]])
        found.append(case.verdict(i, _outcome(p_values[i], level, of), values[i], p_values[i], null, of))
    return found


def holm(p_values: Sequence[float], more: int = 0) -> list[float]:
    """Returns p-values corrected by Holm's step-down method (holm1979simple): the k-th smallest of m times m - k + 1,
    made monotone.

    more: number of further tests whose p-values are unknown and count as the largest.
    """
    corrected, largest = [math.nan] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) + more - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


class _Case:
    """The maps of one image with their trials."""

    def __init__(
        self,
        trials: Trials,
        maps: Sequence[Attribution],
        which: Sequence[int],
        level: float,
        image: int,
        more: int,
        first: Sequence[float] | None,
    ) -> None:
        self.trials, self.maps, self.which, self.level, self.image = trials, maps, which, level, image
        self.tried, self.known = len(maps) + more, first
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

    def margins(self, values: Mapping[int, float]) -> dict[int, dict[Bar, tuple[float, float]]]:
        """Returns for some maps the mean difference from each baseline with its standard error, paired over settings.

        values: {map: its faithfulness under the first setting}. Maps that are not clearly above all, or clearly below one of
        them, are measured under more settings.
        """
        measured = {i: [value] for i, value in values.items()}
        found: dict[int, dict[Bar, tuple[float, float]]] = {}
        for settings in (JUDGING, FURTHER):
            rows = [i for i in measured if i not in found or not _clear(found[i])]
            for setting in settings[settings is JUDGING :]:
                for i, value in zip(rows, self.measured(rows, setting), strict=True):
                    measured[i].append(value)
            found |= {i: self._above(i, measured[i]) for i in rows}
        return found

    def _above(self, i: int, own: Sequence[float]) -> dict[Bar, tuple[float, float]]:
        """Returns the differences of one map's values, one per setting, from the hardest baseline of each kind.

        Baselines that the map is clearly above after `JUDGING` are not measured again.
        """
        found = dict[Bar, tuple[float, float]]()
        for name, bar in BARS.items():
            one = self._from(name, i, own[: len(JUDGING)])
            if len(own) > len(JUDGING) and not _is_above(one):
                one = self._from(name, i, own)
            found[bar] = min(found.get(bar, one), one, key=lambda pair: pair[0] - pair[1])
        return found

    def _from(self, name: str, i: int, own: Sequence[float]) -> tuple[float, float]:
        settings = (*JUDGING, *FURTHER)[: len(own)]
        known = [float(self.trials.baseline(name, setting)[self.which[i]]) for setting in settings]
        return _paired(settings, torch.tensor(own, dtype=torch.float64) - torch.tensor(known, dtype=torch.float64))

    def first(self, i: int) -> float:
        """Returns the faithfulness of a map under `ORDERING`, also where it cannot be judged; NaN for a broken map."""
        if self.maps[i].status[0] not in ("ok", "no_positive_evidence"):
            return math.nan
        return self.measured([i], ORDERING)[0] if self.known is None else self.known[i]

    def verdict(self, i: int, outcome: Outcome, value: float = math.nan, p: float = math.nan, null: Tensor | None = None,
                margins: Mapping[Bar, tuple[float, float]] | None = None) -> Verdict:  # fmt: skip
        one, score, tested = self.maps[i], self.which[i], null is not None
        bars = {name: float(self.trials.baseline(name, JUDGING[0])[score]) if tested else math.nan for name in BARS}
        known = {bar: max(bars[name] for name, of in BARS.items() if of == bar) for bar in BARS.values()}
        return Verdict(
            one.method, one.target[0], self.image, outcome, value, p, torch.empty(0) if null is None else null, **known,
            whole=self.whole[score], hidden={fill: values[score] for fill, values in self.hidden.items()},
            first=self.first(i), margins=dict(margins or {}), tried=self.tried, level=self.level,
            measures="probability" if self.trials.probable[score] else "score",
        )  # fmt: skip


CLEAR = 2.5
"""Standard errors that make a difference clear, so that no more settings are measured."""


def _is_above(pair: tuple[float, float]) -> bool:
    return pair[0] > CLEAR * pair[1]


def _clear(margins: Mapping[Bar, tuple[float, float]]) -> bool:
    return all(map(_is_above, margins.values())) or any(_is_above((-mean, error)) for mean, error in margins.values())


def _paired(settings: Sequence[Setting], differences: Tensor) -> tuple[float, float]:
    """Returns mean and standard error of differences, one per setting; fills are fixed, grids are drawn."""
    groups: dict[str, list[float]] = {}
    for setting, value in zip(settings, differences.tolist(), strict=True):
        groups.setdefault(setting.fill, []).append(value)
    within = sum(float(torch.tensor(some).var()) for some in groups.values()) / len(groups)
    return float(differences.mean()), math.sqrt(within / len(differences))


def _nulls(case: _Case, values: dict[int, float]) -> dict[int, Tensor]:
    """Returns the faithfulness of random maps that belong to each tested map; fewer where no map can stand up any more."""
    tried = case.tried - len(case.maps) + len(values)
    grids = {i: max(2, min(GRID, *case.maps[i].values.shape[-2:])) for i in values}
    nulls: dict[int, Tensor] = {}
    for count in (FIRST, RANDOM):
        nulls = {i: case.trials.random(grids[i], count)[:, case.which[i]] for i in values}
        if not any(_hopeful(values[i], nulls[i], case.level / tried) for i in values):
            break
    return nulls


def _hopeful(value: float, null: Tensor, level: float) -> bool:
    """Whether a map may still reach the level, uncorrected, if no further random map exceeds it."""
    hits = _hits(value, null)
    return value > 0 and (hits == 0 or hits + 1 <= 2 * (RANDOM + 1) * level)


def _hits(value: float, null: Tensor) -> int:
    return int((null.abs() >= abs(value)).sum())


def _p_value(value: float, null: Tensor) -> float:
    """Returns the one-sided p-value of a value under a null that is symmetric around 0.

    Beyond all random maps, the tail of Student's t is followed, with their root mean square for a scale. Random maps had
    lighter tails than a normal variable on the photographs on which the method was chosen (kurtosis 2.4; normal: 3).
    """
    if math.isnan(value):
        return 1.0
    half = (1 + _hits(value, null)) / (2 * (1 + len(null)))
    if _hits(value, null) == 0:
        half = min(half, _tail(abs(value) / float(null.pow(2).mean().sqrt()), len(null)))
    return half if value > 0 else 1 - half


def _tail(t: float, freedom: int) -> float:
    """Returns the probability that Student's t exceeds t > 0 (Wallace's transformation to a normal deviate)."""
    z = (8 * freedom + 1) / (8 * freedom + 3) * math.sqrt(freedom * math.log1p(t * t / freedom))
    return 0.5 * math.erfc(z / math.sqrt(2))


def _outcome(p: float, level: float, margins: Mapping[Bar, tuple[float, float]]) -> Outcome:
    if p > level:
        return "random"
    below: list[Outcome] = [bar for bar, (difference, error) in margins.items() if not difference > error + TINY]
    return below[0] if below else "stands"
