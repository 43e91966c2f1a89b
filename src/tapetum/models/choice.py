"""Chooses the layer for a CAM when nobody names one, by one recorded pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from tapetum.models.layers import Survey, kinds_of_operations
from tapetum.models.tracing.tracer import Event
from tapetum.types import LayerError


def choose_layer(survey: Survey) -> tuple[str, str]:
    """Returns the layer for a CAM when nobody names one, and the reason: the first of the `candidates`."""
    found = next(candidates(survey), None)
    if found is None:
        raise LayerError(f"{survey.name} has no spatial map; {_why_none(survey)}")
    return found


def candidates(survey: Survey) -> Iterator[tuple[str, str]]:
    """Layers for a CAM and why, the best first.

    The last layer that looks at more than one place (a convolution wider than 1 x 1, attention, token mixing; no
    pooling) and gives a map of more than one cell, unless this is already the answer (a map of classes); then the
    enclosing modules that give the same map; then the normalisation and activation that directly follow. Where only the
    class token is read at the end, nothing behind the last attention reaches the patches, and the layer that feeds this
    attention is taken. Where the map is one of several that are added or concatenated next, the module behind the sum is
    taken; where the branches of a module still have a map but their sum is one cell, what the module reads. In a detector
    only the trunk counts: each of its heads reads another of several maps. What follows the first is for networks that do
    not read it: the same for earlier layers that look at several places.
    """
    trunk, given = _trunk(survey), set[str]()
    mixers = [(i, name) for i, (kind, name) in enumerate(survey.events) if name.startswith(trunk) and name and
              (kind == "mix" or (kind == "other" and survey[name].parameters > 0))]  # fmt: skip
    for readout in (False, True):
        for index, mixer in reversed(mixers):
            found = _candidate(survey, index, mixer, readout, trunk)
            if found is not None and found[0] not in given:
                given.add(found[0])
                yield found
    for _, mixer in reversed(mixers):  # a trunk that everything goes through more than once
        chosen = _climb(survey, mixer, True, trunk, again=True)
        if chosen is not None and chosen not in given:
            given.add(chosen)
            yield chosen, _why(survey, chosen, mixer)


def _candidate(survey: Survey, index: int, mixer: str, readout: bool, trunk: str) -> tuple[str, str] | None:
    chosen = _climb(survey, mixer, readout, trunk)
    if chosen is None:
        return None
    if _reads_class_token(survey, mixer, chosen):
        return _feeding(survey, mixer, survey.maps[chosen].grid, index)
    if before := _before_one_cell(survey, chosen):
        return before
    name = _behind_sum(survey, extended(survey, chosen), readout)
    return name, _why(survey, name, mixer)


def _why(survey: Survey, chosen: str, mixer: str) -> str:
    h, w = survey.maps[chosen].grid or (0, 0)  # never (0, 0): a chosen layer has a map
    return f"the last {h} x {w} map; {mixer} is the last layer that looks at several places"


DETAILED = 10
"""Cells a side that a map needs to tell the parts of a photograph apart."""


def detailed_layer(survey: Survey) -> tuple[str, str]:
    """The layer whose places are shown one by one when nobody names one, and why.

    Of the maps with at least 10 cells a side the coarsest (the latest of a usual network: 14 x 14), and of the modules that
    give it the outermost, of these the last. A network without such a map has the layer of `choose_layer`.
    """
    grids = {name: where.grid for name, where in survey.maps.items() if where.grid is not None}
    fine = [grid for grid in grids.values() if min(grid) >= DETAILED]
    if not fine:
        return choose_layer(survey)
    coarsest = min(fine, key=prod)
    name = outermost([name for name in survey.order if grids.get(name) == coarsest])[-1]
    return name, f"the last {coarsest[0]} x {coarsest[1]} map, which still tells the parts of an image apart"


def outermost(names: Sequence[str]) -> list[str]:
    """Names that are nested least."""
    depth = min(name.count(".") for name in names)
    return [name for name in names if name.count(".") == depth]


TRUNKS = ("backbone.body.", "backbone.features.0.", "backbone.features.", "backbone.")


def _trunk(survey: Survey) -> str:
    """Prefix of the names of the layers that make all maps of a torchvision detector; "" for other networks."""
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


def _climb(survey: Survey, mixer: str, readout: bool, trunk: str, *, again: bool = False) -> str | None:
    """The outermost module around `mixer`, inside the trunk, that gives its map; None when nothing around it gives one."""
    calls, chosen = {layer.name: layer.calls for layer in survey.layers}, None
    path = mixer.split(".")
    for depth in range(len(path), 0, -1):
        name = ".".join(path[:depth])
        if name not in survey.maps or (calls[name] > 1 and not again) or not name.startswith(trunk):
            continue
        if not readout and _is_readout(survey, name):
            break
        if chosen is None:
            chosen = name if _is_map(survey, name) else None
        elif survey.maps[name].grid != survey.maps[chosen].grid:
            break
        elif _uniform(survey, name):
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


def extended(survey: Survey, chosen: str) -> str:
    """The last of the element-wise modules that take over the map of `chosen` one after the other."""
    kinds, calls = kinds_of_operations(survey.events), {layer.name: layer.calls for layer in survey.layers}
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


def _behind_sum(survey: Survey, chosen: str, readout: bool) -> str:
    """Returns the module behind a sum if `chosen` is one branch of it, since it sees all branches at the same places.

    The branches may also be joined by a module of its own.
    """
    end = survey.events.index(Event("end", chosen))
    after = [event for event in survey.events[end + 1 :] if event.kind not in ("end", "identity")]
    joins = next((i for i, event in enumerate(after) if event.kind != "join"), 0)
    puts_together = bool(after) and kinds_of_operations(survey.events).get(after[0].module) == {"join"}
    if not (joins or puts_together) or after[joins].kind != "start":
        return chosen
    name, where = after[joins].module, survey.maps[chosen]
    same = _is_map(survey, name) and survey.maps[name].grid == where.grid and survey[name].calls == 1
    return rejoined(survey, extended(survey, name)) if same and (readout or not _is_readout(survey, name)) else chosen


def rejoined(survey: Survey, chosen: str) -> str:
    """Returns the module that rejoins the channels of `chosen` if they pass through element-wise modules in parts."""
    kinds, where = kinds_of_operations(survey.events), survey.maps[chosen]
    index = survey.events.index(Event("end", chosen)) + 1
    while index < len(survey.events):
        kind, name = survey.events[index]
        if kind == "start" and kinds[name] == {"join"}:
            again = survey.maps.get(name)
            return name if again and (again.grid, again.channels) == (where.grid, where.channels) else chosen
        if kind == "start" and kinds[name] <= {"pointwise", "identity"}:
            index = survey.events.index(Event("end", name))
        elif kind not in ("view", "identity", "end"):
            break
        index += 1
    return chosen


def _before_one_cell(survey: Survey, chosen: str) -> tuple[str, str] | None:
    """Returns the map that all branches of a block read, if `chosen` is one of them and the block makes one cell of the map."""
    path = chosen.split(".")
    outer = [".".join(path[:depth]) for depth in range(len(path) - 1, 0, -1)]
    blocks = [name for name in outer if name in survey.maps and name not in survey.containers]
    block = next((name for name in blocks if prod(survey.maps[name].grid or ()) == 1 and survey.maps[name].grid), None)
    if block is None:
        return None
    done = [name for kind, name in survey.events[: survey.events.index(Event("start", block))] if kind == "end"]
    last = next((name for name in reversed(done) if name in survey.maps), chosen)
    grid = survey.maps[last].grid
    if grid is None or grid != survey.maps[chosen].grid:
        return None
    return last, f"the last {grid[0]} x {grid[1]} map that all of {block} reads, which makes one cell of it"


def _reads_class_token(survey: Survey, mixer: str, chosen: str) -> bool:
    """Whether what follows takes a prefix token out and, behind the last tokens, never pools the patches."""
    tokens = next((name for name in (mixer, chosen) if name in survey.maps and survey.maps[name].prefix), None)
    if tokens is None:
        return False
    kinds = [kind for kind, _ in survey.events]
    with_prefix = {name for name, where in survey.maps.items() if where.prefix}
    last = max(i for i, (kind, name) in enumerate(survey.events) if kind == "end" and name in with_prefix)
    return "prefix" in kinds[survey.events.index(Event("end", tokens)) :] and "pool" not in kinds[last:]


def _feeding(survey: Survey, mixer: str, grid: tuple[int, int] | None, index: int) -> tuple[str, str] | None:
    """The last layer done before `mixer` starts whose tokens it takes; None where no layer before it gives them."""
    start = max(i for i, event in enumerate(survey.events[:index]) if event == Event("start", mixer))
    for kind, name in reversed(survey.events[:start]):
        if kind == "end" and name in survey.maps and survey.maps[name].grid == grid and survey.maps[name].prefix:
            return name, f"the tokens that the last attention ({mixer}) reads: behind it only the class token counts"
    return None
