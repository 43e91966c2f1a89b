"""Names for one of a layer's several runs, and for one of its several outputs.

trunk[0]            the first run of a layer that runs several times; "trunk" alone and "trunk[-1]" mean its last run
backbone/map        one output of a layer that gives several: by its key, its field or its number ("backbone/1")
trunk[0]/maps.2     both; dots lead into nested outputs
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tapetum.models.maps import LayerMap
from tapetum.types import Layer

_FROM_THE_END = re.compile(r"(?P<module>.+)\[-(?P<run>\d+)\](?P<rest>/.+)?")


@dataclass(frozen=True)
class Site:
    """Place of a hook: a module, the number of its run (None: the last, or every run), and its output (None: the first)."""

    module: str
    run: int | None = None
    output: str | None = None

    def __str__(self) -> str:
        run = "" if self.run is None else f"[{self.run}]"
        return self.module + run + ("" if self.output is None else f"/{self.output}")


@dataclass(frozen=True)
class Part:
    """One run or one output of a layer: where it is, its row in the table of layers, and how its tensor holds a map."""

    site: Site
    layer: Layer
    map: LayerMap


def sites_of(module: str, runs: Sequence[Mapping[str, object]]) -> Iterator[tuple[Site, int, str]]:
    """Yields (site, run, output) for each single run and each single output of a layer, where there are several.

    runs: for each run of the layer, its outputs by name. A layer with one run and one output yields nothing.
    """
    for run, given in enumerate(runs):
        numbered = [run] if len(runs) > 1 else []
        if numbered:
            yield Site(module, run), run, next(iter(given))
        if len(given) > 1:
            for way in given:
                last = [None] if run == len(runs) - 1 else []
                yield from ((Site(module, one, way), run, way) for one in (*numbered, *last))


def from_the_start(name: str, calls: Mapping[str, int]) -> str:
    """Rewrites a run counted from the end, such as "trunk[-1]", as counted from the start; returns other names unchanged.

    calls: how often each module runs.
    """
    found = _FROM_THE_END.fullmatch(name)
    if found is None or found["module"] not in calls:
        return name
    return f"{found['module']}[{calls[found['module']] - int(found['run'])}]{found['rest'] or ''}"


def shortened(names: Iterable[str], most: int = 4) -> str:
    """Joins names by commas; of many, the first `most`, dots, and the last."""
    names = list(names)
    return ", ".join(names if len(names) <= most + 1 else [*names[:most], "...", names[-1]])
