"""Finds the last layer (head) of a classifier by running the network, and replaces it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tapetum.files import shown
from tapetum.models.hooks import hooked
from tapetum.models.vision_model import VisionModel
from tapetum.types import ModelError
from tapetum.types.text import as_text


def find_head(model: VisionModel) -> str:
    """Returns the name of the last linear layer or 1x1 convolution that runs and gives one value per class."""
    ran: list[str] = []
    candidates = [(name, part) for name, part in model.replica.named_modules() if _width(part) is not None]
    with hooked(candidates, end=lambda name, *_: ran.append(name)):
        classes = n_outputs(model)
    for name in reversed(ran):
        if name and _width(model.replica.get_submodule(name)) == classes:
            return name
    raise ModelError(
        f"{model.name}: no linear layer or 1x1 convolution gives its {classes} values, so there is no head to replace;"
        " give a module with one, or train the module as it is"
    )


def with_head(model: VisionModel, name: str, classes: int) -> nn.Module:
    """Replaces the head called `name`, in the model's own module, by a new layer for `classes` classes; returns the new layer.

    The new weights are random, from torch's generator. Refuses a network that then does not give (n, classes).
    """
    old = model.module.get_submodule(name)
    new = _like(old, classes)
    parent, _, attribute = name.rpartition(".")
    setattr(model.module.get_submodule(parent), attribute, new)
    for counter in ("num_classes", "n_classes"):
        if isinstance(getattr(model.module, counter, None), int):
            setattr(model.module, counter, classes)
    try:
        found = n_outputs(model)
    except ModelError as error:
        raise ModelError(f"{model.name} does not work with another head in place of {name}: it has other heads") from error
    if found != classes:
        raise ModelError(f"{model.name} gives {found} values with a head of {classes} in place of {name}: it has other heads")
    return new


def head_inputs(model: VisionModel, name: str) -> int:
    """Number of values that the layer called `name` takes; a `ModelError` if it is not a linear layer or 1x1 convolution."""
    part = dict(model.module.named_modules()).get(name)
    if not name or part is None or _width(part) is None:
        raise ModelError(f"{model.name} has no linear layer or 1x1 convolution '{shown(name)}' that could be replaced")
    return part.in_channels if isinstance(part, nn.Conv2d) else cast("nn.Linear", part).in_features


def n_outputs(model: VisionModel) -> int:
    """Number of values that a classifier gives per image; refuses a network that gives no table (n, classes)."""
    with torch.no_grad():
        try:
            output = model(model.blank())
        except RuntimeError as error:
            size, why = as_text(model.preprocessing.size), " ".join(str(error).split())
            raise ModelError(f"{model.name} cannot take images of {size} px ({why})") from error
    table = logits_in(output)
    if table is None:
        raise ModelError(f"{model.name} gives no table of logits (n, classes): only classifiers are trained here")
    return int(table.shape[1])


def logits_in(output: object) -> Tensor | None:
    """Returns the table (n, classes) in a network's output: the output itself, its `.logits` or its ["logits"]; else None."""
    found = output.get("logits") if isinstance(output, dict) else getattr(output, "logits", output)
    found = found[0] if isinstance(found, (tuple, list)) and found else found
    return found if isinstance(found, Tensor) and found.ndim == 2 else None


def _width(part: nn.Module) -> int | None:
    """Number of values that a linear layer or 1x1 convolution gives; None for other layers, which cannot be a head."""
    if isinstance(part, nn.Linear):
        return part.out_features
    return part.out_channels if isinstance(part, nn.Conv2d) and part.kernel_size == (1, 1) and part.groups == 1 else None


def _like(old: nn.Module, classes: int) -> nn.Module:
    weight = cast("Tensor", old.weight)
    kind = {"device": weight.device, "dtype": weight.dtype}
    biased = old.bias is not None
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, classes, 1, bias=biased, **kind)
    return nn.Linear(cast("nn.Linear", old).in_features, classes, bias=biased, **kind)
