"""Finds the layers of any network: one recorded pass gives names, shapes, maps and receptive fields."""

from __future__ import annotations

import difflib
import fnmatch
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from tapetum.models.hooks import hooked
from tapetum.models.maps import LayerMap, from_map, read_layout, to_map
from tapetum.models.operations.nested import outputs
from tapetum.models.replica import copied
from tapetum.models.sites import Part, Site, from_the_start, shortened, sites_of
from tapetum.models.tracing.receptive import Span, Trace, coarsened
from tapetum.models.tracing.tracer import Event, Tracer
from tapetum.types import Layer, LayerError

__all__ = ["LayerMap", "Survey", "from_map", "kinds_of_operations", "resolve", "survey", "to_map"]

Forward = Callable[[nn.Module, Tensor], Any]
"""Runs a network on images."""

Window = tuple[int, int, int, int]
"""(top, bottom, left, right) in input pixels, both ends included."""

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Survey:
    """Layers of a network, as one recorded pass showed them.

    layers            every module that ran, in the order of `named_modules`
    maps              {layer name: how the layer's output holds a map}
    order             layer names in the order in which the layers finish; the last run counts if there are several
    activation_bytes  bytes of all innermost modules' outputs for one image: an estimate for a pass that reuses no memory
    largest_bytes     bytes of the largest of them
    device            "meta" if the pass was made without numbers; "real" if the network needs real numbers to run
    spans             receptive field along h and w, for layers whose places do not see the whole image
    pooled            layers after a normalisation by the image's own statistics: each place depends a little on all
    parts             {name: single run or output of a layer}, such as "trunk[0]", "backbone/1", "trunk[0]/map"
    guessed           layers behind an operation that could not be followed, whose layout was guessed from their shape
    """

    name: str
    image_size: tuple[int, int]
    layers: tuple[Layer, ...]
    maps: Mapping[str, LayerMap]
    order: tuple[str, ...]
    activation_bytes: int
    largest_bytes: int
    device: Literal["meta", "real"]
    spans: Mapping[str, tuple[Span, Span]] = field(repr=False, default_factory=dict[str, tuple[Span, Span]])
    pooled: frozenset[str] = field(repr=False, default=frozenset())
    events: tuple[Event, ...] = field(repr=False, default=())
    containers: frozenset[str] = field(repr=False, default=frozenset())
    parts: Mapping[str, Part] = field(repr=False, default_factory=dict[str, Part])
    guessed: frozenset[str] = field(repr=False, default=frozenset())

    def window(self, name: str, place: tuple[int, int]) -> Window | None:
        """Part of the image that a place (row, column) of a layer can see: (top, bottom, left, right) in px, ends included.

        The window may reach beyond the image. None where the place may see the whole image.
        """
        if name not in self.spans:
            return None
        down, across = self.spans[name]
        return (*down.sees(place[0]), *across.sees(place[1]))

    def __getitem__(self, name: str) -> Layer:
        """Returns the layer of exactly this name; the `LayerError` for an unknown name suggests close ones."""
        by_name = {layer.name: layer for layer in self.layers}
        if name in by_name:
            return by_name[name]
        if name not in self.parts:
            raise LayerError(_unknown(self, name))
        return self.parts[name].layer

    def map_of(self, name: str) -> LayerMap:
        """Returns how the output of a layer, or of one of its runs or outputs, holds a map."""
        return self.parts[name].map if name in self.parts else self.maps[name]

    def site(self, name: str) -> Site:
        """Returns the module, run and output that a layer name means."""
        return self.parts[name].site if name in self.parts else Site(name)

    def hooked_at(self, name: str) -> tuple[Site, int, LayerMap | None]:
        """Returns what a hook needs to find an output: its site, the number of the run (else the last), and its map or None."""
        part = self.parts.get(name)
        site, where = (part.site, part.map) if part else (Site(name), self.maps.get(name))
        if where is None:
            raise LayerError(_unknown(self, name))
        calls = part.layer.calls if part else next(layer.calls for layer in self.layers if layer.name == name)
        return site, calls - 1 if site.run is None else site.run, None if where.layout == "none" else where

    def last_run(self, name: str) -> str:
        """Name of the last run of a layer that runs several times, such as "trunk[2]"; for other layers `name` itself."""
        return self.runs(name)[-1]

    def runs(self, name: str) -> list[str]:
        """Names of single runs of a layer that runs several times, such as "trunk[0]"; for other layers only `name` itself."""
        site = self.site(name)
        calls = self[site.module].calls
        return [name] if calls == 1 or site.run is not None else [str(replace(site, run=run)) for run in range(calls)]

    def position(self, name: str) -> int:
        """Index of a layer in the order in which layers finish, from 0."""
        return self.order.index(self.site(name).module)

    def others(self, name: str) -> list[str]:
        """Names of all outputs of a layer that gives several, such as "backbone/1"."""
        site = self.site(name)
        return [other for other, part in self.parts.items() if part.site.output and replace(part.site, output=None) == site]


def survey(module: nn.Module, images: Tensor, name: str | None = None, call: Forward | None = None) -> Survey:
    """Runs a network once on the first image of (n, c, h, w), on the meta device if possible, and records every layer.

    module: in eval mode; not changed. name: for error messages; None: the class name. call: (module, images) -> output,
    where `module(images)` is not enough.
    """
    run = call or (lambda network, ready: network(ready))
    device: Literal["meta", "real"] = "meta"
    try:
        record = _recorded(meta_copy(module), torch.empty_like(images[:1], device="meta"), run)
    except Exception:  # the network needs numbers: .item(), numpy, data-dependent branches
        record, device = None, "real"
    record = record or _recorded(module, images[:1].detach().clone(), run)
    return record.survey(module, name or type(module).__name__, device)


def meta_copy(module: nn.Module) -> nn.Module:
    """Copies a module with all its tensors on the meta device, where they have shapes but no values."""
    return copied(module, lambda tensor: torch.empty_like(tensor, device="meta", requires_grad=False))


class _SeenOutput(NamedTuple):
    """Shape and trace of one output of one run of a module."""

    shape: tuple[int, ...]
    trace: Trace | None


@dataclass
class _PassRecord:
    """Record of one pass: outputs of each run of each module, in the order in which the last runs finish, and their bytes."""

    tracer: Tracer
    runs: dict[str, list[dict[str, _SeenOutput]]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=Counter)

    def start(self, name: str) -> None:
        self.tracer.note("start", name)
        self.tracer.running.append(name)

    def end(self, name: str, inputs: Any, output: Any) -> None:
        self.tracer.running.pop()
        self.tracer.note("end", name)
        found = list(outputs(output))
        if not found:
            return
        (way, tensor), *others = found
        seen = {way: _SeenOutput(tuple(tensor.shape), self.tracer.trace_output(name, tensor, inputs))}
        for way, other in others:
            trace = self.tracer.trace(other)
            seen[way] = _SeenOutput(tuple(other.shape), trace and coarsened(trace))
        self.runs[name] = [*self.runs.pop(name, []), seen]
        self.sizes[name] += tensor.numel() * tensor.element_size()

    def survey(self, module: nn.Module, name: str, device: Literal["meta", "real"]) -> Survey:
        modules = {path: part for path, part in module.named_modules() if path in self.runs}
        seen = {path: next(iter(runs[-1].values())) for path, runs in self.runs.items()}
        maps = {path: _map(path, seen[path]) for path in modules}
        layers = tuple(self._layer(path, part, seen[path], maps[path]) for path, part in modules.items())
        events = tuple(self.tracer.events)
        kinds = kinds_of_operations(events)
        leaves = [path for path in kinds if "start" not in kinds[path] and not kinds[path] <= {"view", "identity"}]
        sizes = [self.sizes[path] for path in leaves]
        largest = max((self.sizes[path] // len(self.runs[path]) for path in leaves if path in self.runs), default=0)
        containers = frozenset(path for path, part in modules.items() if type(part) in CONTAINERS)
        traces = {path: one.trace for path, one in seen.items() if one.trace}
        spans = {path: trace.spans for path, trace in traces.items() if trace.local and maps[path].grid}
        pooled = frozenset(path for path, trace in traces.items() if trace.pooled)
        parts = {str(part.site): part for path, one in modules.items() for part in self._parts(path, one)}
        guessed = frozenset(self.tracer.guessed)
        return Survey(
            name, self.tracer.image_size, layers, maps, tuple(self.runs), sum(sizes), largest, device, spans, pooled, events,
            containers, parts, guessed,
        )  # fmt: skip

    def _parts(self, path: str, module: nn.Module) -> Iterator[Part]:
        for site, run, way in sites_of(path, self.runs[path]):
            seen, name = self.runs[path][run][way], str(site)
            where = _map(name, seen)
            yield Part(site, replace(self._layer(path, module, seen, where), name=name), where)

    def _layer(self, path: str, module: nn.Module, seen: _SeenOutput, where: LayerMap) -> Layer:
        shape, trace = seen
        return Layer(
            path, type(module).__name__, shape, sum(weight.numel() for weight in module.parameters()),
            trace.receptive_field if trace else None, trace.stride if trace and where.grid else None,
            where.grid, where.channels, len(self.runs[path]),
        )  # fmt: skip


def _map(name: str, seen: _SeenOutput) -> LayerMap:
    shape, trace = seen
    layout, prefix, grid = read_layout(trace.axes if trace else None)
    if trace is None or layout == "none":
        return LayerMap(name, "none")
    down, right = trace.spans
    return LayerMap(name, layout, prefix, grid, shape[1 if layout == "nchw" else -1], (down.jump, right.jump))


def _recorded(module: nn.Module, images: Tensor, run: Forward) -> _PassRecord:
    record = _PassRecord(Tracer(images))
    inside = [(name, part) for name, part in module.named_modules() if part is not module]
    with hooked(inside, record.start, record.end), torch.no_grad(), record.tracer:
        run(module, images)
    return record


def kinds_of_operations(events: tuple[Event, ...]) -> dict[str, set[str]]:
    """Returns {module name: kinds of operations that ran in the module or its children}; "start" if it ran children."""
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
    """Returns the names of the layers that a name or a glob ("layer*", "features.*") means; an exact name comes first.

    The names of single runs ("trunk[0]") and single outputs ("backbone/1") are found by their exact name only, not by globs.
    """
    calls = {layer.name: layer.calls for layer in survey.layers}
    names, exact = list(calls), from_the_start(pattern, calls)
    if exact in survey.parts or exact in names:
        return [exact]
    found = fnmatch.filter(names, pattern) if any(mark in pattern for mark in "*?[") else []
    if not found:
        raise LayerError(_unknown(survey, pattern))
    return found


def _unknown(survey: Survey, name: str) -> str:
    module = name.partition("/")[0].rpartition("[")[0] or name.partition("/")[0]
    parts = [other for other, part in survey.parts.items() if part.site.module == module]
    if parts:
        several = f"runs {survey[module].calls} times" if survey[module].calls > 1 else "gives several outputs"
        return f"no layer '{name}' in {survey.name}; {module} {several}: {shortened(parts)}"
    names = [layer.name for layer in survey.layers]
    if not names:
        return f"no layer '{name}' in {survey.name}: no module inside it runs, so there are no layers"
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[-3:]
    return f"no layer '{name}' in {survey.name}; close names: {', '.join(close)}"
