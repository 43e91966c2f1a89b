"""CAMs whose weights are scores: of the image seen through a channel, or of the network without it. No gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.methods import POSITIVE, attribution
from tapetum.border.sentences import PositiveLayer, Tolerance
from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import Masks, scores_under
from tapetum.engines.probe import activations
from tapetum.engines.resume import Tail, resume
from tapetum.engines.scores import ModelScore
from tapetum.engines.statistics import checks, jackknife, settled
from tapetum.types import Batch, Range


@attribution(cite="wang2020scorecam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def score_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: PositiveLayer,
    align_corners: bool = True,
    batch: Batch = "auto",
) -> Tensor:
    """Each channel weighed by the score of the image seen through it; no gradients.

    H_k = A_k upsampled to the image, scaled to [0, 1]; w = softmax over k of score(x * H_k); values = sum_k w_k A_k. A
    channel that is the same everywhere hides everything: all of those share one pass, which is exact (the reference library
    scales their rounding errors up to a mask).

    Args:
        align_corners: how A_k is upsampled; the reference library grad-cam: True, the authors' code: False.

    Example:
        >>> tp.score_cam(model, images)
    """
    maps = activations(score.model, images, layer)
    seen = score.model.laid_out(images)

    def weights(row: int) -> Tensor:
        through = _Channels(maps[row], images, align_corners)
        masks = Masks(len(through), lambda a, b: through.masks(list(range(a, b))))
        return through.spread(_channel_scores(score, seen[row : row + 1], masks, row, batch)).softmax(0)

    return _weighed(maps, weights)


@attribution(
    cite="wang2020sscam",
    reduce="positive",
    laws=("class_sensitive", "map_of_layer", "forward_only", "sampled", POSITIVE),
)
def ss_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: PositiveLayer,
    n_samples: Annotated[int, Range(1, 10_000)] = 35,
    sigma: Annotated[float, Range(0, 10)] = 2.0,
    tolerance: Tolerance = None,
    align_corners: bool = True,
    generator: torch.Generator,
    batch: Batch = "auto",
) -> tuple[Tensor, Tensor]:
    """Score-CAM with noise on the masks: weights that do not hang on the exact shape of a channel.

    w = softmax over k of the mean over samples of score(x * (H_k + e)), e ~ N(0, sigma^2) pixel by pixel, H_k as in
    `score_cam`; values = sum_k w_k A_k, (n, 1, h, w). All channels and images see the same noise, which estimates the same
    means with less chance in their differences; `stderr` is a jackknife over samples. n_samples times the passes of
    Score-CAM. torchcam scales before it upsamples, and draws noise of its own for each channel.

    Args:
        n_samples: noise images; the paper: 35.
        sigma: of the noise, where the mask runs from 0 to 1; the paper: 2.
        align_corners: how A_k is upsampled, as in `score_cam`.

    Example:
        >>> tp.ss_cam(model, images, n_samples=8, seed=1)
    """
    maps = activations(score.model, images, layer)
    seen = score.model.laid_out(images)
    noise = sigma * torch.randn(n_samples, 1, *images.shape[-2:], generator=generator, dtype=torch.float32).to(images)

    def estimate(row: int) -> tuple[Tensor, Tensor]:
        through = _Channels(maps[row], images, align_corners)
        table = maps.new_empty(0, len(through))  # (samples, channels)
        for start, stop in checks(n_samples, tolerance):
            masks = through.repeated(stop - start, lambda sample, mask, start=start: mask + noise[start + sample])
            scores = _channel_scores(score, seen[row : row + 1], masks, row, batch)
            table = torch.cat([table, scores.view(-1, len(through))])
            values, stderr = _of_means(through, table)
            if settled(values, stderr, tolerance):
                break
        return _of_means(through, table)

    found = [estimate(row) for row in range(len(images))]
    return torch.stack([values for values, _ in found]), torch.stack([stderr for _, stderr in found])


@attribution(cite="naidu2020iscam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def is_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: PositiveLayer,
    n_steps: Annotated[int, Range(1, 1000)] = 10,
    align_corners: bool = True,
    batch: Batch = "auto",
) -> Tensor:
    """Score-CAM with scores averaged while the mask opens: weights for a channel at every strength.

    w = softmax over k of the mean over i = 1..n_steps of score(x * H_k * i / n_steps), H_k as in `score_cam`; values =
    sum_k w_k A_k, (n, 1, h, w). With n_steps = 1 it is Score-CAM. torchcam adds the factors up (0.1, 0.3, 0.6 ... 5.5 for
    ten steps), which leaves the path between nothing and the masked image; ours end at it.

    Args:
        n_steps: points on the way; torchcam: 10.
        align_corners: how A_k is upsampled, as in `score_cam`.

    Example:
        >>> tp.is_cam(model, images, n_steps=4)
    """
    maps = activations(score.model, images, layer)
    seen = score.model.laid_out(images)

    def weights(row: int) -> Tensor:
        through = _Channels(maps[row], images, align_corners)
        masks = through.repeated(n_steps, lambda step, mask: mask * ((step + 1) / n_steps))
        scores = _channel_scores(score, seen[row : row + 1], masks, row, batch)
        return through.spread(scores.view(n_steps, -1).mean(0)).softmax(0)

    return _weighed(maps, weights)


@attribution(cite="desai2020ablationcam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def ablation_cam(score: ModelScore, images: Tensor, *, layer: PositiveLayer, batch: Batch = "auto") -> Tensor:
    """Each channel weighed by how much the score drops without it; no gradients.

    w_k = (y - y_k) / |y| with y_k the score when A_k is set to zero; values = sum_k w_k A_k. Only the network behind the
    layer is computed again for each channel. The paper divides by y, which turns the map around where the score is
    negative; for a positive score the two are the same.

    Example:
        >>> tp.ablation_cam(model, images)
    """
    maps = activations(score.model, images, layer)

    def weights(row: int) -> Tensor:
        tail = resume(score.take([row]), layer, images[row : row + 1])
        channels = torch.eye(maps.shape[1], dtype=maps.dtype, device=maps.device)[:, :, None, None]
        masks = Masks(maps.shape[1], lambda a, b: 1 - channels[a:b])
        whole = tail(tail.activation)
        return (whole - _channel_scores(tail, tail.activation, masks, 0, batch)) / whole.abs().clamp(min=1e-12)

    return _weighed(maps, weights)


def _weighed(maps: Tensor, weights: Callable[[int], Tensor]) -> Tensor:
    """sum_k w_k A_k for each image, (n, 1, h, w)."""
    return torch.stack([(weights(row)[:, None, None] * maps[row]).sum(0, keepdim=True) for row in range(len(maps))])


def _channel_scores(score: ModelScore | Tail, image: Tensor, masks: Masks, row: int, batch: Batch) -> Tensor:
    model = score.score.model if isinstance(score, Tail) else score.model
    stream = scores_under(
        score, image, masks, torch.zeros_like(image), batch=batch_size(model, batch), row=row, unit="channels"
    )
    return torch.cat([values for _, values in stream])


def _of_means(through: _Channels, table: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (samples, channels) to the map of softmax(mean), and its standard error by leaving one sample out."""
    n = len(table)
    without = (table.sum(0) - table) / max(1, n - 1)
    means = torch.cat([table.mean(0, keepdim=True), without])
    weights = through.spread(means).softmax(1)
    values = torch.einsum("nk,khw->nhw", weights, through.maps)[:, None]
    return values[0], jackknife(values[1:])


class _Channels:
    """The channels (c, h, w) of one image as masks; those that are the same everywhere share one, which hides everything."""

    def __init__(self, maps: Tensor, images: Tensor, align_corners: bool) -> None:
        self.maps, self.size, self.align_corners = maps, images.shape[-2:], align_corners
        constant = maps.amax((1, 2)) == maps.amin((1, 2))
        live = (~constant).nonzero()[:, 0]
        self.order = torch.cat([live, constant.nonzero()[:1, 0]])
        self.place = torch.full((len(maps),), len(live), device=maps.device)
        self.place[live] = torch.arange(len(live), device=maps.device)

    def __len__(self) -> int:
        return len(self.order)

    def masks(self, which: Sequence[int]) -> Tensor:
        """(m, 1, H, W): upsampled, then scaled to [0, 1]."""
        chosen = self.maps[self.order[list(which)], None]
        large = F.interpolate(chosen, self.size, mode="bilinear", align_corners=self.align_corners)
        low = large.amin((2, 3), keepdim=True)
        scaled = (large - low) / (large.amax((2, 3), keepdim=True) - low + 1e-8)
        return scaled * (chosen.amax((2, 3), keepdim=True) > chosen.amin((2, 3), keepdim=True))

    def repeated(self, times: int, change: Callable[[int, Tensor], Tensor]) -> Masks:
        """All masks `times` over, each as change(which time, mask (1, H, W))."""

        def make(start: int, stop: int) -> Tensor:
            jobs = [divmod(job, len(self)) for job in range(start, stop)]
            masks = self.masks([which for _, which in jobs])
            return torch.stack([change(time, mask) for (time, _), mask in zip(jobs, masks, strict=True)])

        return Masks(times * len(self), make)

    def spread(self, values: Tensor) -> Tensor:
        """Values of the masks (..., m) to the channels they stand for (..., c)."""
        return values[..., self.place]
