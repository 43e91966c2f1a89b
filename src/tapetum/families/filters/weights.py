"""The filters of a network: reads the weights of any convolution."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from torch import Tensor, nn

from tapetum.border.methods import inspection
from tapetum.border.sentences import ConvolutionName
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Filters, LayerError, Range
from tapetum.types.filters import shown_pair

Convolution = nn.Conv2d | nn.ConvTranspose2d


@inspection(takes="model", question="looks_for")
def filters(model: VisionModel, *, layer: ConvolutionName | None = None, k: Annotated[int, Range(1, 4096)] = 64) -> Filters:
    """The weights of a convolution as pictures: which pattern each of its filters looks for.

    A filter has one weight for each input channel and each place of its window: weights (k, inputs, h, w), as the network
    stores them, no unit. Where the inputs are red, green and blue, a filter is a small colour picture, 0 drawn as mid grey.
    That holds for the first layer alone: the inputs of deeper filters are not colours, so the figure shows the mean over the
    inputs (red positive, blue negative), which hides the differences between them. A 1 x 1 filter has no pattern in space: the
    figure shows its weights as one row of a matrix. Any convolution will do (grouped, depthwise, transposed, patch embedding);
    other layers are refused.

    Args:
        k: number of filters, from the first on.

    Example:
        >>> print(tp.filters(model, layer="blocks.0.0", k=4))
    """
    return read_filters(model, checked_convolution(model, layer), torch.arange(k))


def read_filters(model: VisionModel, layer: str, channels: Tensor | None = None) -> Filters:
    """Returns the filters of the given channels of a convolution, or of all; ignores channels beyond the last."""
    module = convolutions(model)[layer]
    every = _by_output(module).detach()
    kind, plain = type(module).__name__, type(module).forward in (nn.Conv2d.forward, nn.ConvTranspose2d.forward)
    if not plain and "Std" in kind:
        note(f"{layer} is a {kind}: its weights are shown as stored, it standardizes them before it uses them")
    padding = module.padding if isinstance(module.padding, str) else shown_pair(_pair(module.padding))
    return Filters(
        weights=every.clone() if channels is None else every[channels[channels < len(every)].to(every.device)],
        norms=every.flatten(1).norm(dim=1),
        layer=layer,
        kind=kind,
        model=model.name,
        channels=len(every),
        groups=module.groups,
        stride=_pair(module.stride),
        padding=padding if plain else f"as {kind} does it",
        dilation=_pair(module.dilation),
        bias=module.bias is not None,
        colors=layer == first_convolution(model) and every.shape[1] == 3 == model.preprocessing.channels,
    )


def convolutions(model: VisionModel) -> dict[str, Convolution]:
    """Returns {name: convolution} of those that run in a pass, in the order in which they run."""
    modules = dict(model.replica.named_modules())
    ran = {name: modules[name] for name in model.survey.order}
    return {name: module for name, module in ran.items() if isinstance(module, Convolution)}


def first_convolution(model: VisionModel) -> str:
    """Returns the name of the convolution that runs first; refuses a network without convolutions."""
    name = next(iter(convolutions(model)), None)
    if name is None:
        raise LayerError(f"{model.name} has no convolution, so no filter that could be drawn: give a network that has one")
    return name


def checked_convolution(model: VisionModel, layer: str | None) -> str:
    """Returns the full name of a convolution, for None the first; raises a `LayerError` for other layers, with suggestions."""
    if layer is None:
        return first_convolution(model)
    named, every = model.find_layers(layer), convolutions(model)
    found = [name for name in named if name in every]
    if len(found) == 1:
        return found[0]
    if found:
        raise LayerError(f"{layer} is {len(found)} convolutions: name one; {_shown(found)}")
    kind = model.survey[named[0]].kind
    why = "its weights belong to no places, so they are no picture" if kind == "Linear" else "only convolutions have filters"
    inside = [name for name in every if name.startswith(f"{layer}.")]
    raise LayerError(f"{layer} of {model.name} is a {kind}: {why}; {_shown(inside or [first_convolution(model)])}")


def _shown(names: list[str]) -> str:
    return f"convolutions: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"


def _by_output(module: Convolution) -> Tensor:
    """Returns weights as (channels, inputs per filter, h, w), also for transposed ones, which store them by input and group."""
    weight = module.weight
    if isinstance(module, nn.Conv2d):
        return weight
    per_group = weight.unflatten(0, (module.groups, -1))  # (groups, inputs, outputs of a group, h, w)
    return per_group.transpose(1, 2).flatten(0, 1)


def _pair(value: Any) -> tuple[int, int]:
    down, across = value if isinstance(value, (tuple, list)) else (value, value)
    return int(down), int(across)
