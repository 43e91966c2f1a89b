"""Chooses the layer for a class activation map (CAM) from one recorded pass, where the user names none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

from tapetum.models.layers import Survey, kinds_of_operations
from tapetum.models.tracing.tracer import Event
from tapetum.types import LayerError


def choose_layer(survey: Survey) -> tuple[str, str]:
    """Returns the layer for a CAM where the user names none, and why in words: the first of the `candidates`."""
    found = next(candidates(survey), None)
    if found is None:
        raise LayerError(f"{survey.name} has no spatial map; {_why_none(survey)}")
    return found


def candidates(survey: Survey) -> Iterator[tuple[str, str]]:
    """Yields layers for a CAM, each with the reason in words, the best first.

    The first is found from the last layer that looks at more than one place (a convolution wider than 1 x 1, attention, token
    mixing; no pooling) and gives a map of more than one cell, unless this map is already the answer (a map of classes). Modules
    around this layer that give the same map are preferred to it, then the normalisation and activation that directly follow.
    Where the end of the network reads only the class token, the patches after the last attention no longer count, and the
    layer that feeds this attention is taken. Where several maps are added or concatenated next, the module after the sum is
    taken; where the branches of a module have a map but their sum is one cell, the input of this module. In a detector only
    the trunk counts, since its heads read several maps. The candidates after the first, for networks that do not read the
    first, come in the same way from earlier layers that look at several places.
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
    for _, mixer in reversed(mixers):  # last, modules that run several times, as a trunk may
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
"""Cells that a map must have on each side to tell the parts of a photograph apart."""


def detailed_layer(survey: Survey) -> tuple[str, str]:
    """Returns the layer for methods that show single places of a map, where the user names none, and why in words.

    Of the maps with at least 10 cells on each side the coarsest counts (14 x 14 in a usual network). Of the modules that give
    a map of this size the outermost are taken, and of these the last. Without such a map it is the layer of `choose_layer`.
    """
    grids = {name: where.grid for name, where in survey.maps.items() if where.grid is not None}
    fine = [grid for grid in grids.values() if min(grid) >= DETAILED]
    if not fine:
        return choose_layer(survey)
    coarsest = min(fine, key=prod)
    name = outermost([name for name in survey.order if grids.get(name) == coarsest])[-1]
    return name, f"the last {coarsest[0]} x {coarsest[1]} map, which still tells the parts of an image apart"


def outermost(names: Sequence[str]) -> list[str]:
    """Returns the layer names with the fewest dots: the modules that are nested least."""
    depth = min(name.count(".") for name in names)
    return [name for name in names if name.count(".") == depth]


TRUNKS = ("backbone.body.", "backbone.features.0.", "backbone.features.", "backbone.")


def _trunk(survey: Survey) -> str:
    """Name prefix of the layers in the trunk (backbone) of a torchvision detector; "" for other networks."""
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
    """The outermost module around the layer `mixer` that gives the same map, inside the trunk; None where none gives a map."""
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
    """Checks whether the output of a convolution or linear layer is the network's answer, unchanged: a map of classes."""
    end = survey.events.index(Event("end", name))
    inside = [kind for kind, _ in survey.events[:end] if kind not in ("start", "end", "identity", "view")]
    after = {kind for kind, _ in survey.events[end:]}
    return inside[-1:] in (["channel"], ["mix"]) and after <= {"start", "end", "identity", "view", "pool"}


def _uniform(survey: Survey, name: str) -> bool:
    """Checks whether all maps of a container's children have the container's grid; True for other modules."""
    if name not in survey.containers:
        return True
    depth = name.count(".") + 1
    children = [child for child in survey.maps if child.startswith(name + ".") and child.count(".") == depth]
    return all(survey.maps[child].grid in (None, survey.maps[name].grid) for child in children)


def extended(survey: Survey, chosen: str) -> str:
    """Returns the last of the element-wise modules that directly follow `chosen` and keep its map; `chosen` if none does."""
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
    """Returns the module after a sum, if `chosen` is one branch of the sum: that module's map sees all branches.

    The branches may be joined by an operation or by a module that does nothing else. Returns `chosen` if there is no sum, or
    the module's map has another grid.
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
    """Returns the module that concatenates the channels of `chosen` again after they were split, or else `chosen`.

    Between the split and that module there may only be element-wise modules.
    """
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
    """Returns the layer whose map a block reads, and why, if `chosen` is a branch of the block and the block gives one cell."""
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
    """Checks whether the network's end reads the class token: a prefix token is taken out, and the patches are never pooled."""
    tokens = next((name for name in (mixer, chosen) if name in survey.maps and survey.maps[name].prefix), None)
    if tokens is None:
        return False
    kinds = [kind for kind, _ in survey.events]
    with_prefix = {name for name, where in survey.maps.items() if where.prefix}
    last = max(i for i, (kind, name) in enumerate(survey.events) if kind == "end" and name in with_prefix)
    return "prefix" in kinds[survey.events.index(Event("end", tokens)) :] and "pool" not in kinds[last:]


def _feeding(survey: Survey, mixer: str, grid: tuple[int, int] | None, index: int) -> tuple[str, str] | None:
    """Returns the last layer with tokens of this grid that ended before the attention `mixer` began, and why; else None."""
    start = max(i for i, event in enumerate(survey.events[:index]) if event == Event("start", mixer))
    for kind, name in reversed(survey.events[:start]):
        if kind == "end" and name in survey.maps and survey.maps[name].grid == grid and survey.maps[name].prefix:
            return name, f"the tokens that the last attention ({mixer}) reads: behind it only the class token counts"
    return None
