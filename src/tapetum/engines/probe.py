"""Watches, changes, stops and resumes a forward pass at its layers.

    with capture(model, ["layer1", "layer4"]) as acts:
        model(images)
    acts["layer4"]                                   # (n, c, h, w), also for channels-last and token networks

    with edit(model, {"layer4": lambda maps: maps * 0}):
        model(images)

    tail = resume(score, "layer4", image)            # a score of activations: earlier layers do not run again
    tail(maps)                                       # (m, c, h, w) -> (m,)

Hooks are set on the model's private replica and removed at the end of the block, also after an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.models.hooks import hooked
from tapetum.models.layers import LayerMap, from_map, to_map
from tapetum.models.operations.nested import main_tensor, with_main_tensor
from tapetum.models.sites import Site
from tapetum.models.vision_model import LayersLike, VisionModel
from tapetum.types import LayerError

_functorch: Any = vars(torch._C)["_functorch"]  # pyright: ignore[reportPrivateUsage] (torch has no public name for it)

Edit = Callable[[Tensor], Tensor | None]
"""Function from a layer's map to its replacement; returning None leaves the map unchanged."""


@dataclass(eq=False)
class _LayerWatch:
    """Counts how often the watched layers have run in a pass; `done` is true once all have run as often as needed."""

    model: VisionModel
    stop: bool
    last: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    counted: object = None

    def run(self, layer: str) -> int:
        """Counts a finished run of the layer and returns its number in this pass, from 0."""
        if self.counted is not self.model.passes.this:
            self.counted, self.runs = self.model.passes.this, {}
        self.runs[layer] = self.runs.get(layer, -1) + 1
        return self.runs[layer]

    def done(self) -> bool:
        current = self.counted is self.model.passes.this
        return current and all(self.runs.get(layer, -1) >= last for layer, last in self.last.items())


@contextlib.contextmanager
def edit(model: VisionModel, edits: Mapping[str, Edit], *, stop: bool = False, raw: bool = False) -> Iterator[None]:
    """Passes the activation of each layer through its function inside the block; `stop` ends a pass after the last layer.

    A function gets a map (n, c, h, w) if the layer has one, else (and with `raw`) the tensor that the layer returns. If a layer
    runs several times, the function is applied at every run; "trunk[0]" names one run, "backbone/1" one of several outputs.
    """
    watch, replica = _LayerWatch(model, stop), model.replica
    with contextlib.ExitStack() as handles:
        for name, function in edits.items():
            site, watch.last[name], where = model.survey.hooked_at(name)
            hook = _Hook(name, function, site, None if raw else where, watch)
            handles.enter_context(replica.get_submodule(site.module).register_forward_hook(hook))
        with model.passes.watched(watch):
            yield


def map_of(model: VisionModel, layer: str) -> LayerMap | None:
    """Returns how a layer's output is turned into a map (n, c, h, w), or None if it has no map."""
    found = model.survey.map_of(layer)
    return None if found.layout == "none" else found


@dataclass(frozen=True, eq=False)
class _Hook:
    """Forward hook that passes the output of a layer through a function, as a map if `where` tells how to make one."""

    name: str
    function: Edit
    site: Site
    where: LayerMap | None
    watch: _LayerWatch

    def __call__(self, _module: nn.Module, _args: Any, output: Any) -> Any:
        changed, passes = None, self.watch.model.passes
        if self.watch not in passes.watches:  # another pass of the model, during the watched one
            return None
        counted = self.watch.stop or self.site.run is not None
        if self.site.run in (None, self.watch.run(self.name) if counted else None):
            tensor = main_tensor(output, self.name, self.site.output)
            if _functorch.is_functorch_wrapped_tensor(tensor):
                raise self._hidden()
            seen = tensor if self.where is None else to_map(self.where, tensor, passes.image_size)
            if len(seen) < passes.images and (self.where is not None or self.watch.model.one_by_one):
                raise self._partial(len(seen))
            changed = self.function(seen)
            if changed is not None:
                changed = changed if seen is tensor or self.where is None else from_map(self.where, changed, tensor)
                changed = changed if tensor is output else with_main_tensor(output, changed, self.site.output)
        if self.watch.stop:
            passes.stop_if_enough()
        return changed

    def _hidden(self) -> LayerError:
        return LayerError(f"{self.name} runs inside torch.func (vmap, grad), where nothing can be looked at: use another layer")

    def _partial(self, n: int) -> LayerError:
        model = self.watch.model
        return LayerError(
            f"{self.name} gives maps of {n} of the {model.passes.images} images of a pass, since {model.name} takes them one "
            "by one: give one image, or batch=1"
        )


class Activations(dict[str, Tensor]):
    """Dictionary {layer: activation}; the error for a layer that no pass has filled gives the reason."""

    def __missing__(self, layer: str) -> Tensor:
        raise LayerError(
            f"nothing of '{layer}' was captured: it is filled when the model that was given to capture runs in the block, as "
            "model(images), and the layer was asked for; a pass of model.module is another network's, which nobody watches"
        )


@contextlib.contextmanager
def capture(
    model: VisionModel | nn.Module, layers: LayersLike, *, stop: bool = True, raw: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Captures {layer: activation}, filled by a pass inside the block; activations are maps (n, c, h, w) where possible.

    Layer names may be globs. Of a layer that runs several times the last activation is kept; "trunk[0]" keeps the first. With
    `stop` the pass ends after the last layer and `model(images)` returns None; methods called in the block run to their end.
    For a plain `nn.Module`, the pass is never stopped, activations are raw tensors, and the last ones are kept.
    """
    acts = Activations()
    if isinstance(model, nn.Module):
        with _watch_module(model, [layers] if isinstance(layers, (str, nn.Module)) else layers, acts):
            yield acts
        return
    with edit(model, {name: _keep(acts, name) for name in model.named(layers)}, stop=stop, raw=raw):
        yield acts


def _keep(acts: dict[str, Tensor], name: str) -> Edit:
    def keep(activation: Tensor) -> Tensor:
        acts[name] = activation
        return activation.clone()  # later operations may change the clone in place

    return keep


@contextlib.contextmanager
def _watch_module(module: nn.Module, layers: Sequence[str | nn.Module], acts: dict[str, Tensor]) -> Iterator[None]:
    known = dict(module.named_modules())
    wanted = {name: part for one in layers for name, part in known.items() if part is one or name == one}
    for one in layers:
        if one not in wanted and not any(one is part for part in wanted.values()):
            raise LayerError(f"no layer '{one}' in {type(module).__name__}")

    def keep(name: str, _inputs: Any, output: Any) -> None:
        acts[name] = main_tensor(output, name).clone()  # in-place modules of the user must not overwrite it

    with hooked(wanted.items(), end=keep):
        yield


def activations(model: VisionModel, images: Tensor, layer: str) -> Tensor:
    """Returns the map (n, c, h, w) of one layer for a batch of images, without gradients."""
    found: list[Tensor] = []
    for some in model.singly(images) if model.one_by_one else (images,):
        with torch.no_grad(), capture(model, [layer]) as acts:
            model(some)
        found.append(acts[layer])
    return found[0] if len(found) == 1 else torch.cat(found)
