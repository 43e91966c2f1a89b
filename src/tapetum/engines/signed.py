"""Captures layers before the activation function that ends them, so that values keep the sign that a ReLU removes.

    with torch.no_grad(), capture_signed(model, ["layer1", "layer4"]) as acts:
        model(images)
    acts["layer4"]                                   # the residual sum (n, c, h, w); its ReLU is the layer's output

    taps(model, ["layer4", "layer4.1.conv2"])        # {"layer4": "pre-activation", "layer4.1.conv2": "output"}

For a layer that ends otherwise (in a convolution, a residual sum, normalisation or pooling) its output is captured.
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
"""What is captured of a layer: the input of the activation function that ends it, or its output."""


def taps(model: VisionModel, layers: Sequence[str] | str) -> dict[str, Tap]:
    """Returns {layer: tap}: "pre-activation" if the layer ends in an activation function, whose input `capture_signed` takes.

    All layers are examined in one pass on a blank image of the model's own size, and the result is cached.
    """
    ends = _ends(model)
    return {name: "pre-activation" if name in ends else "output" for name in model.find_layers(layers)}


@contextlib.contextmanager
def capture_signed(
    model: VisionModel, layers: Sequence[str] | str, *, stop: bool = True, raw: bool = False
) -> Iterator[dict[str, Tensor]]:
    """Captures layers before the activation function that ends them: {layer: (n, c, h, w)}, filled by a pass inside the block.

    Works like `capture` otherwise. Activation functions are ReLU, ReLU6, GELU, SiLU, Hardswish, ELU, sigmoid and similar ones,
    as a module, function, method, in place, or `clamp(min=0)`; only operations that move values may follow (views, copies,
    concatenations of parts that all end in one). Applied to the captured values, the function gives the layer's output, bit for
    bit. Of layers that end otherwise the output is captured; `taps` tells which. What is captured of a layer does not depend on
    the image: a network in which it would differ for some images is refused.
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
    """Returns a function for `edit` that stores the layer's pre-activation, or without `origins` its output.

    An output that is stored is passed on as a clone, which later operations may change in place.
    """
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
    """Returns {layer that ends in an activation function: modules in which its pre-activation is recorded}, found once per
    model.
    """
    return model.remember("activation functions at the end", lambda: _found(model))


def _found(model: VisionModel) -> dict[str, frozenset[str]]:
    """Finds the layers that end in an activation function, in one pass on a blank image.

    Returns {layer: modules in which its pre-activation is recorded}. As in `capture`, the last run of a layer counts.
    """
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
    """Switches the recording of `origins` on while given modules run; a pass that stops inside one leaves it on, which only
    costs time.
    """

    def turned(by: int) -> None:
        origins.noting += by

    parts = [(name, model.replica.get_submodule(name)) for name in modules if name]
    return hooked(parts, lambda _: turned(1), lambda *_: turned(-1))


@contextlib.contextmanager
def _counting_versions() -> Iterator[None]:
    """Leaves inference mode inside the block, since inference tensors do not count how often they were overwritten."""
    if not torch.is_inference_mode_enabled():
        yield
        return
    with torch.inference_mode(False), torch.no_grad():
        yield
