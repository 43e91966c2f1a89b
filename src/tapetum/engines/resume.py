"""Computes only what lies behind a layer: the lever behind every method that perturbs activations.

One recorded pass notes the outermost modules that finish before the layer starts. Later passes return their recorded
outputs, expanded to the batch, instead of running them; the layer returns the given activation; functional operations in
between simply run on the recorded values. Nothing is traced, so any Python control flow works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.probe import edit, map_of
from tapetum.engines.scores import ModelScore
from tapetum.models.hooks import hooked
from tapetum.models.layers import from_map, to_map
from tapetum.models.operations.nested import is_single, main_tensor, mapped, max_difference, repeated, tensors, with_main_tensor
from tapetum.models.sites import Site
from tapetum.models.vision_model import VisionModel

TOLERANCE = 1e-3
"""Largest relative difference between the resumed and the recorded score; float32 batches of other sizes differ by ~1e-6."""


@dataclass(eq=False)
class Tail:
    """The score of activations (m, c, h, w) at `layer` for one image: (m,).

    activation  (1, c, h, w): what the layer gave on the image itself
    skipped     the modules that are not computed again; empty where nothing could be skipped
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

    @property
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
            with edit(self.score.model, {last: lambda _: maps.clone()}):  # what follows may work in place
                return score(images)
        with _forwards_replaced(self.score.model, {name: self._forward(name, maps) for name in self.outputs}):
            return score(images)

    def take(self, rows: Sequence[int], /) -> Tail:
        """This tail: it belongs to one image."""
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
    """A score of activations at `layer` for one image (1, c, h, w) that does not compute what lies before it.

    Checked on the spot: the recorded activation must give the recorded score, else nothing is skipped.
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
        return True  # an output whose batch axis is not the first: run everything instead
    return not max_difference(again, value.expand(2)) <= TOLERANCE  # NaN is wrong, too


@dataclass(eq=False)
class _Recording:
    outputs: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, list[object]] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    started: bool = False
    last: Tensor = field(default_factory=lambda: torch.empty(0))
    value: Tensor = field(default_factory=lambda: torch.empty(0))


def _record(score: ModelScore, layer: str, image: Tensor) -> _Recording:
    """Runs one pass with hooks on every module: outputs of those that finish before the layer starts, and of the layer."""
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
        record.last = main_tensor(output, name, site.output).clone()  # what follows may overwrite it
    if name == site.module or not record.started:
        for inner in [key for key in record.outputs if key.startswith(f"{name}.")]:
            del record.outputs[inner]  # the outermost module is enough
        record.outputs[name] = output
        record.versions[name] = _versions(output)


def _versions(output: Any) -> list[object]:
    """Number of times each tensor was written into; inference tensors do not count it, so they may always have changed."""
    return [object() if tensor.is_inference() else tensor._version for tensor in tensors(output)]


def _tail(score: ModelScore, layer: str, image: Tensor, record: _Recording) -> Tail:
    once = {name: out for name, out in record.outputs.items() if record.calls[name] == 1 and is_single(out)}
    changed = frozenset(name for name, out in once.items() if _versions(out) != record.versions[name])
    if changed:
        once = _recorded_again(score, layer, image, once)
    site = score.model.survey.site(layer)
    raw = main_tensor(once[site.module], layer, site.output) if site.module in once else record.last
    layer_map = map_of(score.model, layer)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    activation = raw if layer_map is None else to_map(layer_map, raw, size)
    outputs = once if site.module in once else {}
    return Tail(score, layer, image, activation, raw, outputs, changed)


def _recorded_again(score: ModelScore, layer: str, image: Tensor, names: dict[str, Any]) -> dict[str, Any]:
    """Outputs of another pass, copied before a functional in-place operation (`out += identity`) could change them."""
    fresh: dict[str, Any] = {}

    def keep(name: str, _inputs: Any, output: Any) -> None:
        fresh[name] = mapped(output, torch.clone)

    with hooked([(name, score.model.replica.get_submodule(name)) for name in names], end=keep):
        score(image)
    return fresh


@contextlib.contextmanager
def _forwards_replaced(model: VisionModel, forwards: dict[str, Callable[..., Any]]) -> Iterator[None]:
    """Replaces forward methods on the private replica, and puts them back on every path."""
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
