"""CAMs whose weights are scores: of the image seen through a channel, or of the network without it. No gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.engines.batching import batch_size
from tapetum.engines.perturb import Masks, scores_under
from tapetum.engines.probe import activations
from tapetum.engines.resume import Tail, resume
from tapetum.engines.scores import ModelScore
from tapetum.families.border import POSITIVE, attribution
from tapetum.types import Batch


@attribution(cite="wang2020scorecam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def score_cam(
    score: ModelScore,
    images: Tensor,
    *,
    layer: str | None = None,
    align_corners: bool = True,
    batch: Batch = "auto",
) -> Tensor:
    """Each channel weighed by the score of the image seen through it; no gradients.

    H_k = A_k upsampled to the image, scaled to [0, 1]; w = softmax over k of score(x * H_k); values = sum_k w_k A_k.

    Args:
        layer: name or None: the last layer that mixes places (the choice is in `notes`).
        align_corners: how A_k is upsampled; the reference library grad-cam: True, the authors' code: False.
        batch: masked images a pass, or "auto".

    Example:
        >>> tp.score_cam(model, images)
    """
    maps = activations(score.model, images, layer or "")
    seen = score.model.laid_out(images)

    def weights(row: int) -> Tensor:
        masks = Masks(maps.shape[1], lambda a, b: _as_masks(maps[row, a:b], images, align_corners))
        return _channel_scores(score, seen[row : row + 1], masks, row, batch).softmax(0)

    return _weighed(maps, weights)


@attribution(cite="desai2020ablationcam", reduce="positive", laws=("class_sensitive", "map_of_layer", "forward_only", POSITIVE))
def ablation_cam(score: ModelScore, images: Tensor, *, layer: str | None = None, batch: Batch = "auto") -> Tensor:
    """Each channel weighed by how much the score drops without it; no gradients.

    w_k = (y - y_k) / |y| with y_k the score when A_k is set to zero; values = sum_k w_k A_k. Only the network behind the
    layer is computed again for each channel. The paper divides by y, which turns the map around where the score is
    negative; for a positive score the two are the same.

    Args:
        layer: name or None: the last layer that mixes places (the choice is in `notes`).
        batch: ablated activations a pass, or "auto".

    Example:
        >>> tp.ablation_cam(model, images)
    """
    maps = activations(score.model, images, layer or "")

    def weights(row: int) -> Tensor:
        tail = resume(score.take([row]), layer or "", images[row : row + 1])
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


def _as_masks(maps: Tensor, images: Tensor, align_corners: bool) -> Tensor:
    """Channels (m, h, w) to masks (m, 1, H, W): upsampled, then scaled to [0, 1]; a constant channel hides everything."""
    large = F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear", align_corners=align_corners)
    low = large.amin((2, 3), keepdim=True)
    return (large - low) / (large.amax((2, 3), keepdim=True) - low + 1e-8)
