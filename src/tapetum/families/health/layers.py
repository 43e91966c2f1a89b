"""Checks of layers: is there a map at all, could its layout be read in two ways, can attention be seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch

from tapetum.engines.attention import Attention, attention_weights
from tapetum.families.health.patient import Patient, check, counted, listed
from tapetum.families.health.recording import Operation, signal_products
from tapetum.models.choice import choose_layer
from tapetum.models.hooks import hooked
from tapetum.models.maps import LayerMap
from tapetum.models.opaque import WITH_GRADIENTS, Opaque
from tapetum.types import Finding, LayerError


@check(quick=True)
def places(patient: Patient) -> Iterator[Finding]:
    """Reports a network no layer of which gives a map with more than one place."""
    model = patient.model
    if isinstance(model.module, Opaque):
        what = model.module.refusal(model.name, "layers").partition(": use ")[0]
    else:
        try:
            choose_layer(model.survey)
            return
        except LayerError as refusal:
            what = str(refusal).partition(": use ")[0]
    done = "methods that need a layer, such as grad_cam, are refused in a line"
    yield Finding("no_places", "warning", what, done, f"use {WITH_GRADIENTS}")


@check()
def layouts(patient: Patient) -> Iterator[Finding]:
    """Reports layers whose layout was guessed from their shape, where another layout has the same shape."""
    if isinstance(patient.model.module, Opaque):
        return
    survey = patient.model.survey
    shapes = {layer.name: layer.shape for layer in survey.layers}
    told = [(name, _other_layout(shapes[name], survey.maps[name])) for name in survey.order if name in survey.guessed]
    doubtful = [f"{name} of shape {shapes[name]} is read as {survey.maps[name].layout}, and could be {other}"
                for name, other in told if other]  # fmt: skip
    if doubtful:
        yield Finding(
            "ambiguous_layout",
            "warning",
            f"an operation before {counted(len(doubtful), 'layer')} cannot be followed, so the axes were guessed from the "
            f"shape alone: {listed(doubtful, 2)}",
            "maps of these layers may be transposed or mix channels with places; nothing is said elsewhere",
            "name a layer before that operation, write it with torch's own operations, or try images of another size, "
            "such as 224 x 256, for which the shapes differ",
        )


def _other_layout(shape: Sequence[int], found: LayerMap) -> str:
    """Names another layout that fits the shape of a layer's output for one image; "" if there is none."""
    if found.layout == "nchw" and shape[1] == shape[2] == shape[3] > 1:
        return "nhwc"
    if found.layout == "tokens" and found.grid is not None and found.grid[0] != found.grid[1] and prod(found.grid) > 1:
        return f"{found.grid[1]} x {found.grid[0]} in place of {found.grid[0]} x {found.grid[1]} places"
    return ""


@check()
def attention(patient: Patient) -> Iterator[Finding]:
    """Reports attention whose weights cannot be watched: two products of signals in a module, and no softmax between them."""
    products = {name: found for name, found in signal_products(patient.recording).items() if len(found) >= 2}
    if not products:
        return
    seen = _watched(patient)
    hidden = {name: _between_places(patient, name, found[0]) for name, found in products.items() if name not in seen}
    if not hidden:
        return
    done = "attention_rollout and gradient_attention are refused, other methods work"
    if seen:
        rest = counted(len(seen), "other module")
        done = f"attention_rollout and gradient_attention see only the {rest}, so a rollout is incomplete"
    yield Finding(
        "hidden_attention",
        "warning" if any(hidden.values()) else "note",
        f"{counted(len(hidden), 'module')} multiply two signals twice, as attention does, but no softmax over keys is seen "
        f"there, so weights cannot be watched: {listed(name or 'the forward of the network itself' for name in hidden)}"
        + ("" if any(hidden.values()) else " (the products are not of places with places: this may be linear attention)"),
        done,
        "compute the weights by softmax(dim=-1) or scaled_dot_product_attention; linear attention has no weights to show",
    )


def _between_places(patient: Patient, module: str, product: Operation) -> bool:
    """Checks whether the first product of a module has a number for each pair of places, or its number of places is unknown."""
    maps = patient.model.survey.maps
    around = [module.rsplit(".", depth)[0] for depth in range(module.count(".") + 1)]
    where = next((maps[name] for name in (module, *around) if name in maps and maps[name].grid), None)
    return where is None or product.shape[-1] == prod(where.grid or ()) + where.prefix


def _watched(patient: Patient) -> set[str]:
    """Returns the modules in which attention weights were seen when they were multiplied, in one pass of one image."""
    replica, running, seen = patient.model.replica, list[str](), set[str]()

    def inside(_: Attention) -> None:
        seen.add(running[-1] if running else "")

    parts = [(name, part) for name, part in replica.named_modules() if part is not replica]
    with torch.no_grad(), hooked(parts, running.append, lambda *_: running.pop()), attention_weights(inside=inside):
        patient.model(patient.some[:1])
    return seen
