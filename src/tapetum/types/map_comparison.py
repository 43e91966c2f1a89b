"""Several maps of one prediction with their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Literal

import torch
from torch import Tensor

from tapetum.types.attributions import Attribution
from tapetum.types.checks import listed
from tapetum.types.results import PARTS, Result
from tapetum.types.text import table
from tapetum.types.verdicts import SHORT, Verdicts


@dataclass(frozen=True, eq=False)
class MapComparison(Result):
    """m maps of the same n images and targets, with their curves of deletion and insertion, and their agreement.

    maps         the maps; the last `n_baselines` are baselines, which know nothing of the model's decision
    deletion     (m, n, steps + 1) the target's probability while places are hidden, most important first
    insertion    (m, n, steps + 1) the same while places are shown
    fraction     (steps + 1,) the share of the picture changed so far
    agreement    (m, m) the share of the top fifth of the picture that two maps have in common, mean over images; chance: 0.2
    photographs  (n, 3, H, W) in [0, 1] as the model saw them
    measures     "score" where the target has no probability: curves are in its own units
    verdicts     on the maps that are no baselines, those of the first image first
    """

    maps: tuple[Attribution, ...] = field(metadata=PARTS)
    deletion: Tensor
    insertion: Tensor
    fraction: Tensor
    agreement: Tensor
    photographs: Tensor
    n_baselines: int
    measures: Literal["probability", "score"] = "probability"
    notes: tuple[str, ...] = ()
    verdicts: Verdicts = field(default_factory=lambda: Verdicts(()))

    @property
    def names(self) -> tuple[str, ...]:
        """One name per map: its method, with the layer or a number where two share a method."""
        return names_of_maps(self.maps)

    @property
    def areas(self) -> dict[str, Tensor]:
        """Areas under the curves by the trapezoidal rule: {"deletion": (m, n), "insertion": (m, n)}."""
        return {name: torch.trapezoid(getattr(self, name), self.fraction) for name in ("deletion", "insertion")}

    @property
    def faithfulness(self) -> Tensor:
        """Faithfulness of each map (m,), by which maps are ordered, mean over images; NaN for the baselines."""
        known = torch.tensor([one.first for one in self.verdicts.each], dtype=torch.float64).view(-1, self.verdicts.maps)
        return torch.cat([known.nanmean(0), known.new_full((self.n_baselines,), torch.nan)])

    def standing(self, i: int) -> str:
        """Verdict on map i in words: for one image its outcome, for several how many of them it stands up on."""
        if i >= len(self.maps) - self.n_baselines:
            return "baseline"
        verdicts = [self.verdicts.of(image, i) for image in range(len(self.photographs))]
        if len(verdicts) == 1:
            return SHORT[verdicts[0].outcome]
        return f"stands up on {sum(one.stands for one in verdicts)} of {len(verdicts)}"

    def __str__(self) -> str:
        n = self.deletion.shape[1]
        head = ["map", "insertion", "deletion", "faithfulness", "verdict", "status"]
        order = listed(self.faithfulness.nan_to_num(nan=-9).argsort(descending=True, stable=True))
        what = f"of the {self.measures} of {self.maps[0].target[0]}" if n == 1 else f"means over {n} images"
        return f"areas under the curves, {what}; chance agreement of two maps is 0.2\n{table(head, map(self._row, order))}"

    def _row(self, i: int) -> list[str]:
        areas = [f"{float(self.areas[name][i].mean()):.3f}" for name in ("insertion", "deletion")]
        status, value = ", ".join(dict.fromkeys(self.maps[i].status)), float(self.faithfulness[i])
        return [self.names[i], *areas, "" if isnan(value) else f"{value:+.3f}", self.standing(i), status]


def names_of_maps(maps: Sequence[Attribution]) -> tuple[str, ...]:
    """Names that tell maps apart: the method, with layer and target where those differ, or else with a number."""
    layers = {method: {one.layer for one in maps if one.method == method} for method in (one.method for one in maps)}
    many_targets = len({one.target for one in maps}) > 1
    plain: list[str] = []
    for one in maps:
        layer = f" {one.layer}" if len(layers[one.method]) > 1 else ""
        plain.append(f"{one.method}{layer}" + (f"\n{one.target[0]}" if many_targets else ""))
    return tuple(f"{name} {plain[:i].count(name) + 1}" if plain.count(name) > 1 else name for i, name in enumerate(plain))
