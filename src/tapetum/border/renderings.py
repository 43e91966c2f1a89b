"""Runs rendering methods: adapts pictures to networks with one or many input channels, and notes pictures that failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.data.planes import viewable
from tapetum.data.preprocessing import LUMA
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import shown_as
from tapetum.types import Method, Rendering

OUTCOMES = {
    "silent": "no gradient ever reached the picture: the unit is silent on noise, or does not depend on the image",
    "non_finite": "NaN or infinity came up",
}


def rendered(
    method: Method, body: Callable[..., Rendering], about: Mapping[str, Any], given: dict[str, Any], _: Mapping[str, Any]
) -> Rendering:
    """Computes the pictures of one call, and adds notes about pictures that show nothing of the network."""
    model, subject = about.values()
    if method.takes == "pictures" and model.preprocessing.channels == 1:  # start from grey pictures
        luma = [(one * one.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True) for one in subject]
        subject = [one.expand(-1, 3, -1, -1) for one in luma]
    with shown_as(lambda pixels, _rows: viewable(pixels) if _banded(pixels, model) else pixels):
        made = _viewable(body(model, subject, **given), model)
    for status, words in OUTCOMES.items():
        rows = [text for text, one in zip(made.objectives, made.status, strict=True) if one == status]
        if rows:
            shown = ", ".join(rows[:3]) + (", ..." if len(rows) > 3 else "")
            note(f"{len(rows)} of {len(made)} pictures show nothing of the network ({shown}): {words}")
    return replace(made, method=method.name)


def _viewable(made: Rendering, model: VisionModel) -> Rendering:
    """Replaces pictures with many bands by their grey mean for viewing, and keeps all bands in `numbers["bands"]`."""
    if not _banded(made.pixels, model):
        return made
    note(f"pictures show the mean over the {model.preprocessing.channels} bands, in grey: numbers['bands'] has them all")
    frames = None if made.frames is None else torch.stack([viewable(one) for one in made.frames])
    return replace(made, pixels=viewable(made.pixels), frames=frames, numbers={**made.numbers, "bands": made.pixels})


def _banded(pixels: Tensor, model: VisionModel) -> bool:
    """Returns whether pictures have the bands of a network that takes other images than grey or colour ones."""
    channels = model.preprocessing.channels
    return pixels.shape[1] == channels and channels not in (1, 3)
