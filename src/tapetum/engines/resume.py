"""Scores given activations of a layer by computing only what comes after it, which makes perturbing activations fast.

A first pass records the outputs of the outermost modules that finish before the layer starts. In later passes these modules
return their recorded outputs, expanded to the batch, instead of running; the layer returns the given activation; functional
operations in between run on the recorded values. Nothing is traced, so any Python control flow works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.probe import edit, map_of
from tapetum.engines.scores import ModelScore
from tapetum.models.hooks import hooked
from tapetum.models.layers import from_map, to_map
from tapetum.models.operations.nested import is_single, main_tensor, mapped, max_difference, repeated, tensors, with_main_tensor
from tapetum.models.sites import Site
from tapetum.models.vision_model import VisionModel

TOLERANCE = 1e-3
"""Largest accepted relative difference between the resumed and the recorded score; other batch
sizes differ by ~1e-6 (float32).
"""


@dataclass(eq=False)
class Tail:
    """Score (m,) as a function of activations (m, c, h, w) of `layer`, for one image.

    activation  (1, c, h, w), the activation of the layer on the image itself
    skipped     names of the modules that do not run again; empty if none could be skipped
    """

    score: ModelScore
    layer: str
    image: Tensor
    activation: Tensor
    raw: Tensor = field(repr=False)
    outputs: dict[str, Any] = field(repr=False)
    copied: frozenset[str] = frozenset()

    @property
    def skipped(self) -> tuple[str, ...]:
        return tuple(name for name in self.outputs if name != self.site.module)

    @cached_property  # the survey is checked against the network at each access, which takes as long as a late layer does
    def site(self) -> Site:
        return self.score.model.survey.site(self.layer)

    def __call__(self, maps: Tensor, /) -> Tensor:
        batch = len(maps)
        if batch > 1 and self.score.model.one_by_one:
            return torch.cat([self(one[None]) for one in maps])
        score = self.score.take([0] * batch)
        images = self.image.expand(batch, -1, -1, -1)
        if self.site.module not in self.outputs:
            last = self.score.model.survey.last_run(self.layer)
            with edit(self.score.model, {last: lambda _: maps.clone()}):  # later operations may overwrite them
                return score(images)
        with _forwards_replaced(self.score.model, {name: self._forward(name, maps) for name in self.outputs}):
            return score(images)

    def take(self, rows: Sequence[int], /) -> Tail:
        """Returns this score itself, which belongs to one image."""
        return self

    def _forward(self, name: str, maps: Tensor) -> Callable[..., Any]:
        def forward(*_args: Any, **_kwargs: Any) -> Any:
            if name == self.site.module:
                return self._layer_output(maps)
            output = repeated(self.outputs[name], len(maps))
            return mapped(output, torch.clone) if name in self.copied else output

        return forward

    def _layer_output(self, maps: Tensor) -> Any:
        layer_map = map_of(self.score.model, self.layer)
        raw = self.raw.expand(len(maps), *self.raw.shape[1:])
        tensor = maps if layer_map is None else from_map(layer_map, maps, raw)
        site = self.site
        tensor = tensor.clone() if site.module in self.copied else tensor
        return with_main_tensor(repeated(self.outputs[site.module], len(maps)), tensor, site.output)


def resume(score: ModelScore, layer: str, image: Tensor) -> Tail:
    """Returns a score of activations of `layer` for one image (1, c, h, w), which skips the modules before the layer.

    The recorded activation must give the recorded score again; if it does not, no module is skipped.
    """
    with torch.no_grad():
        record = _record(score, layer, image)
        tail = _tail(score, layer, image, record)
        if tail.outputs and _is_wrong(tail, record.value):
            tail.outputs.clear()
    return tail


def _is_wrong(tail: Tail, value: Tensor) -> bool:
    try:
        again = tail(tail.activation.expand(2, *tail.activation.shape[1:]))
    except (RuntimeError, TypeError, ValueError, AttributeError, KeyError):
        return True  # such as an output whose batch axis is not the first: all modules run instead
    return not max_difference(again, value.expand(2)) <= TOLERANCE  # written so that NaN is wrong, too


@dataclass(eq=False)
class _Recording:
    outputs: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, list[object]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    started: bool = False
    last: Tensor = field(default_factory=lambda: torch.empty(0))
    value: Tensor = field(default_factory=lambda: torch.empty(0))


def _record(score: ModelScore, layer: str, image: Tensor) -> _Recording:
    """Runs one pass and records the outputs of the layer and of the modules that finish before it starts."""
    record = _Recording()
    replica, site = score.model.replica, score.model.survey.site(layer)
    beside = [(name, part) for name, part in replica.named_modules() if name and not site.module.startswith(f"{name}.")]

    def start(name: str) -> None:
        record.started |= name == site.module

    with hooked(beside, start, partial(_note, record, site)):
        record.value = score(image)
    return record


def _note(record: _Recording, site: Site, name: str, _inputs: Any, output: Any) -> None:
    record.calls[name] = record.calls.get(name, 0) + 1
    if name == site.module and site.run in (None, record.calls[name] - 1):
        record.last = main_tensor(output, name, site.output).clone()  # later operations may overwrite the original
    if name == site.module or not record.started:
        for inner in [key for key in record.outputs if key.startswith(f"{name}.")]:
            del record.outputs[inner]  # the output of the outer module is enough
        record.outputs[name] = output
        record.versions[name] = _versions(output)


def _versions(output: Any) -> list[object]:
    """Returns how often each tensor of an output was written to; an inference tensor, which does not count, never compares
    equal.
    """
    return [object() if tensor.is_inference() else tensor._version for tensor in tensors(output)]


def _tail(score: ModelScore, layer: str, image: Tensor, record: _Recording) -> Tail:
    once = {name: out for name, out in record.outputs.items() if record.calls[name] == 1 and is_single(out)}
    changed = frozenset(name for name, out in once.items() if _versions(out) != record.versions[name])
    if changed:
        once = _recorded_again(score, layer, image, once)
    site = score.model.survey.site(layer)
    raw = main_tensor(once[site.module], layer, site.output) if site.module in once else record.last
    layer_map = map_of(score.model, layer)
    size = size_of(image)
    activation = raw if layer_map is None else to_map(layer_map, raw, size)
    outputs = once if site.module in once else {}
    return Tail(score, layer, image, activation, raw, outputs, changed)


def _recorded_again(score: ModelScore, layer: str, image: Tensor, names: dict[str, Any]) -> dict[str, Any]:
    """Records the outputs of modules in another pass, copied before an operation such as `out += identity` can change them."""
    fresh: dict[str, Any] = {}

    def keep(name: str, _inputs: Any, output: Any) -> None:
        fresh[name] = mapped(output, torch.clone)

    with hooked([(name, score.model.replica.get_submodule(name)) for name in names], end=keep):
        score(image)
    return fresh


@contextlib.contextmanager
def _forwards_replaced(model: VisionModel, forwards: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replaces forward methods of the private replica inside the block, and restores them at its end, also after an error."""
    modules = {name: model.replica.get_submodule(name) for name in forwards}
    own = {name: vars(module)["forward"] for name, module in modules.items() if "forward" in vars(module)}
    try:
        for name, module in modules.items():
            module.forward = forwards[name]
        yield
    finally:
        for name, module in modules.items():
            vars(module).pop("forward", None)
            if name in own:
                module.forward = own[name]
