"""Prepares the network that a training starts from: a copy or a new one, with as many outputs as the data has classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tapetum.data.preprocessing import Preprocessing
from tapetum.models.replica import copied
from tapetum.models.untrained import torch_seed
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import SimpleCNN, load, wrap
from tapetum.models.zoo.heads import find_head, n_outputs, with_head
from tapetum.notes import is_caution
from tapetum.types import ModelError

SIMPLE: Mapping[str, Mapping[str, Any]] = {"simple_cnn": {}, "simple_cnn_wide": {"widths": (32, 64, 128), "hidden": 512}}
"""{name: settings} of the networks that are small enough to train from random weights within a minute or two."""


@dataclass
class StartingNetwork:
    """Network to train, which belongs to the training alone, and the name of its head if that is new, else None."""

    model: VisionModel
    head: str | None


def new_network(arch: Any, classes: Sequence[str], preprocessing: Preprocessing, seed: int) -> StartingNetwork:
    """Returns the network that `train` starts from.

    Args:
        arch: "simple_cnn", "simple_cnn_wide", a name for `load` (random weights), or a module or VisionModel, which
            is copied with its present weights.
        classes: names in the order of the logits.
        preprocessing: preprocessing of the pictures, for networks that have none of their own.
        seed: random seed of the weights.
    """
    if isinstance(arch, str) and arch in SIMPLE:
        with torch_seed(seed):
            module = SimpleCNN(len(classes), **SIMPLE[arch])
        return StartingNetwork(VisionModel(module.eval(), arch, preprocessing, classes, outputs="logits"), None)
    if isinstance(arch, str):
        return new_head(load(arch, weights=None, seed=seed), classes, seed)
    model = private(arch)
    outputs = n_outputs(model)
    if outputs != len(classes):
        raise ModelError(
            f"{model.name} gives {outputs} values and the data has {len(classes)} classes; give it that many outputs,"
            " or use tp.fine_tune, which puts a new head in place"
        )
    model.labels = tuple(classes)
    return StartingNetwork(model, None)


def new_head(model: VisionModel, classes: Sequence[str], seed: int) -> StartingNetwork:
    """Replaces a model's last layer in place by one with as many outputs as there are classes, with weights drawn by `seed`."""
    head = find_head(model)
    with torch_seed(seed):
        with_head(model, head, len(classes))
    model.labels = tuple(classes)
    return StartingNetwork(model, head)


def private(given: Any) -> VisionModel:
    """Returns a deep copy of a model with its own weights, so that training never changes the user's model."""
    if not isinstance(given, (VisionModel, nn.Module)):
        raise ModelError(f"a network to train is a name, a torch.nn.Module or a VisionModel, not {type(given).__name__}")
    model = given if isinstance(given, VisionModel) else wrap(given)
    if model.extra:
        raise ModelError(f"{model.name} has further inputs ({', '.join(model.extra)}), which no data set of pictures gives")
    try:
        module = copied(model.module, torch.clone)
    except Exception as error:
        raise ModelError(f"{model.name} cannot be copied ({type(error).__name__}: {error}), and is never changed") from error
    module.requires_grad_(True)
    own = model.around(module.eval())
    own.notes = tuple(note for note in model.notes if not is_caution(note))  # its constants are trained as they are
    return own


def set_size(model: VisionModel, size: int | None) -> None:
    """Changes the size in px of pictures that a model takes, cropped in the same proportion; None changes nothing."""
    if size is not None:
        model.preprocessing = model.preprocessing.at(size)


@dataclass
class Frozen:
    """Frozen part of a network: the modules `parts`, or everything except the module `alone`."""

    parts: Sequence[nn.Module] = ()
    alone: nn.Module | None = None

    def training_mode(self, module: nn.Module) -> None:
        """Puts a network in training mode, but batch-norm, dropout and all else in its frozen parts in eval mode."""
        module.train(self.alone is None)
        for part in self.parts:
            part.eval()
        if self.alone is not None:
            self.alone.train()


def freeze_parts(start: StartingNetwork, freeze: str | None) -> Frozen:
    """Freezes the weights of all but the head ("features"), or of all modules that run up to a layer; None: nothing."""
    module = start.model.module
    if freeze is None:
        return Frozen()
    if freeze == "features":
        if start.head is None:
            raise ModelError('freeze="features" keeps all but a new head, and this network got none')
        head = module.get_submodule(start.head)
        module.requires_grad_(False)
        head.requires_grad_(True)
        return Frozen(alone=head)
    done = _done_after(start.model, freeze)
    above = {".".join(freeze.split(".")[:i]) for i in range(freeze.count(".") + 1)}  # parents: class tokens and so on
    for name, part in module.named_modules():
        for parameter in part.parameters(recurse=False):
            parameter.requires_grad_(name not in done and name not in above)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise ModelError(f'freeze="{freeze}" leaves nothing of {start.model.name} to train; name an earlier layer')
    return Frozen([part for name, part in module.named_modules() if name in done])


def _done_after(model: VisionModel, layer: str) -> set[str]:
    """Returns the names of all modules that have run when a layer is done."""
    if layer not in model.find_layers(layer):
        raise ModelError(f'freeze is "features", or the full name of one layer, not "{layer}"')
    done: list[str] = []
    modules = model.replica.named_modules()
    handles = [part.register_forward_hook(lambda *_, name=one: done.append(name)) for one, part in modules]
    try:
        n_outputs(model)
    finally:
        for handle in handles:
            handle.remove()
    return set(done[: done.index(layer) + 1])
