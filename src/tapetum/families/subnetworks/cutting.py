"""`subnetwork`: a copy of a model in which masked-out channels, kernels or weights do nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from tapetum.border.subjects import border
from tapetum.data.streams.base import digest
from tapetum.engines.probe import activations
from tapetum.engines.scores.inside import one_layer
from tapetum.models.hooks import hooked
from tapetum.models.operations.nested import main_tensor, with_main_tensor
from tapetum.models.patches import copy_of
from tapetum.models.vision_model import VisionModel
from tapetum.types import ImagesLike, LayerError, MethodError, ModelLike
from tapetum.types.checks import checked_choice

Masks: TypeAlias = Mapping[str, Tensor | Sequence[bool]]
"""{layer: bool (c,) of its channels, (c_out, c_in) of the kernels of a convolution or linear layer, or its weights' shape}."""

ELEMENTWISE = (
    nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.Sigmoid, nn.Tanh, nn.Softplus, nn.Identity, nn.Dropout, nn.Dropout2d,
)  # fmt: skip
"""Modules that treat each channel by itself, and that belong to the layer whose output they take."""


HEADS = (nn.Conv2d, nn.Linear, nn.modules.batchnorm._BatchNorm)
"""Modules whose output may go on into their own batch-norm and activation."""


def subnetwork(
    model: ModelLike, masks: Masks, *, fill: Literal["zero", "mean"] = "zero", images: ImagesLike | None = None
) -> VisionModel:
    """A copy of a model in which the channels, kernels or weights that a mask leaves out do nothing; the model stays as it is.

    A mask of channels, bool (c,): the *output* of every channel that is False is set to 0, or to its mean over `images`. Where
    a convolution's or linear layer's output goes on into its own batch-norm and activation module, it is their output that is
    set, not the weights before them: a batch-norm turns zeros into another constant, so the removed channel would still add to
    what follows. A mask of kernels, bool (c_out, c_in): the weights from an input channel to an output channel are set to 0,
    and the bias stays; for a grouped or depthwise convolution the mask is (c_out, c_in / groups), or (c_out, c_in), of which
    entries without a kernel are ignored. A mask of the weights' own shape sets single weights to 0. The copy is a model like
    any other: every method runs on it.

    Refused: a mask of another shape, or with other values than True and False; one of a single run of a module that runs
    several times.

    Args:
        masks: {layer: mask}, True is kept; layers with a map (or vectors, for channels) by their names.
        fill: what a removed channel gives at every place: zero, or its mean.
        images: pictures over which the means are taken.

    Example:
        >>> part = tp.subnetwork(model, {"blocks.6": [True] * 6 + [False] * 2})
    """
    checked_choice(fill, ("zero", "mean"), "fill")
    if (fill == "mean") != (images is not None):
        raise MethodError('fill="mean" takes images=, over which the means are taken, and "zero" takes none')
    with border(model, images, "images" if images is not None else "model") as (network, ready):
        return part_of(network, masks, None if ready is None else means(network, masks, ready))


Means: TypeAlias = Mapping[str, Tensor]
"""{full name of a layer: mean of each of its channels, (c,)}."""


def means(model: VisionModel, masks: Masks, images: Tensor) -> Means:
    """Returns the means over images and places of the channels of all layers whose channels are masked."""
    made = [_checked(model, name, mask) for name, mask in masks.items()]
    return {name: means_of(model, images, last_of(model, name)).cpu() for name, kind, _ in made if kind == "channels"}


def part_of(model: VisionModel, masks: Masks, means: Means | None) -> VisionModel:
    """Returns a copy of a model in which what is masked does nothing: a removed channel gives its mean, or zero."""
    if not masks:
        raise MethodError("no masks were given: {layer: mask}")
    made = [_checked(model, name, mask) for name, mask in masks.items()]
    twin, fill = copy_of(model), "zero" if means is None else "mean"
    # hooks are no weights: the name tells the part from the whole where work is kept under weights and name
    twin.name = twin.source = (
        f"{model.name}-part-{digest('masks', [(name, mask.tolist(), fill) for name, _, mask in made])[:8]}"
    )
    for name, kind, mask in made:
        if kind == "channels":
            _set_channels(model, twin, name, mask, torch.zeros(len(mask)) if means is None else means[name])
        else:
            _cut_weights(twin, name, mask)
    return twin


Kind: TypeAlias = Literal["channels", "weights"]


def _checked(model: VisionModel, layer: str, mask: Any) -> tuple[str, Kind, Tensor]:
    """Returns the full name of a layer, the kind of its mask, and the mask (c,) or of the weights' shape."""
    values = torch.as_tensor(mask)
    if values.dtype != torch.bool and not bool(((values == 0) | (values == 1)).all()):
        raise MethodError(f"the mask of {layer} says True or False for each part, and this one has other values")
    values = values.bool().cpu()
    name = one_layer(model, layer)
    if values.ndim == 1:
        channels = model.survey[name].channels
        if channels is None:
            raise LayerError(f"{name} of {model.name} has no channels to mask")
        if len(values) != channels:
            raise MethodError(f"{name} has {channels} channels, and its mask {len(values)}")
        return name, "channels", values
    module = model.replica.get_submodule(model.survey.site(name).module)
    weight = getattr(module, "weight", None)
    if not isinstance(module, (nn.Conv2d, nn.Linear)) or not isinstance(weight, Tensor):
        raise LayerError(f"{name} is no convolution or linear layer: its mask is bool (c,), one value per channel")
    return name, "weights", _of_weights(module, weight, values, name)


def _of_weights(module: nn.Conv2d | nn.Linear, weight: Tensor, mask: Tensor, name: str) -> Tensor:
    shape, groups = tuple(weight.shape), module.groups if isinstance(module, nn.Conv2d) else 1
    if tuple(mask.shape) == shape:
        return mask
    whole = (shape[0], shape[1] * groups)
    if tuple(mask.shape) == whole and groups > 1:  # output channel o reads the inputs of its own group
        first = torch.arange(shape[0]) // (shape[0] // groups) * shape[1]
        mask = mask.gather(1, first[:, None] + torch.arange(shape[1]))
    if tuple(mask.shape) != shape[:2]:
        forms = " or ".join(map(str, dict.fromkeys((shape, shape[:2], whole))))
        raise MethodError(f"the weights of {name} have {groups} groups: its mask is {forms}, not {tuple(mask.shape)}")
    return mask.reshape(*shape[:2], *(1,) * (len(shape) - 2)).expand(shape)


def _cut_weights(twin: VisionModel, layer: str, mask: Tensor) -> None:
    weight = twin.module.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        weight *= mask.to(weight)


def _set_channels(model: VisionModel, twin: VisionModel, layer: str, mask: Tensor, values: Tensor) -> None:
    """Sets channels of a layer's output to values (c,) in every pass of the copy, behind its batch-norm and activation."""
    end = last_of(model, layer)
    site, where = model.survey.site(end), model.survey.map_of(end)
    if site.run is not None:
        raise LayerError(f"{layer} is one run of a module that runs several times: a mask is for all runs of {site.module}")
    setter = Setter(mask, values, 1 if where.layout == "nchw" else -1, site.output)
    twin.module.get_submodule(site.module).register_forward_hook(setter)


def means_of(model: VisionModel, images: Tensor, layer: str) -> Tensor:
    """Returns the mean of each channel of a layer over images and places, (c,)."""
    found = [activations(model, some, layer) for some in images.split(16)]
    every = torch.cat([one.mean((2, 3)) if one.ndim == 4 else one for one in found])
    return every.mean(0)


def last_of(model: VisionModel, layer: str) -> str:
    """Returns the module that ends a layer: itself, or the last of the batch-norms and activations that follow it one by one.

    A module that runs several times belongs to no single layer, and a sum in between, in place or not, ends the layer.
    """
    parts = {name: part for name, part in model.replica.named_modules() if name}
    begun = model.survey.site(layer).module
    if not isinstance(parts[begun], HEADS):
        return layer
    found, output, version = begun, torch.empty(0), -1

    def after(name: str, inputs: tuple[Any, ...], given: Any) -> None:
        nonlocal found, output, version
        follows = isinstance(parts[name], ELEMENTWISE) and name in model.survey.order and model.survey[name].calls == 1
        goes_on = follows and version >= 0 and bool(inputs) and inputs[0] is output and output._version == version
        if (name == begun or goes_on) and isinstance(given, Tensor):
            found, output, version = name, given, given._version

    with torch.no_grad(), hooked(parts.items(), end=after):
        model(model.blank())
    return layer if found == begun else found


@dataclass(eq=False)
class Setter:
    """Forward hook that sets the channels of a module's output that are not kept to given values: keep, values (c,).

    axis    that of the channels; output  which of several outputs, as of `Site`
    """

    keep: Tensor
    values: Tensor
    axis: int
    output: str | None

    def __call__(self, _module: nn.Module, _inputs: Any, output: Any) -> Any:
        tensor = main_tensor(output, "the layer", self.output)
        shape = [1] * tensor.ndim
        shape[self.axis] = -1
        keep, values = self.keep.to(tensor.device).reshape(shape), self.values.to(tensor).reshape(shape)
        changed = torch.where(keep, tensor, values)
        return changed if tensor is output else with_main_tensor(output, changed, self.output)
