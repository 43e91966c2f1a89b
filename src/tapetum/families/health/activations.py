"""Checks of the activation functions: how they are written, and channels that are never active."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.batching import batch_size
from tapetum.families.health.inputs import range_of
from tapetum.families.health.patient import Patient, check, counted, listed
from tapetum.models.hooks import hooked
from tapetum.models.maps import LayerMap
from tapetum.models.opaque import Opaque
from tapetum.models.operations.call import Call
from tapetum.models.operations.following import Following
from tapetum.models.operations.kinds import ACTIVATIONS
from tapetum.types import Finding

FUNCTIONS = ("relu", "activation")
"""Kinds of operations that are activation functions with a dead side."""

ENOUGH = 200
"""Values of a channel, over pictures and places, from which on "never active" says something."""

HALF = 0.5
"""Share of a layer's channels that may be dead before it is a warning."""


@check()
def activation_functions(patient: Patient) -> Iterator[Finding]:
    """Notes activations that are functional, reused or in place, on which other tools fail without a word."""
    inner = {name: part for name, part in patient.model.module.named_modules() if not any(True for _ in part.children())}
    active = [name for name, part in inner.items() if type(part).__name__.lower() in _MODULES]
    calls = {layer.name: layer.calls for layer in patient.model.survey.layers}
    functional = Counter(one.module for one in patient.recording.operations
                         if one.kind in FUNCTIONS and one.name != "neg" and one.module not in inner)  # fmt: skip
    reused = [f"{name} ({calls[name]} times)" for name in active if calls.get(name, 1) > 1]
    inplace = [name for name in active if getattr(inner[name], "inplace", False)]
    if functional:
        total = counted(sum(functional.values()), "activation")
        where = listed(name or "the network itself" for name in functional)
        yield _handled("functional_activations", f"{total} {_are(functional.total())} functions, no modules, in {where}")
    if reused:
        yield _handled("reused_activations", f"{counted(len(reused), 'activation module')} run several times: {listed(reused)}")
    if inplace:
        yield _handled("inplace_activations", f"{counted(len(inplace), 'activation')} overwrite their input: {listed(inplace)}")


_MODULES = {name.replace("_", "") for name in ACTIVATIONS}
"""Names of torch's modules of activation functions, in small letters."""


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _handled(name: str, what: str) -> Finding:
    done = "it follows operations on a private copy, so rules of guided backpropagation, LRP and DeepLIFT see every one of them"
    advice = "nothing here; tools that put hooks on modules give other maps of this network, often without a word"
    return Finding(name, "note", what, done, advice)


# --- dead channels


@dataclass(eq=False)
class _Range:
    """Least and largest value of each channel (c,) of one activation function, over `places` values each."""

    module: str
    low: Tensor
    high: Tensor
    places: int

    @property
    def dead(self) -> Tensor:
        """(c,) True where the channel was the same everywhere."""
        largest = torch.maximum(self.low.abs(), self.high.abs()).max()
        return self.high - self.low <= 1e-6 * largest


class _Ranges(Following):
    """Measures the range of each channel behind every activation function that gives a map."""

    def __init__(self, maps: dict[str, LayerMap]) -> None:
        super().__init__()
        self.maps, self.running, self.found = maps, list[str](), list[_Range]()

    def left(self, *_: Any) -> None:
        self.running.pop()

    def on(self, call: Call) -> Any:
        output = call()
        module = self.running[-1] if self.running else ""
        where = self.maps.get(module)
        if call.operation in FUNCTIONS and call.name != "neg" and where is not None and isinstance(output, Tensor):
            axis = {"nchw": 1, "nhwc": 3, "tokens": 2}.get(where.layout)
            if axis is not None and output.ndim == (3 if where.layout == "tokens" else 4):
                rest = [i for i in range(output.ndim) if i != axis]
                places = output.numel() // output.shape[axis]
                self.found.append(_Range(module, output.amin(rest), output.amax(rest), places))
        return output


@check(pictures=1)
def dead_channels(patient: Patient) -> Iterator[Finding]:
    """Reports channels behind activation functions that have one value at all places of all pictures."""
    if range_of(patient):
        return
    found = [one for one in _ranges(patient) if one.places >= ENOUGH]
    dead = [(one, int(one.dead.sum())) for one in found if bool(one.dead.any())]
    if not dead:
        return
    on = f"on {counted(patient.n, 'picture')}"
    bad = [(one, n) for one, n in dead if n >= HALF * len(one.low)]
    told = [f"{n} of {len(one.low)} channels behind {one.module} ({one.places:,} values each)"
            for one, n in sorted(bad or dead, key=lambda pair: -pair[1] / len(pair[0].low))]  # fmt: skip
    done = "dead channels add nothing to any map; nothing else is done about them"
    if bad:
        what = f"at least half of the channels of {counted(len(bad), 'layer')} never change {on}: {listed(told)}"
        advice = (
            "compare with more pictures; if they stay dead, the bias or the learning rate killed them: train again with less"
        )
        yield Finding("dead_channels", "warning", what, done, advice)
    else:
        what = f"some channels never change {on}: {listed(told, 2)}"
        yield Finding("dead_channels", "note", what, done, "look at more pictures before you call a channel dead")


def _ranges(patient: Patient) -> list[_Range]:
    """Returns the ranges over all pictures, one for each activation function of the pass, in their order."""
    if patient.images is None or isinstance(patient.model.module, Opaque):
        return []
    model, total = patient.model, list[_Range]()
    inside = [(name, part) for name, part in model.replica.named_modules() if part is not model.replica]
    for images in patient.images.split(batch_size(model, "auto", n=patient.n)):
        watch = _Ranges(dict(model.survey.maps))
        with hooked(inside, watch.running.append, watch.left), watch:
            model(images)
        total = _joined(total, watch.found) if total else watch.found
    return total


def _joined(a: list[_Range], b: list[_Range]) -> list[_Range]:
    if [one.module for one in a] != [one.module for one in b]:  # a network that takes other ways for other pictures
        return a
    return [
        _Range(x.module, torch.minimum(x.low, y.low), torch.maximum(x.high, y.high), x.places + y.places)
        for x, y in zip(a, b, strict=True)
    ]
