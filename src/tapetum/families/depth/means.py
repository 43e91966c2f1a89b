"""Mean activations: over channels, which gives a picture of each layer, and over places, which gives its activity."""

from __future__ import annotations

from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import BlockLayers
from tapetum.families.depth.layers import at_layers, named_or_blocks
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerProgression, MeanActivations


@inspection(takes="images")
def layer_progression(model: VisionModel, images: Tensor, *, layers: BlockLayers = None) -> LayerProgression:
    """A picture at every stage of the network: at each layer the mean over its channels.

    maps (n, h, w) for each layer, mean_c a_c(place), on the layer's own grid and on its own scale: the strip shows where a
    stage is active, and how coarse its grid is. It does not show the differences between channels.

    Example:
        >>> [tuple(one.shape) for one in tp.layer_progression(model, images).maps]
    """
    names = named_or_blocks(model, layers)
    means = at_layers(model, images, names, lambda maps: (maps.mean(1), int(maps.shape[1])))
    maps, channels = zip(*(means[name] for name in names), strict=True)
    return LayerProgression(model.name, tuple(names), maps, channels, model.denormalize(images))


@inspection(takes="images")
def mean_activations(model: VisionModel, images: Tensor, *, layers: BlockLayers = None) -> MeanActivations:
    """Activity of each layer: the mean activation by depth, with its spread over channels and over images.

    means (n, c) for each layer, mean over places of a_c. The figure's line is the mean over channels and images, its band the
    middle 80 % of the channels, its dots the images. Activations of different layers have no common unit: a layer that is twice
    as active is not twice as important.

    Example:
        >>> print(tp.mean_activations(model, images))
    """
    names = named_or_blocks(model, layers)
    means = at_layers(model, images, names, lambda maps: maps.mean((2, 3)))
    return MeanActivations(model.name, tuple(names), tuple(means[name] for name in names))
