"""Draws new random weights for a network, as it had them before training."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from tapetum.models.replica import copied
from tapetum.models.vision_model import VisionModel
from tapetum.types import ModelError

STATISTICS = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0}
"""{buffer of a batch-norm: its value before training}."""


@contextmanager
def torch_seed(seed: int, device: torch.device | None = None) -> Generator[None]:
    """Seeds torch's random generators inside the block, that of a GPU too, and restores them afterwards."""
    with torch.random.fork_rng([device] if device is not None and device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def reset(model: VisionModel, seed: int) -> tuple[VisionModel, list[str]]:
    """Returns a copy of a model with newly drawn weights, and the names of parameters that no module could draw.

    Modules draw their weights by `reset_parameters`. The values of other parameters (tokens, position embeddings, scales) are
    shuffled, which keeps their size and removes their pattern; those whose values are all equal are not named.
    """
    try:
        module = copied(model.module, lambda tensor: tensor.cpu().clone())  # random numbers are drawn on the CPU
    except Exception as error:
        raise ModelError(f"{model.name} cannot be copied ({type(error).__name__}: {error}): give a module that can") from error
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    with torch_seed(seed), torch.no_grad():
        for weight in module.parameters():
            if weight.is_floating_point():
                weight.fill_(math.nan)  # parameters that are still NaN later were not drawn
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
    """Lets every module draw new weights, inner modules first, and sets batch-norm statistics to their first values."""
    for part in _inner_first(module):
        again = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
        if callable(again):
            try:
                again()
            except TypeError:  # it needs arguments: the parameters stay NaN, and are shuffled
                continue
        frozen = "running_var" in dict(part.named_buffers(recurse=False))
        for name, buffer in part.named_buffers(recurse=False):
            if name in STATISTICS:
                buffer.fill_(STATISTICS[name])
            elif frozen and name in ("weight", "bias"):  # a batch-norm with scale and shift as buffers
                buffer.fill_(1.0 if name == "weight" else 0.0)


def _inner_first(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        yield from _inner_first(child)
    yield module
