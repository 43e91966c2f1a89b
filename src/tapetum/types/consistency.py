"""Channels that are active in all of several images, or in one of them alone."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import Result


@dataclass(frozen=True, eq=False)
class ConsistentChannels(Result):
    """The channels of one layer compared over n images.

    activations   (n, c) the mean of each channel's map in each image
    percentiles   (n, c) in [0, 1]: the share of the image's other channels with a lower mean, equal means count half
    consistency   (c,) in [0, 1]: the lowest of a channel's percentiles
    specificity   (c,): how far its best image is ahead of the second best, in standard deviations of the image's channels
    best          (c,) the image in which the channel stands out most
    consistent    (k,) the channels with the highest consistency, best first
    specific      (k,) those with the highest specificity, best first
    maps          (n, 2 k, h, w) the maps of `consistent`, then those of `specific`
    photographs   (n, 3, H, W) in [0, 1], as the model saw them
    """

    layer: str
    activations: Tensor
    percentiles: Tensor
    consistency: Tensor
    specificity: Tensor
    best: Tensor
    consistent: Tensor
    specific: Tensor
    maps: Tensor
    photographs: Tensor
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Returns a table: channel, consistency, specificity, and the channel's mean activation in each image."""
        n = len(self.activations)
        head = f"{'channel':>7}  {'consistency':>11}  {'specificity':>11}  {'best':>4}  "
        head += "  ".join(f"{f'image {i + 1}':>9}" for i in range(n))
        parts = [f"{self.layer}: {self.activations.shape[1]} channels, {n} images; mean activation of each", head]
        for title, channels in (("in all images", self.consistent), ("in one image", self.specific)):
            parts += [f"-- {title}", *(self._row(channel) for channel in listed(channels))]
        return "\n".join([*parts, *self.notes])

    def _row(self, channel: int) -> str:
        numbers = "  ".join(f"{value:>9.3g}" for value in listed(self.activations[:, channel]))
        head = f"{channel:>7}  {float(self.consistency[channel]):>11.2f}  {float(self.specificity[channel]):>11.2f}"
        return f"{head}  {int(self.best[channel]) + 1:>4}  {numbers}"
