"""Scores of parts of an image: a box for a detector, a region for a segmentation network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou

from tapetum.data.preprocessing import size_of
from tapetum.engines.scores.base import TargetScore, index_name, one_each
from tapetum.engines.scores.outputs import Answer, Detections, answer, asked, detections, maps_of
from tapetum.engines.scores.readings import Reading
from tapetum.models.vision_model import VisionModel
from tapetum.types import Box, Region, Scale, TargetError


@dataclass(frozen=True, eq=False)
class BoxScore(TargetScore):
    """Score (n,) of a box: the largest IoU(box, d) * score(d) of all detections d with its label; 0 without detections.

    The gradient flows through the score and the corners of the detection with the largest product.
    """

    part: str | None = field(default="boxes", init=False)

    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""
        found = detections(output, self.model.name)
        one_each(self.targets, len(found))
        return torch.stack([_likeness(one, box) for one, box in zip(found, self.targets, strict=True)])

    @property
    def is_probability(self) -> bool:
        """Returns True, since the score of a detection is in [0, 1]."""
        return True

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(str(dataclasses.replace(box, label=index_name(self.model, box.label))) for box in self.targets)


def _likeness(found: Detections, box: Box) -> Tensor:
    same = found["labels"].eq(int(box.label))
    if not same.any():
        return (found["scores"] * 0).sum()  # zero, but with a graph to the images
    corners = torch.tensor([box.corners], dtype=found["boxes"].dtype, device=found["boxes"].device)
    return (box_iou(found["boxes"][same], corners)[:, 0] * found["scores"][same]).max()


def best_box(model: VisionModel, found: Detections, label: int | None = None) -> Box:
    """Returns the box of the most confident detection in one image, with the given label or with any."""
    boxes, labels, scores = (found[key].detach() for key in ("boxes", "labels", "scores"))
    if label is not None:
        boxes, labels, scores = (part[found["labels"] == label] for part in (boxes, labels, scores))
    if not len(scores):
        what = "anything" if label is None else index_name(model, label)
        raise TargetError(
            f"no detection of {what}: lower the score_thresh of {model.name}, or give a box and label that it finds"
        )
    best = int(scores.argmax())
    return Box(int(labels[best]), *boxes[best].tolist())


def seen_box(model: VisionModel, image: Tensor, box: Box) -> Box:
    """Completes a box without corners by the most confident detection in the image (1, c, h, w).

    Refuses a box that overlaps no detection of its label.
    """
    (found,) = detections(asked(model, image), model.name)
    assert isinstance(box.label, int)  # labels have been replaced by indices
    best = best_box(model, found, box.label)
    if box.corners is None:
        return best
    if _likeness(found, box) <= 0:
        name = index_name(model, box.label)
        raise TargetError(f"no detection of {name} overlaps the box; the surest is {dataclasses.replace(best, label=name)}")
    return box


@dataclass(frozen=True, eq=False)
class RegionScore(TargetScore):
    """Score (n,) of a region: the mean over the region of one class's logit, or on other scales of its (log) probability.

    If maps are smaller than the image, each cell is weighted by the share of its area that the region covers.
    """

    answer: Answer
    scale: Scale = "logit"
    part: str | None = field(default="regions", init=False)

    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""
        maps = maps_of(output, self.answer.head, self.model.name)
        one_each(self.targets, len(maps))
        of_class = self.answer.read.on(self.scale, maps)
        return torch.stack([_mean(of_class[row], region) for row, region in enumerate(self.targets)])

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(str(dataclasses.replace(one, label=index_name(self.model, one.label))) for one in self.targets)

    @property
    def is_probability(self) -> bool:
        """Checks whether the values of this score are probabilities; measurements such as depth never are."""
        return self.scale == "probability" and not self.answer.read.measured


def _mean(maps: Tensor, region: Region) -> Tensor:
    """Returns the mean over a region of the map of its class, from the maps (k, h, w) of one image."""
    assert isinstance(region.mask, Tensor)  # regions have been replaced by masks
    covered = region.mask.to(maps.device, maps.dtype)[None, None]
    weights = F.interpolate(covered, (int(maps.shape[1]), int(maps.shape[2])), mode="area")[0, 0]
    return (maps[int(region.label)] * weights).sum() / weights.sum()


def predicted_region(
    model: VisionModel, reading: Reading, maps: Tensor, size: tuple[int, int], label: int | None = None
) -> Region:
    """Returns the region in which the model predicts class `label` in one image, from the maps (k, h, w) of all classes.

    Without a label, takes the class with the largest region except the background. Labels that do not exclude each other are
    predicted where their probability is at least 0.5.
    """
    if reading.measured:
        raise TargetError(f"{model.name} gives maps of numbers, no classes: give a function of the output, or a tp.Unit")
    large = maps if maps.shape[-2:] == size else F.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]
    there = _there(reading, large)
    if label is None:
        label = _most_frequent(model, there)
    if not there[label].any():
        name = index_name(model, label)
        raise TargetError(f"{model.name} predicts {name} nowhere in the image: give the region, tp.Region({label}, mask)")
    return Region(label, there[label])


def _there(reading: Reading, numbers: Tensor) -> Tensor:
    """Returns masks (k, h, w) of where each class is predicted, from the maps of all classes."""
    if reading.exclusive and len(numbers) > 1:
        best = numbers.argmax(0)
        return torch.stack([best == one for one in range(len(numbers))])
    return numbers >= 0.5 if reading.numbers == "probabilities" else numbers > 0


def _most_frequent(model: VisionModel, there: Tensor) -> int:
    counts = there.flatten(1).sum(1)
    for index, name in enumerate((model.labels or ())[: len(there)]):
        if name in ("__background__", "background"):
            counts[index] = 0
    if not counts.any():
        raise TargetError(
            f"{model.name} predicts only background in the image: give a label and a region, tp.Region(label, mask)"
        )
    return int(counts.argmax())


def seen_region(model: VisionModel, image: Tensor, region: Region) -> Region:
    """Returns the region with a mask of the image's size, made from its corners or from the model's prediction."""
    size = size_of(image)
    if region.mask is None:
        assert isinstance(region.label, int)  # labels have been replaced by indices
        given = answer(model, image)
        maps = given.read.on("logit", maps_of(asked(model, image), given.head, model.name))[0]
        return predicted_region(model, given.read, maps, size, region.label)
    if isinstance(region.mask, Tensor):
        return region
    x1, y1, x2, y2 = (round(corner) for corner in region.mask)
    mask = torch.zeros(size, dtype=torch.bool, device=image.device)
    mask[max(y1, 0) : y2, max(x1, 0) : x2] = True
    return dataclasses.replace(region, mask=mask)


SLACK_PX = 0.5
"""Distance in px by which corners from a detector or a text may lie outside the image, because of rounding."""


def check_corners(corners: Sequence[int | float], size: tuple[int, int], *, whole_pixels: bool = False) -> None:
    """Refuses a rectangle that does not lie in an image of `size` (h, w), or with `whole_pixels` one that holds no pixel."""
    x1, y1, x2, y2 = corners
    shown = ", ".join(f"{corner:g}" for corner in corners)
    if not (-SLACK_PX <= x1 < x2 <= size[1] + SLACK_PX and -SLACK_PX <= y1 < y2 <= size[0] + SLACK_PX):
        raise TargetError(
            f"the box ({shown}) does not lie in the image of {size[1]} x {size[0]} px: x1, y1, x2, y2 count from its upper "
            "left corner, after preprocessing"
        )
    if whole_pixels and (round(x1) >= round(x2) or round(y1) >= round(y2)):
        raise TargetError(f"the region is empty: the box ({shown}) holds no pixel")


def check_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns the mask as bool (h, w); refuses a mask of another size, or an empty one."""
    mask = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    if tuple(mask.shape) != size:
        shape = " x ".join(map(str, mask.shape))
        raise TargetError(f"the region's mask is {shape}, the image {size[0]} x {size[1]} (h x w): give one of that size")
    if not mask.bool().any():
        raise TargetError("the region is empty: its mask has no pixel")
    return mask.bool()
