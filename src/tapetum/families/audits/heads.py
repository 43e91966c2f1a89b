"""The last layer of a classifier as a linear map of features: found, checked, and changed on a copy."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tapetum.engines.scores import probabilities
from tapetum.families.audits.edits import Head, Seen
from tapetum.families.audits.pictures import BATCH
from tapetum.families.audits.swapping import Swapped
from tapetum.models.hooks import hooked
from tapetum.models.patches import copy_of
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import find_head
from tapetum.progress import report
from tapetum.types import ModelError

CLOSE = 1e-3
"""Largest difference between a network's answer and that of its last layer alone, as a share of the largest logit."""


def linear_head(model: VisionModel, swapped: Swapped) -> tuple[str, Head]:
    """Returns the name of the last layer and its rows for the data's classes; refuses a network that answers otherwise."""
    name = find_head(model)
    part = model.replica.get_submodule(name)
    features, table = features_of(model, name, swapped.pixels[:2, 0])
    weight, bias = _rows(part, list(swapped.outputs))
    logits = Head(*_rows(part, slice(None)))(features)
    said = probabilities(model, model.preprocessing.normalize(swapped.pixels[:2, 0]).to(model.device, model.dtype))
    assert said is not None, "checked before"
    if not bool((logits.softmax(1) - said.double().cpu()).abs().max() <= CLOSE) and not bool(
        (logits - table).abs().max() <= CLOSE * logits.abs().max()
    ):
        raise ModelError(
            f"{model.name}: its answer is not what its last layer {name} gives, so that layer cannot be edited alone"
        )
    return name, Head(weight, bias)


def _rows(part: nn.Module, rows: list[int] | slice) -> tuple[Tensor, Tensor]:
    assert isinstance(part, (nn.Linear, nn.Conv2d))
    weight = part.weight.detach()[rows].flatten(1).double().cpu()
    bias = torch.zeros(len(weight)).double() if part.bias is None else part.bias.detach()[rows].double().cpu()
    return weight, bias


def features_of(model: VisionModel, name: str, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """What the layer takes (n, d) and gives (n, K) for pictures (n, 3, h, w) in [0, 1], float64."""
    took: list[Tensor] = []
    gave: list[Tensor] = []

    def keep(_: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        took.append(inputs[0].detach().double().cpu().flatten(1))
        gave.append(output.detach().double().cpu().flatten(1))

    with hooked([(name, model.replica.get_submodule(name))], end=keep):
        for some in pixels.split(BATCH):
            model(model.preprocessing.normalize(some).to(model.device, model.dtype))
    if sum(map(len, took)) != len(pixels):
        raise ModelError(f"{model.name}: its last layer {name} runs more than once for a picture, so it cannot be edited alone")
    return torch.cat(took), torch.cat(gave)


def seen(model: VisionModel, name: str, swapped: Swapped) -> Seen:
    """Returns the features of all pictures of `swapped` before the layer `name`."""
    flat, found = swapped.pixels.flatten(0, 1), list[Tensor]()
    for some in flat.split(BATCH):
        found.append(features_of(model, name, some)[0])
        report(sum(map(len, found)), len(flat), "pictures")
    return Seen(torch.cat(found).unflatten(0, (-1, 3)), swapped.labels, swapped.cues, swapped.weight, swapped.own)


def with_rows(model: VisionModel, name: str, head: Head, outputs: tuple[int, ...]) -> VisionModel:
    """Returns a copy of the model with other rows of its last layer; a layer without a bias is refused one that is not 0."""
    twin = copy_of(model)
    part = twin.module.get_submodule(name)
    assert isinstance(part, (nn.Linear, nn.Conv2d))
    rows = torch.tensor(outputs)
    part.weight.data[rows] = head.weight.view(-1, *part.weight.shape[1:]).to(part.weight)
    if part.bias is not None:
        part.bias.data[rows] = head.bias.to(part.bias)
    return twin


def without_bias(model: VisionModel, name: str) -> bool:
    return getattr(model.module.get_submodule(name), "bias", None) is None
