"""Dictionaries side by side, and chance beside each: the table of docs/howto/concepts.md.

`python -m benchmarks concepts --photos DIR` fits each method on six planted factors and on photographs in EfficientNet-Lite0,
and writes the tables between two marks of the page.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

import tapetum as tp
from benchmarks.mosaics import photographs
from benchmarks.pages import put
from tapetum.data.streams import Source, as_source
from tapetum.engines.ranks import auc_of_ranks
from tapetum.engines.scan.coded import Coded
from tapetum.engines.scan.trackers import Positions, Scores
from tapetum.engines.similarity import ranks
from tapetum.families.dictionaries.fitting import random
from tapetum.families.dictionaries.judging import Judged, Rows, judged
from tapetum.families.dictionaries.matching import recovered
from tapetum.models.vision_model import VisionModel
from tapetum.types.dictionaries import Dictionary, DictionaryMethod, DictionaryNumbers, beyond_chance, told

SHAPES = ("disc", "square", "triangle", "star", "ring", "cross")
GROUNDS = ("grass", "snow", "water", "sand", "brick", "clouds")
PLANTED_LAYER, PLANTED_N = "features.2.2", 12
MODEL, LAYER, N = "efficientnet_lite0", "blocks.5.3.bn2.act", 24
ROWS = 4000
"""Places in all pictures together."""

GROUPS: Mapping[str, tuple[range, ...]] = {
    "birds": (range(7, 25), range(80, 101), range(127, 147)),
    "reptiles and amphibians": (range(25, 69),),
    "dogs": (range(151, 269),),
    "insects": (range(300, 327),),
    "food": (range(924, 970),),
}
"""{group: indices of its ImageNet classes}."""

NAMES: Mapping[str, str] = {"nmf": "NMF", "pca": "PCA", "ica": "ICA", "kmeans": "k-means", "sae": "SAE (TopK)"} | {
    "matryoshka": "Matryoshka SAE",
    "units": "single channels",
    "random": "frozen random",
}


@dataclass(frozen=True, eq=False)
class Case:
    """One network, its pictures, the groups (k, pictures) to probe, the pictures on which the probe is chosen, and directions
    that are known.
    """

    name: str
    model: VisionModel
    source: Source
    layer: str
    n: int
    groups: Tensor
    chosen: Tensor
    known: Tensor | None = None


def run(folder: Path | None, only: Sequence[str] = ()) -> int:
    """Measures, prints, and writes the tables into the page."""
    begun, tables = time.perf_counter(), list[str]()
    for case in filter(None, (planted(), photos(folder))):
        tables.append(_table(case, [one for one in NAMES if not only or one in only]))
        print(f"{tables[-1]}\n{time.perf_counter() - begun:.0f} s", flush=True)
    if len(tables) == 2 and not only:
        put("howto/concepts.md", "concepts", "\n".join(tables).rstrip())
    return 0


def planted() -> Case:
    """A small network that tells six backgrounds apart, trained here."""
    how: dict[str, Any] = {"size": 48, "classes": SHAPES, "shortcut": "background", "backgrounds": GROUNDS, "rate": 1.0}
    data = tp.planted("shapes", 480, **how)
    model = tp.train(data, epochs=8, size=48, batch=32).model
    groups = torch.stack([data.targets == i for i in range(len(SHAPES))])
    known = factors(model, tp.planted("shapes", 240, seed=1, **how), PLANTED_LAYER)
    half = torch.arange(480) % 2 == 0
    return Case("six planted backgrounds", model, data, PLANTED_LAYER, PLANTED_N, groups, half, known)


def factors(model: VisionModel, data: tp.Planted, layer: str) -> Tensor:
    """Mean activation of the pictures with each class less that of the others, (classes, c)."""
    images = torch.cat([model.preprocess(data.read(i)) for i in range(len(data))])
    with torch.no_grad(), tp.capture(model, layer) as acts:
        model(images)
    means = acts[layer].mean((2, 3))
    return torch.stack([means[data.targets == i].mean(0) - means[data.targets != i].mean(0) for i in range(len(SHAPES))])


def photos(folder: Path | None) -> Case | None:
    """EfficientNet-Lite0 and every second photograph, and groups of its classes."""
    known = photographs(folder)[::2]
    if not known:
        print("concepts: no photographs; give --photos DIR with photos.csv and photos/")
        return None
    source = as_source([str(path) for path, _ in known])
    index = {path.name: one for path, one in known}
    classes = [index[Path(name).name] for name in source.ids]
    groups = torch.tensor([[any(one in some for some in ranges) for one in classes] for ranges in GROUPS.values()])
    chosen = torch.zeros(len(classes), dtype=torch.bool)
    for group in (*groups, ~groups.any(0)):
        chosen[group.nonzero()[::2, 0]] = True
    return Case(f"{len(known)} photographs", tp.load(MODEL), source, LAYER, N, groups, chosen)


def _fitted(case: Case, method: str, rows: Rows) -> tuple[Judged, Dictionary, DictionaryNumbers]:
    if method == "random":
        found = judged("units", rows, case.n, 0)
        return found, random("pca", rows.values, case.n, 1), found.null
    known: DictionaryMethod = next(one for one in get_args(DictionaryMethod) if one == method)
    found = judged(known, rows, case.n, 0)
    return found, found.dictionary, found.numbers


def _verdict(method: str, found: Judged) -> str:
    if found.shuffled is None or method == "random":
        return "–"
    return "yes" if beyond_chance(found.numbers, found.null, found.shuffled) else "no"


def probe(scores: Tensor, groups: Tensor, chosen: Tensor) -> list[float]:
    """Returns for each group the AUC of the one concept, and sign, that tells it best on the chosen pictures, on the others."""
    found: list[float] = []
    for group in groups:
        tried = _auc(scores[chosen], group[chosen])
        best = int((tried - 0.5).abs().argmax())
        value = float(_auc(scores[~chosen], group[~chosen])[best])
        found.append(value if tried[best] >= 0.5 else 1 - value)
    return found


def _auc(scores: Tensor, group: Tensor) -> Tensor:
    """Returns the AUC (n,) of each column of scores (pictures, n): the chance that one of the group has the larger one."""
    return auc_of_ranks(ranks(scores.T)[:, group].sum(1), int(group.sum()), len(group))


def _table(case: Case, methods: Sequence[str]) -> str:
    """Fits all methods on the same places, scans once for the scores of all concepts, and returns the table."""
    places = Positions(max(1, ROWS // len(case.source.ids)), border=0)
    seen = tp.scan(case.model, case.source, {case.layer: [places]})[case.layer][0]
    made = {one: _timed(case, one, Rows(seen.vectors, seen.samples)) for one in methods}
    trackers = [Coded(Scores("max"), dictionary) for _, dictionary, _ in made.values()]
    scores = tp.scan(case.model, case.source, {case.layer: trackers})[case.layer]
    lines = [
        f"{case.name[0].upper()}{case.name[1:]}, `{case.layer}` of {case.model.name}, {case.n} concepts:\n",
        "| dictionary | R2 | R2 of its random twin | at work | dead | agreement | beyond chance | AUC: mean, least |",
        "|---|---|---|---|---|---|---|---|",
    ]
    if case.known is not None:
        lines[1:] = [f"{lines[1]} directions found |", f"{lines[2]}---|"]
    for (method, (found, dictionary, mine)), table in zip(made.items(), scores, strict=True):
        auc = torch.tensor(probe(table.scores, case.groups, case.chosen))
        twin = "" if method == "random" else told(found.null.r2)
        cells = (NAMES[method], told(mine.r2), twin, f"{mine.l0[0]:.0%}", f"{mine.dead[0]:.0%}", told(mine.agreement))
        line = f"| {' | '.join(cells)} | {_verdict(method, found)} | {float(auc.mean()):.2f}, {float(auc.min()):.2f} |"
        if case.known is not None:
            back = recovered(dictionary, case.known)
            line += f" {int(back.found.sum())} of {len(back.found)}, least .{float(back.cosine.min()) * 100:02.0f} |"
        lines.append(line)
    return "\n".join([*lines, ""])


def _timed(case: Case, method: str, rows: Rows) -> tuple[Judged, Dictionary, DictionaryNumbers]:
    begun = time.perf_counter()
    found = _fitted(case, method, rows)
    print(f"{case.name}, {method}: {time.perf_counter() - begun:.0f} s", flush=True)
    return found
