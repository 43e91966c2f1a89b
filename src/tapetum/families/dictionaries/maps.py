"""Where concepts are in pictures."""

from __future__ import annotations

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.engines.batching import batch_size
from tapetum.engines.dictionaries import code_maps
from tapetum.engines.probe import activations
from tapetum.engines.scores.inside import one_layer
from tapetum.families.dictionaries.importance import as_maps
from tapetum.models.vision_model import VisionModel
from tapetum.types import ImagesLike, LayerError, ModelLike
from tapetum.types.dictionaries import Concepts, Dictionary


def heatmaps(model: ModelLike, images: ImagesLike, concepts: Concepts) -> Tensor:
    """Returns the code of each concept at each place, (n images, k concepts, rows, columns)."""
    with border(model, images) as (network, ready):
        layer = one_layer(network, concepts.layer)
        units, wanted = network.survey[layer].units, concepts.directions.shape[1]
        if units != wanted:
            raise LayerError(f"{layer} of {network.name} has {units} channels, and these concepts are of a layer of {wanted}")
        return codes_of(network, ready, layer, concepts.dictionary)


def codes_of(model: VisionModel, images: Tensor, layer: str, dictionary: Dictionary) -> Tensor:
    """Returns the codes at each place of a layer, batch by batch."""
    parts = images.split(batch_size(model, "auto"))
    return torch.cat([code_maps(dictionary, as_maps(activations(model, some, layer))) for some in parts])
