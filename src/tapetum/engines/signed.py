"""Captures layers before the activation function that ends them: signed, where outputs are never negative.

    with torch.no_grad(), capture_signed(model, ["layer1", "layer4"]) as acts:
        model(images)
    acts["layer4"]                                   # the residual sum (n, c, h, w); its ReLU is the layer's output

    taps(model, ["layer4", "layer4.1.conv2"])        # {"layer4": "pre-activation", "layer4.1.conv2": "output"}

A layer that ends otherwise (a convolution, a residual sum, normalisation, pooling) gives its output as it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.engines.origins import Origins
from tapetum.engines.probe import edit, map_of
from tapetum.models.hooks import hooked
from tapetum.models.layers import to_map
from tapetum.models.operations.nested import tensors
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError

Tap: TypeAlias = Literal["pre-activation", "output"]
"""Place where a layer's values are taken: in front of the activation function that ends it, or behind the layer."""


def taps(model: VisionModel, layers: Sequence[str] | str) -> dict[str, Tap]:
    """{layer: tap}: whether a layer ends in an activation function, so that `capture_signed` takes what came before it.

    Seen in one pass on a blank image of the model's own size, which is remembered for all layers.
    """
    ends = _ends(model)
    return {name: "pre-activation" if name in ends else "output" for name in model.find_layers(layers)}


@contextlib.contextmanager
def capture_signed(
    model: VisionModel, layers: Sequence[str] | str, *, stop: bool = True, raw: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Captures layers before the activation function that ends them: {layer: (n, c, h, w)}, filled by the pass in the block.

    As `capture` in everything else. An activation function is any of ReLU, ReLU6, GELU, SiLU, Hardswish, ELU, sigmoid and
    their kin, in every spelling: module, function, method, in place, `clamp(min=0)`; behind it, operations that only move
    values (views, copies, concatenations of parts that all end in one). Applied to the values here, it gives the layer's
    output, bit for bit. Layers that end otherwise give their output: `taps` says which. Which of the two a layer gives never
    changes from image to image: a network that decides otherwise for some images is refused.
    """
    names, ends = model.named(layers), _ends(model)
    modules = frozenset[str]().union(*(ends.get(name, ()) for name in names))
    acts, origins = dict[str, Tensor](), Origins(noting=int("" in modules))
    keeps = {name: _keep(model, name, acts, origins if name in ends else None, raw) for name in names}
    with contextlib.ExitStack() as stack:
        stack.enter_context(edit(model, keeps, stop=stop, raw=True))
        if modules:
            stack.enter_context(_counting_versions())
            stack.enter_context(_on_within(model, modules, origins))
            stack.enter_context(origins)
        yield acts


def _keep(
    model: VisionModel, name: str, acts: dict[str, Tensor], origins: Origins | None, raw: bool
) -> Callable[[Tensor], Tensor | None]:
    """Keeps the activation; operations that follow may work in place, on a clone."""
    layer_map = None if raw else map_of(model, name)

    def keep(output: Tensor) -> Tensor | None:
        taken = output
        if origins is not None:
            note = origins.note(output)
            if note is None:
                raise LayerError(f"{name} ends in an activation function for a blank image and not for these; take its output")
            taken = note.make().clone()
        acts[name] = taken if layer_map is None else to_map(layer_map, taken, model.passes.image_size)
        return output.clone() if origins is None else None

    return keep


def _ends(model: VisionModel) -> Mapping[str, frozenset[str]]:
    """{layer that ends in an activation function: modules in which recording must be on}."""
    return model.remember("activation functions at the end", lambda: _found(model))


def _found(model: VisionModel) -> dict[str, frozenset[str]]:
    """Finds the layers in one pass; the last run of a layer counts, as for `capture`."""
    running, found = [""], dict[str, frozenset[str]]()
    origins = Origins(lambda: running[-1])

    def ended(name: str, _inputs: Any, output: Any) -> None:
        running.pop()
        found.pop(name, None)
        tensor = next((one for one in tensors(output) if one.is_floating_point()), None)
        note = None if tensor is None else origins.note(tensor)
        if note is not None:
            found[name] = note.modules

    parts = [(name, part) for name, part in model.replica.named_modules() if name]
    with hooked(parts, running.append, ended), torch.no_grad(), _counting_versions(), origins:
        model(model.blank())
    return found


def _on_within(model: VisionModel, modules: Iterable[str], origins: Origins) -> contextlib.AbstractContextManager[None]:
    """Switches recording on while these modules run; a pass that is stopped inside leaves it on, which only costs time."""

    def turned(by: int) -> None:
        origins.noting += by

    parts = [(name, model.replica.get_submodule(name)) for name in modules if name]
    return hooked(parts, lambda _: turned(1), lambda *_: turned(-1))


@contextlib.contextmanager
def _counting_versions() -> Iterator[None]:
    """Leaves inference mode, in which tensors do not count how often they were overwritten."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield
