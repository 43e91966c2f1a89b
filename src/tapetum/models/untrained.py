"""Draws the weights of a network anew: what it is before it has learned anything."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import nn

from tapetum.models.replica import copied
from tapetum.models.vision_model import VisionModel
from tapetum.types import ModelError

STATISTICS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0}
"""Buffers of batch-norms before they have seen anything."""


def reset(model: VisionModel, seed: int) -> tuple[VisionModel, list[str]]:
    """A copy with weights as its modules draw them when they are made, and the names of parameters that none of them draws.

    Those (tokens, position embeddings, scales) have their values shuffled: as large as before, without their pattern.
    """
    try:
        module = copied(model.module, lambda tensor: tensor.cpu().clone())  # the CPU is where the random numbers come from
    except Exception as error:
        raise ModelError(f"{model.name} cannot be copied ({type(error).__name__}: {error}): give a module that can") from error
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for weight in module.parameters():
            if weight.is_floating_point():
                weight.fill_(math.nan)  # what is still NaN afterwards nobody has drawn
        _draw(module)
        loose = [name for name, weight in module.named_parameters() if bool(weight.isnan().any())]
        for name, weight in module.named_parameters():
            if name in loose:
                values = before[name]
                weight.copy_(values.flatten()[torch.randperm(values.numel())].view_as(values))
    made = model.around(module.to(model.device), f"{model.name}, untrained (seed {seed})")
    made.source, made.weights, made.notes = made.name, "random", ()
    return made, [name for name in loose if before[name].unique().numel() > 1]


def _draw(module: nn.Module) -> None:
    """Lets every module draw its weights anew, inner ones first; statistics that no module resets get their first values."""
    for part in _inner_first(module):
        again = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(again):
            try:
                again()
            except TypeError:  # one that needs arguments: its parameters stay NaN, and are seen
                continue
        frozen = "running_var" in dict(part.named_buffers(recurse=False))
        for name, buffer in part.named_buffers(recurse=False):
            if name in STATISTICS:
                buffer.fill_(STATISTICS[name])
            elif frozen and name in ("weight", "bias"):  # a batch-norm whose scale and shift are no parameters
                buffer.fill_(1.0 if name == "weight" else 0.0)


def _inner_first(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        yield from _inner_first(child)
    yield module
