"""How often maps stand up that should, and maps that should not: the table of docs/choosing.md.

`python -m benchmarks verdicts` measures on photographs that no setting was chosen on (the odd rows of photos.csv) and writes
the table between two marks of the page. Each photograph is a cell, kept in build/benchmarks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import tapetum as tp
from benchmarks.cells import Cells
from benchmarks.mosaics import photographs
from benchmarks.pages import put
from tapetum.engines.scores import as_probability
from tapetum.engines.shares import wilson
from tapetum.families.nearness import SPLIT, near_among
from tapetum.families.verdicts import Trials, ask
from tapetum.families.verdicts.judging import TINY
from tapetum.types.explanations import TOGETHER

MODEL = "efficientnet_lite0"
PHOTOS = 50
SPLITS = 40
LEVEL = 0.05

ROWS: Mapping[str, str] = {
    "own": "the picture's own Grad-CAM",
    "layer_cam": "the picture's own LayerCAM",
    "other": "another photograph's Grad-CAM",
    "untrained": "Grad-CAM of the same network with random weights",
    "disc": "a disc in the middle",
    "square": "a square in the middle",
    "random 7": "a random map of 7 × 7",
    "random 3": "a smoother random map, of 3 × 3",
    "random 14": "a finer random map, of 14 × 14",
    "seven": "the best of seven random maps",
    "itself": "any map of a network with random weights, of its own answer",
}
"""{key: name of a row}. All are judged alone but `seven`, which is one of seven maps that were tried."""


def run(folder: Path | None, cache: Path, only: Sequence[str] = ()) -> int:
    """Measures, prints, and writes the table into docs/choosing.md; 1 if a rate is not what the page promises."""
    photos = photographs(folder)[1::2]
    if not photos:
        print("verdicts: no photographs; give --photos DIR with photos.csv and photos/")
        return 0
    begun, model, untrained = time.perf_counter(), tp.load(MODEL), tp.load(MODEL, weights=None)
    cells = Cells(cache / "verdicts.jsonl")
    usual = [photos[i] for i in range(0, len(photos), max(1, len(photos) // PHOTOS))][:PHOTOS]
    for i, (path, _) in enumerate(usual):
        if ("usual", path.name) not in cells:
            cells.add(("usual", path.name), **_usual(model, untrained, path, usual[(i + 1) % len(usual)][0], i))
            print(f"verdicts: {i + 1} of {len(usual)} photographs, {time.perf_counter() - begun:.0f} s", flush=True)
    split = _split(model, photos, cells)
    main = [cells["usual", path.name] for path, _ in usual]
    text = "\n".join([*table(main), "", *trade_off(main), "", *unions(split)])
    print(text)
    if not only:
        put("choosing.md", "verdicts", text)
    return 0 if all(kept(main, split)) else 1


# --- measuring


def _usual(model: tp.VisionModel, untrained: tp.VisionModel, path: Path, beside: Path, seed: int) -> dict[str, Any]:
    """Returns {row: verdict as plain numbers} of one photograph."""
    image, other = (model.preprocess(tp.read_image(one)) for one in (path, beside))
    own = tp.grad_cam(model, image)
    target = own.explains[0]

    def a_map(values: Tensor) -> tp.Attribution:
        return replace(own, values=values[None, None], status=("ok",), reduce="sum", layer=None)

    across, down = torch.meshgrid(torch.linspace(-1, 1, 224), torch.linspace(-1, 1, 224), indexing="xy")
    generator = torch.Generator().manual_seed(77_000 + seed)

    def drawn(side: int) -> tp.Attribution:
        return a_map(F.interpolate(torch.rand(1, 1, side, side, generator=generator), (224, 224), mode="bilinear")[0, 0])

    cases = {
        "own": [own],
        "layer_cam": [tp.layer_cam(model, image, target)],
        "other": [replace(own, values=tp.grad_cam(model, other).values)],
        "untrained": [tp.grad_cam(untrained, image, target)],
        "disc": [a_map(-(across**2 + down**2))],
        "square": [a_map(-torch.maximum(across.abs(), down.abs()))],
        **{f"random {side}": [drawn(side)] for side in (7, 3, 14)},
        "seven": [drawn(7) for _ in range(7)],
    }
    trials = Trials(model, image, [as_probability(model, image, [target])], seed)  # random maps are drawn once for all rows
    found = {name: _plain(ask(trials, maps, [0] * len(maps), LEVEL)) for name, maps in cases.items()}
    of_untrained = [method(untrained, image) for method in (tp.grad_cam, tp.layer_cam, tp.saliency)]
    return {**found, "itself": _plain(tp.judge(untrained, image, of_untrained, level=LEVEL, seed=seed).each)}


def _plain(verdicts: Sequence[tp.Verdict]) -> dict[str, Any]:
    """Returns the numbers of the map with the smallest p-value, one that stands up before others."""
    one = min(verdicts, key=lambda one: (not one.stands, one.p_value if one.tested else 2))
    margins = [margin / max(error, TINY) if abs(margin) > TINY else 0 for margin, error in one.margins.values()]
    return {
        "outcome": one.outcome,
        "p": one.p_value if one.tested else None,
        "margin": min(margins, default=None),
        "of": one.whole,
    }


def _split(model: tp.VisionModel, photos: Sequence[tuple[Path, int]], cells: Cells) -> list[dict[str, Any]]:
    """Returns for photographs whose answer is split among near classes the verdicts on the class alone and on the union."""
    found: list[dict[str, Any]] = []
    for i, (path, _) in enumerate(photos):
        if len(found) == SPLITS:
            break
        key = ("split", path.name)
        if key not in cells:
            image = model.preprocess(tp.read_image(path))
            near = near_among(model, [one for one in tp.predict(model, image)[0] if isinstance(one, tp.Prediction)])
            measured = {**_alone_and_union(model, image, near, i), "leads": _leads(model, path)} if near else {}
            cells.add(key, near=near, **measured)
            print(f"verdicts: {path.name}, {len(near)} near classes", flush=True)
        if cells[key]["near"]:
            found.append(cells[key])
    return found


def _alone_and_union(model: tp.VisionModel, image: Tensor, near: Sequence[int], seed: int) -> dict[str, Any]:
    """Returns the verdicts on Grad-CAM of the most probable class alone and of the union of near classes."""
    targets = {"alone": near[0], "union": tp.union(*near)}
    trials = Trials(model, image, [as_probability(model, image, [one]) for one in targets.values()], seed)
    maps = {name: tp.grad_cam(model, image, [one]) for name, one in targets.items()}
    return {name: _plain(ask(trials, [one], [i], LEVEL)) for i, (name, one) in enumerate(maps.items())}


def _leads(model: tp.VisionModel, path: Path) -> dict[str, bool]:
    """Returns whether a report on the photograph has a leading map of the class alone, and of the union."""
    roles = {"predicted": "alone", TOGETHER: "union"}
    return {roles[one.role]: one.leader is not None for one in tp.explain(model, path).questions if one.role in roles}


# --- tables


def stands(cell: Mapping[str, Any], level: float = LEVEL, errors: float = 1.0) -> bool:
    """Whether a map stands up by a stricter rule: p at most `level`, above edges and middle by `errors` standard errors."""
    return cell["margin"] is not None and cell["p"] <= level and cell["margin"] > errors


def _share(count: int, n: int) -> str:
    low, high = wilson(torch.tensor(count / n, dtype=torch.float64), n)
    return f"{count / n:.0%} ({max(float(low), 0):.0%} to {high:.0%})".replace("%", " %")


def table(main: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the lines of the table of rates."""
    n = len(main)
    lines = ["| map | stands up | 95 % interval | cannot be tested |", "|---|---|---|---|"]
    for key, name in ROWS.items():
        count = sum(stands(one[key]) for one in main)
        share, between = _share(count, n).split(" (")
        lost = sum(one[key]["p"] is None for one in main)
        lines.append(f"| {name} | {share} | {between.rstrip(')')} | {lost} |")
    return [f"{n} photographs, {MODEL}, of the predicted class:", "", *lines]


RULES: Mapping[str, tuple[float, float]] = {
    "p ≤ .05 against random maps alone": (0.05, -math.inf),
    "and above edges and middle": (0.05, 0.0),
    "**and by more than one standard error: the verdict**": (0.05, 1.0),
    "and by more than two": (0.05, 2.0),
    "p ≤ .01, by more than one": (0.01, 1.0),
}
"""{words: (level, standard errors)} of rules, from loose to strict."""


def trade_off(main: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the lines of the table of stricter and looser rules."""
    keys = ("own", "other", "random 7", "seven")
    lines = ["| rule | own Grad-CAM | another's | random | best of seven |", "|---|---|---|---|---|"]
    for words, (level, errors) in RULES.items():
        shares = [f"{sum(stands(one[key], level, errors) for one in main) / len(main):.0%}" for key in keys]
        lines.append(f"| {words} | {' | '.join(shares)} |".replace("%", " %"))
    return ["What a looser or a stricter rule would give:", "", *lines]


def unions(split: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns a sentence about the class alone and the union of near classes."""
    n = len(split)
    alone, union = (_share(sum(stands(one[key]) for one in split), n) for key in ("alone", "union"))
    leads = [_share(sum(one["leads"][key] for one in split), n) for key in ("alone", "union")]
    return [
        f"On {n} photographs whose answer is split (under {100 * SPLIT:.0f} %) among near classes, Grad-CAM of the most",
        f"probable class alone stands up on {alone}, that of the union on {union}.",
        "In reports, which try seven methods for the class and the best of them for the union, a map that depends on the class",
        f"leads the class alone on {leads[0]}, the union on {leads[1]}.",
    ]


def kept(main: Sequence[Mapping[str, Any]], split: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Returns whether each promise of the page holds."""
    n = len(main)
    rates = {key: sum(stands(one[key]) for one in main) / n for key in ROWS}
    slack = 2 * math.sqrt(0.05 * 0.95 / n)
    noise = [rates[key] <= 0.05 + slack for key in ROWS if key.startswith("random") or key in ("seven", "untrained", "itself")]
    lucky = [rates[key] <= 0.1 for key in ("other", "disc", "square")]
    together = sum(one["leads"]["union"] for one in split) >= sum(one["leads"]["alone"] for one in split)
    return [*noise, *lucky, rates["own"] >= 0.6, together]
