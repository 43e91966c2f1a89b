"""The layers of any network: one recorded pass gives names, shapes, maps, receptive fields, and the layer for a CAM."""

from __future__ import annotations

import copy
import difflib
import fnmatch
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from math import prod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tapetum.models.maps import LayerMap, from_map, read_layout, to_map
from tapetum.models.receptive import Trace
from tapetum.models.tracing import Event, Tracer
from tapetum.types import Layer, LayerError

__all__ = ["LayerMap", "Survey", "choose_layer", "from_map", "main_tensor", "resolve", "survey", "to_map"]

Forward = Callable[[nn.Module, Tensor], Any]
"""How a network is run on images."""

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


@dataclass(frozen=True)
class Survey:
    """What one recorded pass of a network showed.

    layers            every module that ran, in the network's own order
    maps              how each layer's output holds a map, by name
    order             names by completion, a module that ran twice by its last run
    activation_bytes  outputs of all leaves for one image: an estimate of what a forward pass allocates, without reuse
    device            "meta" when nothing was computed; "real" when the network needs real numbers to run
    """

    name: str
    image_size: tuple[int, int]
    layers: tuple[Layer, ...]
    maps: Mapping[str, LayerMap]
    order: tuple[str, ...]
    activation_bytes: int
    device: Literal["meta", "real"]
    events: tuple[Event, ...] = field(repr=False, default=())
    containers: frozenset[str] = field(repr=False, default=frozenset())

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
        record = _recorded(_meta_copy(module), torch.empty_like(images[:1], device="meta"), run)
    except Exception:  # whatever a network does that needs numbers: .item(), numpy, data-dependent branches
        record, device = None, "real"
    record = record or _recorded(module, images[:1].detach().clone(), run)
    return record.survey(module, name or type(module).__name__, device)


def _meta_copy(module: nn.Module) -> nn.Module:
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
        kinds = _kinds(events)
        leaves = [path for path in kinds if "start" not in kinds[path] and not kinds[path] <= {"view", "identity"}]
        size = sum(self.sizes[path] for path in leaves)
        containers = frozenset(path for path, part in modules.items() if type(part) in CONTAINERS)
        order = tuple(self.shapes)
        return Survey(name, self.tracer.image_size, layers, maps, order, size, device, events, containers)

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


def _kinds(events: tuple[Event, ...]) -> dict[str, set[str]]:
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


def choose_layer(survey: Survey) -> tuple[str, str]:
    """The layer for a CAM when nobody names one, and why.

    The last layer that looks at more than one place (a convolution wider than 1 x 1, attention, token mixing; no
    pooling) and gives a map of more than one cell, unless this is already the answer (a map of classes); then the
    enclosing modules that give the same map; then the normalisation and activation that directly follow. Where only the
    class token is read at the end, nothing behind the last attention reaches the patches, and the layer that feeds this
    attention is taken. Of a detector only the trunk counts: each of its heads reads another of several maps.
    """
    trunk = _trunk(survey)
    mixers = [(i, name) for i, (kind, name) in enumerate(survey.events) if kind == "mix" and name and name.startswith(trunk)]
    for readout in (False, True):
        for index, mixer in reversed(mixers):
            chosen = _climb(survey, mixer, readout, trunk)
            if chosen is not None and _reads_class_token(survey, mixer, chosen):
                return _feeding(survey, mixer, survey.maps[chosen].grid, index)
            if chosen is not None:
                name = _extend(survey, chosen)
                grid = survey.maps[name].grid
                assert grid is not None  # what `_climb` and `_extend` give has a map
                h, w = grid
                return name, f"the last {h} x {w} map; {mixer} is the last layer that looks at several places"
    raise LayerError(f"{survey.name} has no spatial map; {_why_none(survey)}")


TRUNKS = ("backbone.body.", "backbone.features.0.", "backbone.features.", "backbone.")


def _trunk(survey: Survey) -> str:
    """Of torchvision's detectors, where the layers lie from which all of its maps are made, else all: ""."""
    started = {name for kind, name in survey.events if kind == "start"}
    if "transform" not in started or not started & {"anchor_generator", "rpn.anchor_generator"}:
        return ""
    return next((trunk for trunk in TRUNKS if any(name.startswith(trunk) for name in survey.maps)), "")


def _why_none(survey: Survey) -> str:
    if not any(prod(where.grid or ()) > 1 for where in survey.maps.values()):
        return "none of its layers gives an output with places: use a method that needs no layer"
    return "no convolution or attention gives a map of more than one cell: use a method that needs no layer"


def _is_map(survey: Survey, name: str) -> bool:
    where = survey.maps.get(name)
    return bool(where and where.grid and prod(where.grid) > 1)


def _climb(survey: Survey, mixer: str, readout: bool, trunk: str) -> str | None:
    """The outermost module around `mixer`, inside the trunk, that gives its map; None when nothing around it gives one."""
    calls, chosen = {layer.name: layer.calls for layer in survey.layers}, None
    path = mixer.split(".")
    for depth in range(len(path), 0, -1):
        name = ".".join(path[:depth])
        if name not in survey.maps or calls[name] > 1 or not name.startswith(trunk):
            continue
        if not readout and _is_readout(survey, name):
            break
        if chosen is None:
            chosen = name if _is_map(survey, name) else None
        elif survey.maps[name].grid != survey.maps[chosen].grid or not _uniform(survey, name):
            break
        else:
            chosen = name
    return chosen


def _is_readout(survey: Survey, name: str) -> bool:
    """Whether a module's output, as a convolution or linear map left it, is the network's answer: a map of classes."""
    end = survey.events.index(Event("end", name))
    inside = [kind for kind, _ in survey.events[:end] if kind not in ("start", "end", "identity", "view")]
    after = {kind for kind, _ in survey.events[end:]}
    return inside[-1:] in (["channel"], ["mix"]) and after <= {"start", "end", "identity", "view", "pool"}


def _uniform(survey: Survey, name: str) -> bool:
    """Whether a plain container's mapped children all have its grid; other modules may do inside what they like."""
    if name not in survey.containers:
        return True
    depth = name.count(".") + 1
    children = [child for child in survey.maps if child.startswith(name + ".") and child.count(".") == depth]
    return all(survey.maps[child].grid in (None, survey.maps[name].grid) for child in children)


def _extend(survey: Survey, chosen: str) -> str:
    """The last of the element-wise modules that take over the map of `chosen` one after the other."""
    kinds, calls = _kinds(survey.events), {layer.name: layer.calls for layer in survey.layers}
    index = survey.events.index(Event("end", chosen)) + 1
    while index < len(survey.events):
        kind, name = survey.events[index]
        index += 1
        if kind in ("end", "identity"):
            continue
        if kind != "start" or calls.get(name) != 1:
            break
        if kinds[name] <= {"pointwise", "identity", "start"}:
            index = survey.events.index(Event("end", name)) + 1
            same = _is_map(survey, name) and survey.maps[name].grid == survey.maps[chosen].grid
            chosen = name if same and "pointwise" in kinds[name] else chosen
    return chosen


def _reads_class_token(survey: Survey, mixer: str, chosen: str) -> bool:
    """Whether what follows takes a prefix token out and, behind the last tokens, never pools the patches."""
    tokens = next((name for name in (mixer, chosen) if name in survey.maps and survey.maps[name].prefix), None)
    if tokens is None:
        return False
    kinds = [kind for kind, _ in survey.events]
    with_prefix = {name for name, where in survey.maps.items() if where.prefix}
    last = max(i for i, (kind, name) in enumerate(survey.events) if kind == "end" and name in with_prefix)
    return "prefix" in kinds[survey.events.index(Event("end", tokens)) :] and "pool" not in kinds[last:]


def _feeding(survey: Survey, mixer: str, grid: tuple[int, int] | None, index: int) -> tuple[str, str]:
    """The last layer done before `mixer` starts whose tokens it takes."""
    start = max(i for i, event in enumerate(survey.events[:index]) if event == Event("start", mixer))
    for kind, name in reversed(survey.events[:start]):
        if kind == "end" and name in survey.maps and survey.maps[name].grid == grid and survey.maps[name].prefix:
            return name, f"the tokens that the last attention ({mixer}) reads: behind it only the class token counts"
    raise LayerError(f"{survey.name} reads only its class token, and no layer before {mixer} gives the tokens")
