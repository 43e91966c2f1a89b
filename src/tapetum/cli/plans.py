"""How long work will take, said before it begins: from the time of a pass over one image."""

from __future__ import annotations

import time

import torch

from tapetum.models.vision_model import VisionModel


def pass_seconds(network: VisionModel) -> float:
    """Returns the time of a pass over one image, in seconds."""
    blank = network.blank()
    with torch.no_grad():
        network(blank)  # the first one is slower
        begun = time.perf_counter()
        network(blank)
        return time.perf_counter() - begun
