"""Replaces the weights of parts of a network by random ones, on a copy: from the output down, or each part alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.models.blocks import block_layers
from tapetum.models.operations.nested import tensors
from tapetum.models.replica import copied
from tapetum.models.tracing.tracer import Event
from tapetum.models.untrained import reset
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError, ModelError


@dataclass(frozen=True)
class Stretch:
    """Neighbouring layers that hold weights.

    name    of the stretch: its block or layer, or "first to last"
    owners  names of the modules inside that hold weights themselves, in the order in which they run
    """

    name: str
    owners: tuple[str, ...]


def stretches(model: VisionModel, n: int) -> tuple[Stretch, ...]:
    """Returns all layers with weights in at most n stretches, from the output to the input.

    The first is the last layer alone, which gives the logits; the others hold equally many blocks, or layers outside of blocks.
    A layer with vectors of weights alone (a normalisation, a scale) outside of a block belongs to the layer before it.
    """
    groups = list(_groups(model))
    if not groups:
        raise ModelError(f"{model.name} holds no weights that could be randomised")
    last, before = groups[-1], groups[:-1]
    k = min(n - 1, len(before))
    cuts = [round(i * len(before) / k) for i in range(k + 1)] if k else [0]
    inner = [_joined(before[start:stop]) for start, stop in pairwise(cuts)]
    if not k:
        return (_joined(groups),)
    return (last, *reversed(inner))


def _joined(groups: list[Stretch]) -> Stretch:
    name = groups[0].name if len(groups) == 1 else f"{groups[0].name} to {groups[-1].name}"
    return Stretch(name, tuple(owner for group in groups for owner in group.owners))


def _groups(model: VisionModel) -> Iterator[Stretch]:
    """Yields blocks, and layers outside of blocks, that hold weights, in the order in which they run."""
    parts, blocks = dict(model.module.named_modules()), _blocks(model)
    found: list[tuple[str, list[str]]] = []
    for owner in owners(model):
        block = next((one for one in blocks if owner == one or owner.startswith(f"{one}.")), None)
        vectors = block is None and all(weight.ndim < 2 for weight in _held(parts[owner]).values())
        if found and (vectors or found[-1][0] == block):
            found[-1][1].append(owner)
        else:
            found.append((block or _title(parts, owner), [owner]))
    return (Stretch(name, tuple(held)) for name, held in found)


def _title(parts: dict[str, nn.Module], owner: str) -> str:
    """Name of a layer; of a module around others, whose own weights are meant alone, those weights' names."""
    if owner and not any(True for _ in parts[owner].children()):
        return owner
    return ", ".join(f"{owner}.{name}" if owner else name for name in _held(parts[owner]))


def _blocks(model: VisionModel) -> tuple[str, ...]:
    try:
        return block_layers(model.survey)
    except LayerError:  # a network without maps
        return ()


def owners(model: VisionModel) -> list[str]:
    """Returns the names of the modules that hold weights themselves, in the order in which they begin to run.

    A module that the recorded pass did not see run counts with the nearest module around it.
    """
    begins: dict[str, int] = {}
    for index, event in enumerate(model.survey.events):
        if event == Event("start", event.module):
            begins.setdefault(event.module, index)
    names = [name for name, part in model.module.named_modules() if _held(part)]
    return sorted(names, key=lambda name: _begins(begins, name))  # stable: else the order of `named_modules`


def _begins(begins: dict[str, int], name: str) -> int:
    while name and name not in begins:
        name = name.rpartition(".")[0]
    return begins.get(name, -1)


def _held(part: nn.Module) -> dict[str, Tensor]:
    """Returns the floating point weights that a module holds itself; of a batch-norm also its statistics."""
    held: dict[str, Tensor] = {
        name: one for name, one in part.named_parameters(recurse=False) if one.is_floating_point() and one.numel()
    }
    if "running_var" in (buffers := dict(part.named_buffers(recurse=False))):
        held |= {name: one for name, one in buffers.items() if one.is_floating_point()}
    return held


class Randomized:
    """Copy of a network in which stretches of layers get random weights and, later, their own again.

    New weights are those of `reset`: each layer draws its own as when it was made, by the seed; the same seed draws the same
    weights for all sets of stretches. Behind changed weights the statistics of batch-norms no longer fit, so that the numbers
    of a pass may explode or die out: `fit` measures those of all batch-norms again that run at or after the first changed
    layer, as mean and variance of each channel in one pass of the given images.

    model   the copy as a model; its weights change with every call of `randomize`
    """

    def __init__(self, model: VisionModel) -> None:
        self._theirs = model
        try:
            module = copied(model.module, lambda tensor: tensor.clone())
        except Exception as error:
            raise ModelError(
                f"{model.name} cannot be copied ({type(error).__name__}: {error}): give a module that can"
            ) from error
        self.model = model.around(module)
        self._order = owners(model)
        self._norms = [
            name for name in self._order if "running_var" in dict(module.get_submodule(name).named_buffers(recurse=False))
        ]
        self._stale: list[str] = []
        self._drawn: tuple[int, nn.Module] | None = None

    def randomize(self, chosen: Collection[Stretch], seed: int) -> None:
        """Gives the layers of these stretches random weights and all others their own; `fit` has to follow."""
        names = {owner for one in chosen for owner in one.owners}
        trained, drawn = self._theirs.module, self._drawing(seed) if names else self._theirs.module
        with torch.no_grad():
            for name, part in self.model.module.named_modules():
                source = _held((drawn if name in names else trained).get_submodule(name))
                for key, tensor in _held(part).items():
                    tensor.copy_(source[key])
        first = min(map(self._order.index, names), default=len(self._order))
        self._stale = [name for name in self._norms if self._order.index(name) >= first]

    def fit(self, images: Tensor) -> VisionModel:
        """Fits the statistics of batch-norms behind changed weights to images (n, c, h, w); returns `model`."""
        if self._stale:
            parts = dict(self.model.replica.named_modules())
            with torch.no_grad(), ExitStack() as handles:
                for name in self._stale:
                    handles.enter_context(parts[name].register_forward_pre_hook(_fit_statistics))
                self.model(images)
        return self.model

    def answers(self, images: Tensor) -> bool:
        """Checks whether all numbers of the network's answer to images (n, c, h, w) are finite with its weights of now."""
        with torch.no_grad():
            return all(bool(one.isfinite().all()) for one in tensors(self.model(images)))

    def _drawing(self, seed: int) -> nn.Module:
        if self._drawn is None or self._drawn[0] != seed:
            self._drawn = seed, reset(self._theirs, seed)[0].module
        return self._drawn[1]


def _fit_statistics(part: Any, inputs: tuple[Tensor, ...]) -> None:
    """Sets a batch-norm's mean and variance to those of the batch that it is about to normalise."""
    values = inputs[0].transpose(0, 1).flatten(1)
    if values.shape[1] > 1:  # one value has no variance
        variance, mean = torch.var_mean(values.float() if values.dtype.itemsize < 4 else values, 1, correction=0)
        part.running_mean.copy_(mean)
        part.running_var.copy_(variance)
