"""The layers of any network: one recorded pass gives names, shapes, maps and receptive fields."""

from __future__ import annotations

import copy
import difflib
import fnmatch
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tapetum.models.maps import LayerMap, from_map, read_layout, to_map
from tapetum.models.receptive import Span, Trace
from tapetum.models.tracing import Event, Tracer
from tapetum.types import Layer, LayerError

__all__ = ["LayerMap", "Survey", "from_map", "kinds_of_operations", "main_tensor", "resolve", "survey", "to_map"]

Forward = Callable[[nn.Module, Tensor], Any]
"""How a network is run on images."""

Window = tuple[int, int, int, int]
"""(top, bottom, left, right) in input pixels, both ends included."""

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Survey:
    """What one recorded pass of a network showed.

    layers            every module that ran, in the network's own order
    maps              how each layer's output holds a map, by name
    order             names by completion, a module that ran twice by its last run
    activation_bytes  outputs of all leaves for one image: an estimate of what a forward pass allocates, without reuse
    device            "meta" when nothing was computed; "real" when the network needs real numbers to run
    spans             what a place of a map sees along h and w, of the layers whose places do not see everything
    pooled            layers behind a normalisation by the image's own statistics: each place depends a little on all
    """

    name: str
    image_size: tuple[int, int]
    layers: tuple[Layer, ...]
    maps: Mapping[str, LayerMap]
    order: tuple[str, ...]
    activation_bytes: int
    device: Literal["meta", "real"]
    spans: Mapping[str, tuple[Span, Span]] = field(repr=False, default_factory=dict[str, tuple[Span, Span]])
    pooled: frozenset[str] = field(repr=False, default=frozenset())
    events: tuple[Event, ...] = field(repr=False, default=())
    containers: frozenset[str] = field(repr=False, default=frozenset())

    def window(self, name: str, place: tuple[int, int]) -> Window | None:
        """(top, bottom, left, right): first and last row and column that a place (row, column) of a layer can see.

        It may reach beyond the image. None where a place may see the whole image.
        """
        if name not in self.spans:
            return None
        down, across = self.spans[name]
        return (*down.sees(place[0]), *across.sees(place[1]))

    def __getitem__(self, name: str) -> Layer:
        """A layer by its exact name; a `LayerError` names the closest."""
        by_name = {layer.name: layer for layer in self.layers}
        if name not in by_name:
            raise LayerError(_unknown(self, name))
        return by_name[name]


def survey(module: nn.Module, images: Tensor, name: str | None = None, call: Forward | None = None) -> Survey:
    """Runs the network once on one image (1, c, h, w), on the meta device where it can, and notes every layer.

    `module` is in eval mode and is left as it came; `name` is what errors call it (its class name without one); `call`
    runs it where `module(images)` is not enough.
    """
    run = call or (lambda network, ready: network(ready))
    device: Literal["meta", "real"] = "meta"
    try:
        record = _recorded(meta_copy(module), torch.empty_like(images[:1], device="meta"), run)
    except Exception:  # whatever a network does that needs numbers: .item(), numpy, data-dependent branches
        record, device = None, "real"
    record = record or _recorded(module, images[:1].detach().clone(), run)
    return record.survey(module, name or type(module).__name__, device)


def meta_copy(module: nn.Module) -> nn.Module:
    """The same modules over tensors without storage."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        loose = [value for value in vars(part).values() if isinstance(value, Tensor)]
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False), *loose):
            empty = torch.empty_like(tensor, device="meta", requires_grad=False)
            memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return copy.deepcopy(module, memo)


def main_tensor(output: Any) -> Tensor | None:
    """The first tensor in a module's output: in tuples, lists, dicts and dataclasses."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        parts = list(output.values())
    elif isinstance(output, (tuple, list)):
        parts = list(output)
    elif is_dataclass(output):
        parts = [getattr(output, part.name) for part in fields(output)]
    else:
        return None
    return next((tensor for tensor in map(main_tensor, parts) if tensor is not None), None)


@dataclass
class _Record:
    """What the hooks of one pass gather; of a module that runs more than once, its last output."""

    tracer: Tracer
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    traces: dict[str, Trace | None] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def start(self, name: str) -> None:
        self.tracer.note("start", name)
        self.tracer.running.append(name)

    def end(self, name: str, inputs: Any, output: Any) -> None:
        self.tracer.running.pop()
        self.tracer.note("end", name)
        tensor = main_tensor(output)
        if tensor is None:
            return
        self.calls[name] += 1
        for known in (self.shapes, self.traces):
            known.pop(name, None)
        self.shapes[name] = tuple(tensor.shape)
        self.traces[name] = self.tracer.trace_output(tensor, inputs)
        self.sizes[name] += tensor.numel() * tensor.element_size()

    def survey(self, module: nn.Module, name: str, device: Literal["meta", "real"]) -> Survey:
        modules = {path: part for path, part in module.named_modules() if path in self.shapes}
        maps = {path: self._map(path) for path in modules}
        layers = tuple(self._layer(path, part, maps[path]) for path, part in modules.items())
        events = tuple(self.tracer.events)
        kinds = kinds_of_operations(events)
        leaves = [path for path in kinds if "start" not in kinds[path] and not kinds[path] <= {"view", "identity"}]
        size = sum(self.sizes[path] for path in leaves)
        containers = frozenset(path for path, part in modules.items() if type(part) in CONTAINERS)
        order = tuple(self.shapes)
        traces = {path: trace for path, trace in self.traces.items() if trace}
        spans = {path: trace.spans for path, trace in traces.items() if trace.local and maps[path].grid}
        pooled = frozenset(path for path, trace in traces.items() if trace.pooled)
        image_size = self.tracer.image_size
        return Survey(name, image_size, layers, maps, order, size, device, spans, pooled, events, containers)

    def _map(self, name: str) -> LayerMap:
        trace = self.traces[name]
        layout, prefix, grid = read_layout(trace.axes if trace else None)
        if trace is None or layout == "none":
            return LayerMap(name, "none")
        shape, (down, right) = self.shapes[name], trace.spans
        return LayerMap(name, layout, prefix, grid, shape[1 if layout == "nchw" else -1], (down.jump, right.jump))

    def _layer(self, name: str, module: nn.Module, where: LayerMap) -> Layer:
        trace = self.traces[name]
        return Layer(
            name, type(module).__name__, self.shapes[name], sum(weight.numel() for weight in module.parameters()),
            trace.receptive_field if trace else None, trace.stride if trace and where.grid else None,
            where.grid, where.channels, self.calls[name],
        )  # fmt: skip


def _recorded(module: nn.Module, images: Tensor, run: Forward) -> _Record:
    record = _Record(Tracer(images))
    with _hooks(module, record), torch.no_grad(), record.tracer:
        run(module, images)
    return record


@contextmanager
def _hooks(module: nn.Module, record: _Record) -> Iterator[None]:
    handles = []
    try:
        for name, part in module.named_modules():
            if part is module:
                continue
            handles.append(part.register_forward_pre_hook(lambda _, args, name=name: record.start(name)))
            after = lambda _, args, kwargs, out, name=name: record.end(name, (*args, *kwargs.values()), out)  # noqa: E731
            handles.append(part.register_forward_hook(after, with_kwargs=True))
        yield
    finally:
        for handle in handles:
            handle.remove()


def kinds_of_operations(events: tuple[Event, ...]) -> dict[str, set[str]]:
    """The kinds of operations that ran inside each module, children's included; "start" marks one that ran children."""
    kinds: dict[str, set[str]] = defaultdict(set)
    running: list[str] = []
    for kind, name in events:
        if kind == "end":
            running.pop()
            continue
        for outer in running:
            kinds[outer].add(kind)
        if kind == "start":
            running.append(name)
            kinds.setdefault(name, set())
    return kinds


def resolve(survey: Survey, pattern: str) -> list[str]:
    """The layers that a name or a glob ("layer*", "features.*") means; an exact name is taken as it stands."""
    names = [layer.name for layer in survey.layers]
    if pattern in names:
        return [pattern]
    found = fnmatch.filter(names, pattern) if any(mark in pattern for mark in "*?[") else []
    if not found:
        raise LayerError(_unknown(survey, pattern))
    return found


def _unknown(survey: Survey, name: str) -> str:
    names = [layer.name for layer in survey.layers]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[-3:]
    return f"no layer '{name}' in {survey.name}; close names: {', '.join(close)}"
