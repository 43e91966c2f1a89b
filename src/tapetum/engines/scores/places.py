"""Scores of places: a box of a detector, a region of a segmentation network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
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
    """Score of a box: max over the detections d of its label of IoU(box, d) * score(d); 0 without detections (n,).

    The gradient is that of the best detection, through its score and its corners.
    """

    def read(self, output: Any) -> Tensor:
        """Reads the model's output as (n,)."""
        found = detections(output, self.model.name)
        one_each(self.targets, len(found))
        return torch.stack([_likeness(one, box) for one, box in zip(found, self.targets, strict=True)])

    @property
    def is_probability(self) -> bool:
        """True: a detection's score is in [0, 1]."""
        return True

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(str(dataclasses.replace(box, label=index_name(self.model, box.label))) for box in self.targets)


def _likeness(found: Detections, box: Box) -> Tensor:
    same = found["labels"].eq(int(box.label))
    if not same.any():
        return (found["scores"] * 0).sum()  # zero, and still of the graph
    corners = torch.tensor([box.corners], dtype=found["boxes"].dtype, device=found["boxes"].device)
    return (box_iou(found["boxes"][same], corners)[:, 0] * found["scores"][same]).max()


def best_box(model: VisionModel, found: Detections, label: int | None = None) -> Box:
    """Box of the surest detection in one image, of that label or of any."""
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
    """Completes the corners of a box; refuses one unlike any detection in the image (1, c, h, w)."""
    (found,) = detections(asked(model, image), model.name)
    assert isinstance(box.label, int)  # labels are indices by now
    best = best_box(model, found, box.label)
    if box.corners is None:
        return best
    if _likeness(found, box) <= 0:
        name = index_name(model, box.label)
        raise TargetError(f"no detection of {name} overlaps the box; the surest is {dataclasses.replace(best, label=name)}")
    return box


@dataclass(frozen=True, eq=False)
class RegionScore(TargetScore):
    """Score of a region: the mean over it of one class's logit, or on other scales of its (log) probability (n,).

    If maps are smaller than the image, a cell counts by the share of it that the region covers.
    """

    answer: Answer
    scale: Scale = "logit"

    def read(self, output: Any) -> Tensor:
        """Reads the model's output as (n,)."""
        maps = maps_of(output, self.answer.head, self.model.name)
        one_each(self.targets, len(maps))
        of_class = self.answer.read.on(self.scale, maps)
        return torch.stack([_mean(of_class[row], region) for row, region in enumerate(self.targets)])

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(str(dataclasses.replace(one, label=index_name(self.model, one.label))) for one in self.targets)

    @property
    def is_probability(self) -> bool:
        """Whether its values are probabilities; numbers such as depths never are."""
        return self.scale == "probability" and not self.answer.read.measured


def _mean(maps: Tensor, region: Region) -> Tensor:
    """Score of one image's maps (k, h, w)."""
    assert isinstance(region.mask, Tensor)  # regions are masks by now
    covered = region.mask.to(maps.device, maps.dtype)[None, None]
    weights = F.interpolate(covered, (int(maps.shape[1]), int(maps.shape[2])), mode="area")[0, 0]
    return (maps[int(region.label)] * weights).sum() / weights.sum()


def predicted_region(
    model: VisionModel, reading: Reading, maps: Tensor, size: tuple[int, int], label: int | None = None
) -> Region:
    """Region in which the model predicts a class in one image: maps (k, h, w) of all classes; None: the largest class except
    the background. Independent labels are predicted where their probability is at least one half."""
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
    """Masks (k, h, w) of the places where each class is predicted, from the numbers of all classes."""
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
    """Completes the mask of a region, at the image's size."""
    size = size_of(image)
    if region.mask is None:
        assert isinstance(region.label, int)  # labels are indices by now
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
"""Corners from a detector or a text may lie outside the image by rounding."""


def check_corners(corners: Sequence[int | float], size: tuple[int, int], *, whole_pixels: bool = False) -> None:
    """Refuses a rectangle that does not lie in an image of (h, w), or (of whole pixels) holds none."""
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
    """Returns the mask as bool (h, w); refuses one of another size, or without a pixel."""
    mask = mask[0] if mask.ndim == 3 and len(mask) == 1 else mask
    if tuple(mask.shape) != size:
        shape = " x ".join(map(str, mask.shape))
        raise TargetError(f"the region's mask is {shape}, the image {size[0]} x {size[1]} (h x w): give one of that size")
    if not mask.bool().any():
        raise TargetError("the region is empty: its mask has no pixel")
    return mask.bool()
