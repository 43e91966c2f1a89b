"""Pictures against torch-lucent: the same network, units, size and number of steps, in one run.

Ours makes ten units in a batch, Lucent one after the other, as it can. Both times are of steps alone, medians of rounds in
turn; the score is the mean activation of each finished picture as it is, by one judge.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import tapetum as tp
from benchmarks.quality import CHANNELS, LAYERS, photo_percentiles
from tapetum.engines.render import Recipe, measure, optimize, render
from tapetum.engines.render import objectives as O
from tapetum.engines.render.optimize import Precision
from tapetum.engines.render.parametrizations import Start

LAYER = "inception4a"
UNITS = 10
SIZE = (128, 128)
ROUNDS = 3
STEPS = 8
"""Timed steps in a round; the time of the first two is taken off, which pay for everything that is found out once."""

AGAINST_LUCENT = 4.0
BATCH_OF_16 = 0.5
FULL_STEPS = 48
"""Steps of the pictures whose scores are compared."""


@dataclass(frozen=True)
class Line:
    """A claim, what was measured, and whether it holds."""

    claim: str
    measured: str
    holds: bool


def run(photos: Path | None, cache: Path) -> int:
    """All claims, one line each; 1 if one does not hold."""
    lines: list[Line] = []
    for claim in (against_lucent, batch_of_16, lambda: above_photographs(photos, cache)):
        for line in claim():
            lines.append(line)
            print(f"{'ok  ' if line.holds else 'NOT '}{line.claim}: {line.measured}", flush=True)
    return 0 if all(line.holds for line in lines) else 1


def against_lucent() -> list[Line]:
    """Time and scores of ten units."""
    model = tp.load("googlenet", weights=None)
    twin = model.module
    times: dict[str, list[float]] = {"ours": [], "ours, fast": [], "lucent": [], "lucent as it comes": []}
    for _ in range(ROUNDS):
        times["ours"].append(_seconds_a_step(lambda n: _ours(model, UNITS, n)))
        times["ours, fast"].append(_seconds_a_step(lambda n: _ours(model, UNITS, n, "fast")))
        times["lucent"].append(UNITS * _seconds_a_step(lambda n: _lucent(twin, 0, n, SIZE[0])))
        times["lucent as it comes"].append(UNITS * _seconds_a_step(lambda n: _lucent(twin, 0, n, None)))
    step = {name: statistics.median(some) for name, some in times.items()}
    ratio, usual = step["lucent"] / step["ours"], step["lucent as it comes"] / step["ours"]
    mine, theirs = _scores(model, twin)
    shown = f"{step['ours'] * 1e3:.0f} ms a step, Lucent {step['lucent'] * 1e3:.0f} ms at {SIZE[0]} px ({ratio:.1f}x)"
    more = f", {step['lucent as it comes'] * 1e3:.0f} ms as it comes, enlarging to 224 px ({usual:.1f}x)"
    fast = f"; with bfloat16 {step['ours, fast'] * 1e3:.0f} ms"
    wins = int((mine >= theirs).sum())
    return [
        Line(
            f"{UNITS} units of GoogLeNet's {LAYER} at least {AGAINST_LUCENT:g}x", shown + more + fast, ratio >= AGAINST_LUCENT
        ),
        Line(
            f"score after {FULL_STEPS} steps equal or higher",
            f"mean {float(mine.mean()):.3g}, Lucent {float(theirs.mean()):.3g}; higher for {wins} of {UNITS} units",
            float(mine.mean()) >= float(theirs.mean()),
        ),
    ]


def batch_of_16() -> list[Line]:
    """The time of sixteen units at once and of sixteen single runs, and that they are the same pictures."""
    lines = []
    for name, layer in (("googlenet", LAYER), ("efficientnet_lite0", "blocks.4.2")):
        model = tp.load(name, weights=None)
        together, alone = [], []
        for _ in range(ROUNDS):
            together.append(_seconds_a_step(lambda n, m=model, at=layer: _ours(m, 16, n, layer=at)))
            alone.append(16 * _seconds_a_step(lambda n, m=model, at=layer: _ours(m, 1, n, layer=at)))
        share = statistics.median(together) / statistics.median(alone)
        a = _ours(model, 16, 12, layer=layer)
        b = torch.cat([_ours(model, 1, 12, layer=layer, first=i) for i in range(16)])
        differ = float((a - b).abs().max())
        lines.append(Line(f"16 units of {name} in at most {BATCH_OF_16:g} of the time", f"{share:.2f}", share <= BATCH_OF_16))
        lines.append(Line("the same pictures", f"largest difference {differ:.0e} after 12 steps (float32)", differ <= 1e-5))
    return lines


def above_photographs(photos: Path | None, cache: Path) -> list[Line]:
    """Whether pictures of the default recipe drive their units above the 99.9th percentile over photographs."""
    model = tp.load("efficientnet_lite0")
    reference = photo_percentiles(model, photos, cache)
    lines = []
    for layer in LAYERS:
        made = tp.visualize(model, [f"{layer}:{i}" for i in CHANNELS], n_steps=64)
        times = made.scores / torch.tensor([reference[layer][i] for i in CHANNELS])
        shown = ", ".join(f"{float(value):.1f}x" for value in times)
        lines.append(Line(f"{layer}: above the 99.9th percentile of the photographs", shown, bool((times > 1).all())))
    return lines


def _seconds_a_step(work: Callable[[int], Any]) -> float:
    seconds = []
    for n in (2, 2 + STEPS):
        start = time.perf_counter()
        work(n)
        seconds.append(time.perf_counter() - start)
    return (seconds[1] - seconds[0]) / STEPS


def _ours(
    model: tp.VisionModel, n: int, n_steps: int, precision: Precision = "exact", layer: str = LAYER, first: int = 0
) -> Tensor:
    objectives = [O.channel(layer, i) for i in range(first, first + n)]
    start = Start(SIZE, variants=(0,) * n, rows=tuple(range(n)))
    recipe = Recipe(n_steps=n_steps, redirect=0, precision=precision)
    with model.pinned():
        *_, last = optimize(model, O.each(objectives), recipe, start)
    return last.pixels()


def _lucent(module: torch.nn.Module, unit: int, n_steps: int, enlarged: int | None) -> Tensor:
    from lucent.optvis import param
    from lucent.optvis.render import render_vis

    images = render_vis(
        copy.deepcopy(module),  # it leaves its hooks behind
        f"{LAYER}:{unit}",
        lambda: param.image(SIZE[0]),
        thresholds=(n_steps,),
        progress=False,
        show_image=False,
        fixed_image_size=enlarged,
    )
    return torch.as_tensor(images[-1]).movedim(-1, 1)


def _scores(model: tp.VisionModel, twin: torch.nn.Module) -> tuple[Tensor, Tensor]:
    """(units,) of ours and of Lucent's pictures after the same number of steps, judged alike."""
    objectives = [O.channel(LAYER, i) for i in range(UNITS)]
    mine = render(model, objectives, Recipe(n_steps=FULL_STEPS), size=SIZE).scores
    theirs = [_lucent(twin, i, FULL_STEPS, SIZE[0]) for i in range(UNITS)]
    return mine, torch.cat([measure(model, one, pixels.float()) for one, pixels in zip(objectives, theirs, strict=True)])
