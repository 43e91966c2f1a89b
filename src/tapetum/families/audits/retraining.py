"""Trains the last two layers of a copy of a model on pictures whose cues say nothing about their classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.families.audits.swapping import Swapped
from tapetum.models.patches import copy_of
from tapetum.models.randomizing import owners
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import logits_in
from tapetum.progress import report
from tapetum.types import ModelError

RETRAINED = "the last two layers with weights are trained again on pictures whose cues say nothing"

PASSES = 4
AT_ONCE = 32
STEP = 0.02
"""Length of Adam's steps, as a share of the root mean square of a tensor's weights."""


def layers_of(model: VisionModel) -> tuple[str, ...]:
    """Names of the last two layers that hold a matrix or kernels of weights, in the order in which they run."""
    parts = dict(model.module.named_modules())
    found = [name for name in owners(model) if any(one.ndim > 1 for one in parts[name].parameters(recurse=False))]
    if not found:
        raise ModelError(f"{model.name} holds no layer that could be trained")
    return tuple(found[-2:])


def retrained(model: VisionModel, about: Swapped, seed: int) -> VisionModel:
    """Returns a copy whose last two layers are trained by Adam: cross-entropy over pictures with moved cues and as they are."""
    twin = copy_of(model)
    twin.module.eval().requires_grad_(False)
    names = layers_of(model)
    weights = [one for name in names for one in twin.module.get_submodule(name).parameters(recurse=False)]
    for one in weights:
        one.requires_grad_(True)
    groups = [{"params": [one], "lr": STEP * float(one.square().mean().sqrt().clamp(min=1e-3))} for one in weights]
    optimizer = torch.optim.Adam(groups)
    pixels, labels, weight = _examples(about)
    outputs = torch.tensor(about.outputs)
    generator = torch.Generator().manual_seed(seed)
    done, total = 0, PASSES * len(pixels)
    with torch.enable_grad():
        for _ in range(PASSES):
            for rows in torch.randperm(len(pixels), generator=generator).split(AT_ONCE):
                images = twin.preprocessing.normalize(pixels[rows]).to(twin.device, twin.dtype)
                logits = _log_probabilities(twin, images)
                wrong = F.nll_loss(logits, outputs[labels[rows]].to(logits.device), reduction="none")
                optimizer.zero_grad()
                (wrong * weight[rows].to(wrong)).mean().backward()
                optimizer.step()
                done += len(rows)
                report(done, total, "pictures")
    for one, own in zip(twin.module.parameters(), model.module.parameters(), strict=True):
        one.requires_grad_(own.requires_grad)
        one.grad = None
    return twin


def _log_probabilities(twin: VisionModel, images: Tensor) -> Tensor:
    """Of the module itself, whose weights are trained; the replica that methods work on gives no gradients of weights."""
    output = twin.call(twin.module, images) if twin.call is not None else twin.module(images)

    logits = logits_in(output)
    if logits is None:
        raise ModelError(f"{twin.name} gives no table of logits, so its layers cannot be trained here")
    return logits.log_softmax(1)


def _examples(about: Swapped) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (3 n, 3, h, w), their labels and weights; pictures as they are count half."""
    fair = torch.stack([torch.full_like(about.weight, 0.5), torch.ones_like(about.weight), about.weight], 1)
    fair = fair / fair.sum(1, keepdim=True) * 3
    return about.pixels.flatten(0, 1), about.labels.repeat_interleave(3), fair.flatten()
