"""`wrap`: any `nn.Module` becomes a `VisionModel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from torch import nn

from tapetum.data.labels import labels_for
from tapetum.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing, as_pair
from tapetum.models.extra import checked_extra
from tapetum.models.unwrapping import unwrapped
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.dense import detector_preprocessing, normalises_itself
from tapetum.models.zoo.families import timm_preprocessing
from tapetum.types import ModelError


def wrap(
    module: nn.Module,
    *,
    size: int | Sequence[int] | str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    labels: Sequence[str] | None = None,
    resize: int | Literal["crop", "squash"] | None = None,
    interpolation: Interpolation = "bilinear",
    name: str | None = None,
    call: Callable[..., Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> VisionModel:
    """A `VisionModel` around your module, which itself is never changed.

    A timm network brings its own preprocessing, and torchvision's detectors normalise images themselves. Otherwise size is
    224, and mean and std are ImageNet's for three channels; say what your model was trained with, since the wrong constants
    cost accuracy without a word.

    Args:
        module: any module that takes images (n, c, h, w).
        size: of the input in px: the side of a square, (height, width), or "64x128".
        mean, std: per channel, in units of pixels in [0, 1].
        labels: class names in the order of the logits.
        resize: what happens before the central cut. "crop" (None means the same): large pictures are resized to 8/7 of
            `size` (256 for 224), small ones are enlarged no more than it takes, and one of exactly `size` passes unchanged;
            "squash": the whole picture is made that size, nothing is cut; a number: the shorter side in px.
        interpolation: of that resizing.
        name: for captions; None: the class's name.
        call: how to run it where `module(images)` is not enough, `lambda module, images: module(images, metadata)`. It
            gets a private copy of the module and images of any number, which differ from those it was made for where a
            method hides or repeats some: whatever it adds must fit every image.
        extra: further inputs beside the images, `{"age": ages}`: rows (n, ...), one per image that is explained, or one for
            all. The network gets them by keyword, `module(images, age=...)`, or `call(module, images, age=...)`; a method
            that hides, repeats or splits images does the same with their rows.
    """
    if not isinstance(module, nn.Module):
        raise ModelError(f"wrap takes a torch.nn.Module, not {type(module).__name__}")
    module = unwrapped(module)
    preprocessing = _preprocessing(module, size, mean, std, resize, interpolation)
    labels = labels or _timm_labels(module)
    return VisionModel(module, name or type(module).__name__, preprocessing, labels, call=call, extra=checked_extra(extra))


def _preprocessing(
    module: nn.Module,
    size: int | Sequence[int] | str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    resize: int | Literal["crop", "squash"] | None,
    interpolation: Interpolation,
) -> Preprocessing:
    if normalises_itself(module) and (mean, std) == (None, None):
        own = detector_preprocessing(module)
        return own if size is None else replace(own, size=as_pair(size), resize=resize or min(as_pair(size)))
    if hasattr(module, "pretrained_cfg") and (size, mean, std) == (None, None, None):
        return timm_preprocessing(module)
    pair = as_pair(224 if size is None else size)
    channels = _input_channels(module) if mean is None else len(mean)
    imagenet = channels == 3
    means = tuple(mean) if mean is not None else IMAGENET_MEAN if imagenet else (0.0,) * channels
    stds = tuple(std) if std is not None else IMAGENET_STD if imagenet and mean is None else (1.0,) * channels
    if len(means) != len(stds):
        raise ModelError(f"mean has {len(means)} numbers and std {len(stds)}: one per channel each")
    return Preprocessing(pair, resize or "crop", interpolation, means, stds)


def _input_channels(module: nn.Module) -> int:
    """Of the first convolution, else three."""
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    return 3 if first is None else first.in_channels


def _timm_labels(module: nn.Module) -> Sequence[str] | None:
    return labels_for(getattr(module, "num_classes", 0)) if hasattr(module, "pretrained_cfg") else None
