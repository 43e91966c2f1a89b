"""Watch, change, stop and resume a forward pass: everything that happens at a layer.

    with capture(model, ["layer1", "layer4"]) as acts:
        model(images)
    acts["layer4"]                                   # (n, c, h, w), also for channels-last and token networks

    with edit(model, {"layer4": lambda maps: maps * 0}):
        model(images)

    tail = resume(score, "layer4", image)            # a score of activations: what lies before is not computed again
    tail(maps)                                       # (m, c, h, w) -> (m,)

Hooks live on the model's private replica and are removed on every path out of the block.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.engines.structure import main_tensor, with_main_tensor
from tapetum.models.layers import LayerMap, from_map, to_map
from tapetum.models.vision_model import StopForward, VisionModel
from tapetum.types import LayerError

Edit = Callable[[Tensor], Tensor | None]
"""A layer's map to its replacement; None leaves it as it is."""


class _Visits:
    """Counts calls of the watched layers; says when every one has been reached as often as the survey saw."""

    def __init__(self, calls: Mapping[str, int]) -> None:
        self.left = dict(calls)

    def reached(self, layer: str) -> bool:
        self.left[layer] -= 1
        return all(left <= 0 for left in self.left.values())


@contextlib.contextmanager
def edit(model: VisionModel, edits: Mapping[str, Edit], *, stop: bool = False, raw: bool = False) -> Iterator[None]:
    """Inside the block each layer's activation passes through its function; `stop` ends the pass after the last layer.

    Functions see maps (n, c, h, w) where the layer has one, else (and with `raw`) the tensor as the layer gives it.
    """
    survey = model.survey
    visits = _Visits({name: survey[name].calls for name in edits})
    replica = model.replica
    handles = []
    try:
        for name, function in edits.items():
            hook = _hook(name, function, None if raw else map_of(model, name), model, visits if stop else None)
            handles.append(replica.get_submodule(name).register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()


def map_of(model: VisionModel, layer: str) -> LayerMap | None:
    """How a layer's output becomes a map, None where it is none."""
    found = model.survey.maps[layer]
    return None if found.layout == "none" else found


def _hook(
    name: str, function: Edit, layer_map: LayerMap | None, model: VisionModel, visits: _Visits | None
) -> Callable[[nn.Module, Any, Any], Any]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
        tensor = main_tensor(output, name)
        seen = tensor if layer_map is None else to_map(layer_map, tensor, model.image_size)
        changed = function(seen)
        if visits is not None and visits.reached(name):
            raise StopForward
        if changed is None:
            return None
        back = changed if layer_map is None else from_map(layer_map, changed, tensor)
        return with_main_tensor(output, back)

    return hook


@contextlib.contextmanager
def capture(
    model: VisionModel | nn.Module, layers: Sequence[str] | str, *, stop: bool = True, raw: bool = False
) -> Iterator[dict[str, Tensor]]:
    """What layers give, as maps (n, c, h, w) where there is one: {layer: activation}, filled by the pass in the block.

    Layer names may be globs. A layer that runs several times keeps its last activation. With `stop` the pass ends after
    the last layer and `model(images)` is None. A plain `nn.Module` is watched as it is, to its end, with raw tensors.
    """
    acts: dict[str, Tensor] = {}
    if isinstance(model, nn.Module):
        with _watch_module(model, [layers] if isinstance(layers, str) else layers, acts):
            yield acts
        return
    names = model.find_layers(layers)
    with edit(model, {name: _keep(acts, name) for name in names}, stop=stop, raw=raw):
        yield acts


def _keep(acts: dict[str, Tensor], name: str) -> Edit:
    def keep(activation: Tensor) -> Tensor:
        acts[name] = activation
        return activation.clone()  # what follows may work in place, on the clone

    return keep


@contextlib.contextmanager
def _watch_module(module: nn.Module, layers: Sequence[str], acts: dict[str, Tensor]) -> Iterator[None]:
    known = dict(module.named_modules())
    for name in layers:
        if name not in known:
            raise LayerError(f"no layer '{name}' in {type(module).__name__}")
    handles = [known[name].register_forward_hook(_copying(acts, name)) for name in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _copying(acts: dict[str, Tensor], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_module: nn.Module, _args: Any, output: Any) -> None:
        acts[name] = main_tensor(output, name).clone()  # the user's own in-place modules must not overwrite it

    return hook


def activations(model: VisionModel, images: Tensor, layer: str) -> Tensor:
    """One layer's map for a batch, (n, c, h, w), without gradients."""
    with torch.no_grad(), capture(model, [layer]) as acts:
        model(images)
    return acts[layer]
