"""CAMs without gradients: a channel's weight is the score of the image seen through it, or the loss of score without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.layers import POSITIVE
from tapetum.border.methods import attribution
from tapetum.border.sentences import PositiveLayer, Tolerance
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import Masks, scores_under
from tapetum.engines.probe import activations
from tapetum.engines.resume import Tail, resume
from tapetum.engines.scores import ModelScore
from tapetum.engines.statistics import checks, jackknife, settled, stacked
from tapetum.types import Batch, Range

AlignCorners: TypeAlias = Annotated[
    bool, "alignment of corners where A_k is upsampled; the reference library grad-cam: True, Score-CAM's own code: False."
]


@attribution(cite="wang2020scorecam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def score_cam(
    score: ModelScore, images: Tensor, *, layer: PositiveLayer, align_corners: AlignCorners = True, batch: Batch = "auto"
) -> Tensor:
    """Each channel weighted by the score of the image seen through it; no gradients.

    H_k = A_k upsampled to the image, scaled to [0, 1]; w = softmax over k of score(x * H_k); values = sum_k w_k A_k. The
    mask of a channel that is the same everywhere hides everything: all such channels share one pass, which is exact (the
    reference library scales their rounding errors up to a mask).

    Example:
        >>> tp.score_cam(model, images)
    """
    channels = _channels(score, images, layer, align_corners, batch)
    return torch.stack([one.weighed(one.scores(1, lambda _, mask: mask)[0]) for one in channels])


@attribution(
    cite="wang2020sscam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", "sampled", POSITIVE)
)
def ss_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: PositiveLayer,
    n_samples: Annotated[int, Range(1, 10_000)] = 35,
    sigma: Annotated[float, Range(0, 10)] = 2.0,
    tolerance: Tolerance = None,
    align_corners: AlignCorners = True,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """Score-CAM with noise on the masks: weights that depend less on the exact shape of a channel.

    w = softmax over k of the mean over samples of score(x * (H_k + e)), e ~ N(0, sigma^2) pixel by pixel, H_k as in
    `score_cam`; values = sum_k w_k A_k, (n, 1, h, w). All channels and images see the same noise: the means are the same, and
    their differences vary less. `stderr` is a jackknife over samples. It takes n_samples times the passes of Score-CAM.
    torchcam scales before it upsamples, and draws separate noise for each channel.

    Args:
        n_samples: noise images; the paper: 35.
        sigma: standard deviation of the noise; masks run from 0 to 1; the paper: 2.

    Example:
        >>> tp.ss_cam(model, images, n_samples=8, seed=1)
    """
    noise = sigma * torch.randn(n_samples, 1, *images.shape[-2:], generator=generator, dtype=torch.float32).to(images)

    def estimate(one: _Channels) -> tuple[Tensor, Tensor]:
        table = one.maps.new_empty(0, len(one))  # (samples, masks)
        for start, stop in checks(n_samples, tolerance):
            scores = one.scores(stop - start, lambda sample, mask, start=start: mask + noise[start + sample])
            table = torch.cat([table, scores])
            if settled(*_of_means(one, table), tolerance):
                break
        return _of_means(one, table)

    return stacked(estimate(one) for one in _channels(score, images, layer, align_corners, batch))


@attribution(cite="naidu2020iscam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def is_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: PositiveLayer,
    n_steps: Annotated[int, Range(1, 1000)] = 10,
    align_corners: AlignCorners = True,
    batch: Batch = "auto",
) -> Tensor:
    """Score-CAM with scores averaged while the mask opens: a channel's weight counts all strengths of its mask.

    w = softmax over k of the mean over i = 1..n_steps of score(x * H_k * i / n_steps), H_k as in `score_cam`; values =
    sum_k w_k A_k, (n, 1, h, w). With n_steps = 1 it is Score-CAM. torchcam adds the factors up (0.1, 0.3, 0.6 ... 5.5 for
    ten steps), which leaves the path between nothing and the masked image; ours end at it.

    Args:
        n_steps: strengths of the mask; torchcam: 10.

    Example:
        >>> tp.is_cam(model, images, n_steps=4)
    """
    channels = _channels(score, images, layer, align_corners, batch)
    return torch.stack([
        one.weighed(one.scores(n_steps, lambda step, mask: mask * ((step + 1) / n_steps)).mean(0)) for one in channels
    ])  # fmt: skip


@attribution(cite="desai2020ablationcam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def ablation_cam(score: ModelScore, images: Tensor, *, layer: PositiveLayer, batch: Batch = "auto") -> Tensor:
    """Each channel weighted by how much the score drops without it; no gradients.

    w_k = (y - y_k) / |y| with y_k the score when A_k is set to zero; values = sum_k w_k A_k. Only the network after the
    layer is computed again for each channel. The paper divides by y, which turns the map around where the score is
    negative; for a positive score the two are the same.

    Example:
        >>> tp.ablation_cam(model, images)
    """
    maps = activations(score.model, images, layer)

    def weighed(row: int) -> Tensor:
        tail = resume(score.take([row]), layer, images[row : row + 1])
        channels = torch.eye(maps.shape[1], dtype=maps.dtype, device=maps.device)[:, :, None, None]
        masks = Masks(maps.shape[1], lambda a, b: 1 - channels[a:b])
        whole = tail(tail.activation)
        drops = whole - _scores(tail, tail.activation, masks, 0, batch_size(score.model, batch))
        return ((drops / whole.abs().clamp(min=1e-12))[:, None, None] * maps[row]).sum(0, keepdim=True)

    return torch.stack([weighed(row) for row in range(len(images))])


def _scores(score: ModelScore | Tail, image: Tensor, masks: Masks, row: int, batch: int) -> Tensor:
    """Returns the scores (m,) of one image (or activation) times each mask: hidden values become 0."""
    stream = scores_under(score, image, masks, torch.zeros_like(image), batch=batch, row=row, unit="channels")
    return torch.cat([values for _, values in stream])


def _of_means(channels: _Channels, table: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the map weighted by mean scores, and its jackknife standard error, from scores (samples, masks)."""
    n = len(table)
    without = (table.sum(0) - table) / max(1, n - 1)
    means = torch.cat([table.mean(0, keepdim=True), without])
    weights = means[:, channels.place].softmax(1)
    values = torch.einsum("nk,khw->nhw", weights, channels.maps)[:, None]
    return values[0], jackknife(values[1:])


def _channels(score: ModelScore, images: Tensor, layer: str, align_corners: bool, batch: Batch) -> list[_Channels]:
    """Returns the channels of a layer as masks, one `_Channels` per image."""
    maps, seen = activations(score.model, images, layer), score.model.laid_out(images)
    size = batch_size(score.model, batch)
    return [_Channels(score, seen[row : row + 1], row, one, align_corners, size) for row, one in enumerate(maps)]


@dataclass(eq=False)
class _Channels:
    """The channels (c, h, w) of one image as masks; constant channels share one mask, which hides everything.

    order  (m,) index of the channel that each mask is made from
    place  (c,) index of the mask of each channel
    """

    score: ModelScore
    image: Tensor
    row: int
    maps: Tensor
    align_corners: bool
    batch: int

    def __post_init__(self) -> None:
        constant = self.maps.amax((1, 2)) == self.maps.amin((1, 2))
        live = (~constant).nonzero()[:, 0]
        self.order = torch.cat([live, constant.nonzero()[:1, 0]])
        self.place = torch.full((len(self.maps),), len(live), device=self.maps.device)
        self.place[live] = torch.arange(len(live), device=self.maps.device)

    def __len__(self) -> int:
        return len(self.order)

    def masks(self, which: Sequence[int]) -> Tensor:
        """Returns the masks of the given indices, (m, 1, H, W): channels upsampled to the image, then scaled to [0, 1]."""
        chosen = self.maps[self.order[list(which)], None]
        large = F.interpolate(chosen, self.image.shape[-2:], mode="bilinear", align_corners=self.align_corners)
        low = large.amin((2, 3), keepdim=True)
        scaled = (large - low) / (large.amax((2, 3), keepdim=True) - low + 1e-8)
        return scaled * (chosen.amax((2, 3), keepdim=True) > chosen.amin((2, 3), keepdim=True))

    def scores(self, times: int, change: Callable[[int, Tensor], Tensor]) -> Tensor:
        """Returns scores (times, masks) of the image under each mask, changed `times` times by change(repetition, mask)."""

        def make(start: int, stop: int) -> Tensor:
            jobs = [divmod(job, len(self)) for job in range(start, stop)]
            masks = self.masks([which for _, which in jobs])
            return torch.stack([change(time, mask) for (time, _), mask in zip(jobs, masks, strict=True)])

        masks = Masks(times * len(self), make)
        return _scores(self.score, self.image, masks, self.row, self.batch).view(times, len(self))

    def weighed(self, scores: Tensor) -> Tensor:
        """Returns the map sum_k w_k A_k, (1, h, w), w the softmax over channels of the scores (m,) of the masks."""
        weights = scores[self.place].softmax(0)
        return (weights[:, None, None] * self.maps).sum(0, keepdim=True)
