"""Optimised pictures that are read beside the photographs from which they were made."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.types.renderings import Rendering


@dataclass(frozen=True, eq=False)
class Study(Rendering):
    """Base of results with pictures made from several photographs at several layers.

    photographs   (m, 3, H, W) in [0, 1], as the model saw them
    layers        (d,) from early to deep
    """

    alone = Rendering

    photographs: Tensor = field(default_factory=lambda: torch.zeros(0, 3, 0, 0))
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class InformationByDepth(Study):
    """Inversions of photographs at each depth: pictures (m * d), all layers of a photograph one after the other.

    bottlenecks   per photograph, the neighbouring depths between which most information is lost; "photograph" is the first
    """

    bottlenecks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class FilterSpecialization(Study):
    """Optimised pictures of the filters most active on a photograph: (m * d * k), by photograph, layer and rank.

    channels      (m, d, k) the most active channels of each layer, the most active first
    maps          for each layer where these channels are active, (m, k, h, w)
    """

    channels: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, dtype=torch.long))
    maps: tuple[Tensor, ...] = ()
