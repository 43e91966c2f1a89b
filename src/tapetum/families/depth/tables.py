"""Tables with one row per layer: its shape, parameters and receptive field, and its activity on images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from tapetum.border.layers import all_layers
from tapetum.border.methods import inspection
from tapetum.border.sentences import MapLayers, Seed
from tapetum.data.preprocessing import Size, size_of
from tapetum.families.depth.fields import measured
from tapetum.families.depth.layers import at_layers, named_or_five
from tapetum.models.layers import Survey, kinds_of_operations
from tapetum.models.vision_model import VisionModel
from tapetum.types import DepthProperties, LayerError, LayerTable, Range
from tapetum.types.depth import DepthRow, Field, LayerRow


class _Activity(NamedTuple):
    """Statistics of a layer's output: shape without batch, shares of values = 0 and <= 0, and mean per image."""

    shape: tuple[int, ...]
    zeros: float
    not_positive: float
    means: Tensor


@inspection(takes="images")
def layer_table(model: VisionModel, images: Tensor, *, layers: Sequence[str] | str | None = None) -> LayerTable:
    """Every layer of a network with its shape, parameters and receptive field, and how sparse and active it is on images.

    zeros is the share of values that are exactly 0 (as a ReLU makes them), <= 0 the share that are not positive; mean is over
    images, channels and places. Fields and strides are in pixels of the image, "-" where a layer has none (a place may see the
    whole image, or the output has no places). Rows are in the order in which layers finish; a layer that runs several times
    shows its last run. means (layers, n) for n images.

    Args:
        layers: names or globs; None: every layer that computes something and has no layers inside.

    Example:
        >>> print(tp.layer_table(model, images))
    """
    survey = model.survey_at(size_of(images))
    names = _computing(survey) if layers is None else all_layers(model, layers)
    names = sorted(names, key=survey.position)
    if not names:
        raise LayerError(f"{model.name} has no modules inside that compute: everything runs in functions, which have no names")
    found = at_layers(model, images, names, lambda values: _activity(values, len(images)), raw=True)
    rows = tuple(_layer_row(survey, name, found[name]) for name in names)
    return LayerTable(model.name, rows, size_of(images), torch.stack([found[name].means for name in names]))


def _computing(survey: Survey) -> list[str]:
    """Lists layers that compute something; leaves out identities, dropout in eval mode and flattening."""
    kinds = kinds_of_operations(survey.events)
    return [name for name in survey.order if "start" not in kinds[name] and not kinds[name] <= {"view", "identity"}]


def _activity(values: Tensor, n: int) -> _Activity:
    values = values if values.is_floating_point() else values.float()
    zeros, not_positive = (float(where.double().mean()) for where in (values == 0, values <= 0))
    # the batch axis of a layer may hold windows, image by image
    means = values.reshape(n, -1).mean(1) if values.numel() % n == 0 else values.new_full((n,), float("nan"))
    return _Activity(tuple(values.shape[1:]), zeros, not_positive, means)


def _layer_row(survey: Survey, name: str, found: _Activity) -> LayerRow:
    layer = survey[name]
    mean = float(found.means.mean())
    fields = layer.receptive_field, layer.stride
    return LayerRow(name, layer.kind, found.shape, layer.parameters, *fields, found.zeros, found.not_positive, mean)


@inspection(cite="luo2016understanding", takes="images")
def depth_properties(
    model: VisionModel, images: Tensor, *, layers: MapLayers = None, n: Annotated[int, Range(1, 1000)] = 2, seed: Seed = 0
) -> DepthProperties:
    """The properties of layers by depth: ever fewer places, more channels, larger receptive fields, more zeros.

    All numbers are those of this network and these images: grid (places), channels, values per pixel c h w / (H W), the
    theoretical receptive field and the measured ones (as in `receptive_fields`, on noise), the share of exact zeros and of
    values <= 0. Fields are in px of the image. A measured field ends at the image's border.

    Args:
        n: number of noise images on which the fields are measured.

    Example:
        >>> print(tp.depth_properties(model, images))
    """
    names = named_or_five(model, layers)
    size = size_of(images)
    found = at_layers(model, images, names, lambda maps: _activity(maps, len(images)))
    fields, _ = measured(model, names, size, n, seed)
    rows = tuple(_depth_row(field, found[field.layer], size) for field in fields)
    return DepthProperties(model.name, rows, size, torch.stack([found[name].means for name in names]))


def _depth_row(field: Field, found: _Activity, size: Size) -> DepthRow:
    c, h, w = found.shape
    fields = field.side, field.measured, field.effective_side
    return DepthRow(field.layer, (h, w), c, *fields, found.zeros, found.not_positive, c * h * w / (size[0] * size[1]))
