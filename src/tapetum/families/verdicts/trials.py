"""Trials: hides and shows parts of one image in the order of maps, and measures how the targets' scores change.

    L(top s)     level of the score with only the share s that a map ranks highest shown, the rest filled
    L(bottom s)  the same with the share s that it ranks lowest
    faithfulness = mean over s of L(top s) - L(bottom s), divided by L(whole image) - L(nothing shown)

A level is the log-odds of a probability, or the score itself where the target has none. Showing the bottom s is deleting the
rest first, so this is insertion - deletion in log-odds, as a share of the range. A map and its reverse have opposite values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import Cells, as_fill, descending, scores_under
from tapetum.engines.scores import ModelScore, Together
from tapetum.families.baselines import edges_of
from tapetum.models.vision_model import VisionModel
from tapetum.types import Evaluation
from tapetum.types.verdicts import Bar

CELLS = 14
"""Cells per side: 16 px at 224 px, about the finest detail of a CAM; hiding single pixels would act as adversarial noise."""

SHARES = (2 / 14, 4 / 14, 7 / 14, 11 / 14)
"""Shares of the image that are shown: with small ones a map must know the best places, with large ones the worst."""

EARLY = (1 / 14, 2 / 14)
"""Shares that are hidden for the curve of deletion alone, beside those that follow from `SHARES`."""

FILLS = ("blur", "zero")
"""What hidden parts are replaced by: one keeps tone and colour, one keeps nothing."""

LEAST = 0.01
"""Probabilities are clamped to LEAST and 1 - LEAST before their log-odds: else a fall from .001 to .0001, which nobody would
notice, would count as much as one from .5 to .09."""


@dataclass(frozen=True)
class Setting:
    """One way of hiding parts: the fill, and the shift of the grid in cells."""

    fill: str
    shift: tuple[float, float]


ORDERING = Setting("blur", (0.0, 0.0))
"""Setting by which maps are ordered and the best is chosen; no verdict is measured with it."""

JUDGING = tuple(Setting(fill, shift) for shift in ((0.5, 0.5), (0.5, 0.0), (0.0, 0.5)) for fill in FILLS)
"""Settings of verdicts. Random maps are tried with the first; comparisons with edges and centre are paired over all."""

FURTHER = tuple(Setting(fill, shift) for shift in ((0.25, 0.25), (0.75, 0.25), (0.25, 0.75)) for fill in FILLS)
"""More settings, for comparisons that are not clear after `JUDGING`."""

BARS: Mapping[str, Bar] = {"edges": "edges", "disc": "centre", "square": "centre"}
"""{map that a map is compared with beside random ones: what it stands for}: blobs in the middle have two outlines."""


class Trials:
    """One image on trial with its targets' scores; what does not depend on a map is measured once and kept.

    whole    (scores,) the scores of the image
    hidden   {fill: (scores,)} the scores with everything replaced
    """

    def __init__(self, model: VisionModel, image: Tensor, scores: Sequence[ModelScore], seed: int = 0) -> None:
        self.size, self.seed = size_of(image), seed
        self.probable = [one.is_probability for one in scores]
        self._score = Together(model, rows=scores[0].rows, scores=tuple(scores))
        self._image, self._batch = model.laid_out(image), batch_size(model, "auto")
        self._fills = {fill: model.laid_out(as_fill(model, image, fill)) for fill in FILLS}
        self._grids: dict[tuple[float, float], Cells] = {}
        self._random: dict[int, tuple[torch.Generator, Tensor]] = {}
        self._known: dict[tuple[str, Setting], Tensor] = {}
        self._seen: dict[tuple[Setting, bytes], Tensor] = {}
        everything = torch.ones(1, self.grid(ORDERING).count, dtype=torch.bool)
        self.whole = self._scores(everything, ORDERING)[0]
        self.hidden = {fill: self._scores(~everything, Setting(fill, (0.0, 0.0)))[0] for fill in FILLS}
        self._bars = torch.stack([edges_of(image)[0, 0].cpu().double(), *_blobs(self.size)])

    def grid(self, setting: Setting) -> Cells:
        if setting.shift not in self._grids:
            self._grids[setting.shift] = Cells.over(*self.size, CELLS, setting.shift)
        return self._grids[setting.shift]

    def faithfulness(self, maps: Tensor, setting: Setting) -> Tensor:
        """Returns the faithfulness (m, scores) of maps (m, h, w) that rank the pixels, under one setting."""
        return self._faithful(self.curves(maps, setting), setting)

    def _faithful(self, curves: Tensor, setting: Setting) -> Tensor:
        levels = self._levels(curves)
        top, bottom = levels[:, 0::2].mean(1), levels[:, 1::2].mean(1)
        span = self._levels(self.whole) - self._levels(self.hidden[setting.fill])
        return (top - bottom) / torch.where(span > 0, span, torch.nan)

    def curves(self, maps: Tensor, setting: Setting) -> Tensor:
        """Returns the scores (m, 2 * shares, scores): top and bottom of the first share, top and bottom of the second, ..."""
        grid = self.grid(setting)
        kept = torch.stack([one for ranking in grid.means(maps.cpu()) for one in _ends(ranking)])
        return self._scores(kept, setting).unflatten(0, (len(maps), -1))

    def evidence(self, ranking: Tensor, score: int) -> tuple[float, dict[str, Evaluation]]:
        """Returns the faithfulness of one map (h, w) under `ORDERING`, and its curves of deletion and insertion.

        Showing the lowest s is hiding the highest 1 - s; two more points are measured where little is hidden.
        """
        means = self.grid(ORDERING).means(ranking[None].cpu())[0]
        order = _order(means)
        few = [_only(order[max(1, round(share * len(order))) :], len(order)) for share in EARLY]
        values = self._scores(torch.stack([*_ends(means), *few]), ORDERING)
        values, early = values[None, : -len(EARLY)], values[-len(EARLY) :, score]
        tops, bottoms = values[0, 0::2, score], values[0, 1::2, score]
        whole, hidden = self.whole[score], self.hidden[ORDERING.fill][score]
        gone = {0.0: whole, **dict(zip(EARLY, early, strict=True)), 1.0: hidden}
        gone |= {1 - share: one for share, one in zip(SHARES, bottoms, strict=True)}
        shown = {0.0: hidden, **dict(zip(SHARES, tops, strict=True)), 1.0: whole}
        measures = "probability" if self.probable[score] else "score"
        curves = {"deletion": _curve("deletion", gone, measures), "insertion": _curve("insertion", shown, measures)}
        return float(self._faithful(values, ORDERING)[0, score]), curves

    def baseline(self, name: str, setting: Setting) -> Tensor:
        """Returns the faithfulness (scores,) of a map in `BARS`: the image's edges, a disc or a square in its middle."""
        if (name, setting) not in self._known:
            some = list(BARS) if setting in JUDGING else [name]  # these are all needed, and further ones one by one
            found = self.faithfulness(self._bars[[list(BARS).index(one) for one in some]], setting)
            self._known |= {(one, setting): values for one, values in zip(some, found, strict=True)}
        return self._known[name, setting]

    def random(self, cells: int, count: int) -> Tensor:
        """Returns the faithfulness (at least count, scores) of random maps of cells x cells values, upsampled bilinearly.

        The first maps are the same however many are asked for.
        """
        if cells not in self._random:
            nothing = torch.empty(0, len(self.probable), dtype=torch.float64, device=self.whole.device)
            self._random[cells] = (torch.Generator().manual_seed(1000 * self.seed + cells), nothing)
        generator, known = self._random[cells]
        if count > len(known):
            noise = torch.rand(count - len(known), 1, cells, cells, generator=generator)
            maps = F.interpolate(noise, self.size, mode="bilinear", align_corners=False)[:, 0]
            known = torch.cat([known, self.faithfulness(maps, JUDGING[0])])
            self._random[cells] = (generator, known)
        return known

    def _scores(self, kept: Tensor, setting: Setting) -> Tensor:
        """Returns the scores (m, scores) with the cells `kept` (m, cells) shown; equal ones are measured once."""
        keys = [(setting, row.numpy().tobytes()) for row in kept.cpu()]
        new = {key: i for i, key in enumerate(keys) if key not in self._seen}
        if new:
            masks = self.grid(setting).masks(kept[list(new.values())].to(self._image.device))
            stream = scores_under(self._score, self._image, masks, self._fills[setting.fill], batch=self._batch)
            found = torch.cat([values for _, values in stream]).double()
            self._seen.update(zip(new, found, strict=True))
        return torch.stack([self._seen[key] for key in keys])

    def _levels(self, scores: Tensor) -> Tensor:
        """Returns the levels of scores (..., scores): log-odds of probabilities, other scores unchanged."""
        odds = torch.logit(scores, eps=LEAST)
        return torch.where(torch.tensor(self.probable, device=scores.device), odds, scores)


def _ends(ranking: Tensor) -> list[Tensor]:
    """Returns for each share the cells (cells,) bool that are ranked highest, then those that are ranked lowest."""
    order, n = _order(ranking), ranking.numel()
    ends: list[Tensor] = []
    for share in SHARES:
        k = max(1, round(share * n))
        for some in (order[:k], order[n - k :]):
            ends.append(_only(some, n))
    return ends


def _order(means: Tensor) -> Tensor:
    """Returns the indices of cells, most important first; means that differ only by rounding are equal, on any processor."""
    scale = means.abs().max()
    return descending((means / scale).round(decimals=6) if bool(scale > 0) else means)


def _only(chosen: Tensor, n: int) -> Tensor:
    """Returns a mask (n,) bool that is True at the chosen indices."""
    return torch.zeros(n, dtype=torch.bool).scatter(0, chosen, True)


def _curve(name: Literal["deletion", "insertion"], points: Mapping[float, Tensor], measures: Any) -> Evaluation:
    """Returns a curve and the area under it from {share of the image changed: score}."""
    fraction = torch.tensor(sorted(points), dtype=torch.float64)
    curve = torch.stack([points[share] for share in sorted(points)])[None].cpu()
    better = "lower" if name == "deletion" else "higher"
    return Evaluation(name, torch.trapezoid(curve, fraction), curve, fraction, better, measures)


def _blobs(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Returns two maps (h, w) that fall off from the middle of the image, along ellipses and along rectangles."""
    down, across = (torch.linspace(-1, 1, side, dtype=torch.float64) if side > 1 else torch.zeros(1).double() for side in size)
    return -(down[:, None] ** 2 + across[None] ** 2), -torch.maximum(down[:, None].abs(), across[None].abs())
