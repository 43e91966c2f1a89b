"""Chooses the layers of an atlas, and checks that their scores fit into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence

from tapetum.models.blocks import block_layers
from tapetum.models.choice import DETAILED
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError, TapetumError


def chosen_layers(model: VisionModel, layers: Sequence[str] | str | None) -> list[str]:
    """Returns the layers of an atlas, in the order of the network (None: every block); refuses layers without channels."""
    names = block_layers(model.survey) if layers is None else model.find_layers(layers)
    without = [name for name in names if model.survey[name].channels is None]
    if without:
        raise LayerError(f"{without[0]} has no channels that could be units; `tapetum layers` lists what each layer gives")
    return [name for name in model.survey.order if name in names]


def check_memory(model: VisionModel, names: Sequence[str], pictures: int) -> None:
    """Refuses a scan whose table of scores would not fit into memory twice."""
    units = sum(model.survey[name].channels or 0 for name in names)
    needed, there = 2 * 4 * pictures * units / 1e9, memory_gb()
    if needed > there:
        hint = "name fewer --layers, or give a --limit"
        raise TapetumError(f"scores of {pictures:,} pictures at {units:,} units take {needed:.0f} of {there:.0f} GB; {hint}")


def memory_gb() -> float:
    """Returns the physical memory in GB; infinity if the system does not report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows
        return float("inf")


def among(model: VisionModel, names: Sequence[str], wanted: Sequence[str] | None, what: str) -> list[str]:
    """Returns layers chosen by names or globs; refuses layers that are not in the atlas."""
    found = [] if wanted is None else chosen_layers(model, wanted)
    outside = [name for name in found if name not in names]
    if outside:
        raise LayerError(f"{outside[0]} cannot be {what} in an atlas without it; there are {', '.join(names)}")
    return found


def usual_map(model: VisionModel, names: Sequence[str]) -> str:
    """Returns the layer to map by default: the last one with a grid fine enough to show parts of a picture, else the last."""
    fine = [name for name in names if min(model.survey[name].grid or (1,)) >= DETAILED]
    return (fine or list(names))[-1]
