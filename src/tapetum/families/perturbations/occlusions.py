"""Occlusion attributions: hide parts of the image one after another and measure the drop of the score."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import attribution
from tapetum.border.sentences import Fill, NumberOfSegments, Segments
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import scores, scores_under, windows
from tapetum.engines.perturb.games import Game, games
from tapetum.engines.scores import ModelScore
from tapetum.types import Batch, Range


@attribution(
    cite="zeiler2014deconvnet", reduce="sum", laws=("class_sensitive", "forward_only", "linear_exact", "dummy", "live")
)
def occlusion(
    score: ModelScore,
    images: Tensor,
    *,
    window: Annotated[int | None, Range(1, 10_000)] = None,
    stride: Annotated[int | None, Range(1, 10_000)] = None,
    fill: Fill,
    batch: Batch = "auto",
) -> Tensor:
    """Drop of the score when a square of the image is hidden.

    values (n, 1, h, w) = score(x) - score(x with the window filled), averaged over the windows that cover a pixel;
    signed, in units of the score: below zero, hiding the place helps.

    Args:
        window: side of the square in px; None: a seventh of the shorter side (32 px of 224).
        stride: step between squares in px; None: half the window.

    Example:
        >>> tp.occlusion(model, images, window=48, fill="blur")
    """
    height, width = images.shape[-2:]
    side = window or max(1, round(min(height, width) / 7))
    masks = windows(height, width, side, stride or max(1, side // 2), images)
    size = batch_size(score.model, batch)
    whole = scores(score, images, batch=size)

    def drops(row: int) -> Tensor:
        total, covered = images.new_zeros(1, height, width), images.new_zeros(1, height, width)

        def so_far() -> Tensor:
            return (total / covered.clamp(min=1))[None]  # 0 where nothing has been hidden yet

        one = slice(row, row + 1)
        for mask, hidden in scores_under(score, images[one], masks, fill[one], batch=size, row=row, so_far=so_far):
            outside = 1 - mask
            total += ((whole[row] - hidden)[:, None, None, None] * outside).sum(0)
            covered += outside.sum(0)
        return total / covered

    return torch.stack([drops(row) for row in range(len(images))])


@attribution(cite="ribeiro2016lime", reduce="sum", laws=("class_sensitive", "forward_only", "linear_exact", "dummy", "live"))
def feature_ablation(
    score: ModelScore,
    images: Tensor,
    *,
    segments: Segments,
    n_segments: NumberOfSegments = 50,
    fill: Fill,
    batch: Batch = "auto",
) -> Tensor:
    """Drop of the score when one segment of the picture is hidden.

    values (n, 1, h, w) = score(x) - score(x with the segment filled), the same for every pixel of a segment; signed, in
    units of the score: below zero, hiding the segment helps. captum's FeatureAblation with the segments as its feature mask.

    Example:
        >>> tp.feature_ablation(model, images, segments="grid", n_segments=16)
    """

    def drops(game: Game) -> Tensor:
        def drop(known: Tensor, values: Tensor) -> Tensor:
            each = values.new_zeros(game.players)
            each[known[1:] - 1] = values[0] - values[1:]
            return each

        present = torch.cat([torch.ones(1, game.players), 1 - torch.eye(game.players)])  # all, then each left out
        return game.paint(drop(torch.arange(len(present)), game(present, drop)))

    return torch.stack([drops(game) for game in games(score, images, segments, fill, batch)])
