"""`tp.expanded_weights`: the kernels through which one unit hears the channels of an earlier layer."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.border.subjects import as_model, border
from tapetum.engines.circuits.groups import NodeGroup, plan
from tapetum.engines.circuits.passes import followed
from tapetum.engines.circuits.wires import wires
from tapetum.engines.scores import as_score
from tapetum.models.layers import to_map
from tapetum.models.vision_model import VisionModel
from tapetum.notes import noting
from tapetum.types import ExpandedWeights, ImagesLike, LayerError, ModelLike, TargetError, Unit


def expanded_weights(model: ModelLike, source: str, unit: str | Unit, *, images: ImagesLike | None = None) -> ExpandedWeights:
    """The weights from the channels of an earlier layer to one unit, through all that lies between: a kernel per channel.

    W[c, y, x] = d u / d a_c(y, x): how much the unit's value u, at the middle of its map or at its own position, changes per
    unit of channel c of the source at (y, x). It is taken in a linear network: activation functions are the identity,
    max-pooling is the average of its window, batch-norm is included, and gates, attention weights and the deviations by which
    normalisations divide have the values that they have on the images (mean over images). For two layers that follow each
    other these are the weights themselves; over several they are the expanded weights of voss2021visualizing. Kernels are cut
    off at the border of the map.

    A unit without a map is refused (TargetError), and so is a source that does not run before it (LayerError).

    Args:
        source: layer whose channels are heard; its name, or that of a convolution's batch-norm.
        unit: the unit that hears them, "layer:channel" or "layer:channel@row,column".
        images: for networks with gates, attention or normalisation by the image; None: a blank one.

    Example:
        >>> print(tp.expanded_weights(model, "blocks.1.1", "blocks.2.1:4"))
    """
    network = as_model(model)
    subject = network.blank() if images is None else images
    with noting() as said, border(network, subject) as (network, ready):
        heard = _unit(network, unit)
        group = _source(network, source, heard)
        weights = _weights(network, ready, group, heard)
    return ExpandedWeights(network.name, source, heard, *_cropped(weights), notes=tuple(said))


def _unit(model: VisionModel, unit: str | Unit) -> Unit:
    found = Unit.parse(unit) if isinstance(unit, str) else unit
    grid = model.survey[found.layer].grid
    if grid is None:
        raise TargetError(f"{found.layer} of {model.name} has no map: expanded weights lead to a unit of a layer with one")
    return Unit(found.layer, found.channel, found.position or (grid[0] // 2, grid[1] // 2))


def _source(model: VisionModel, source: str, unit: Unit) -> NodeGroup:
    found = plan(model)
    groups = found.named(model, source)
    if len(groups) != 1 or groups[0].kind != "channel":
        raise LayerError(f"'{source}' means {', '.join(one.layer for one in groups)}: give one layer with channels")
    if groups[0].step >= found.step_of(model, unit.layer):
        raise LayerError(f"{source} does not run before {unit.layer}: there are no weights from it to {unit}")
    return groups[0]


def _weights(model: VisionModel, images: Tensor, group: NodeGroup, unit: Unit) -> Tensor:
    """Returns the weights (c, h, w), the mean over images."""
    score = as_score(model, images, unit)
    clean, _ = followed(score, images, [group])
    through = wires(score, images, [group], cut=False, linear=clean)
    slopes = through.slopes(None, torch.ones_like(through.value))
    if group not in slopes:
        raise LayerError(f"no path leads from {group.layer} to {unit} in {model.name}")
    slope = slopes[group]
    maps = slope if group.axis == 1 else to_map(model.survey.map_of(group.layer), slope, (images.shape[-2], images.shape[-1]))
    return maps.detach().mean(0)


def _cropped(weights: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Cuts away rows and columns of zeros; returns the weights and the (row, column) at which they begin in the map."""
    used = weights.abs().amax(0) > 0
    rows, columns = used.any(1).nonzero()[:, 0], used.any(0).nonzero()[:, 0]
    if not len(rows):
        return weights[:, :1, :1], (0, 0)
    top, left = int(rows[0]), int(columns[0])
    return weights[:, top : int(rows[-1]) + 1, left : int(columns[-1]) + 1].clone(), (top, left)
