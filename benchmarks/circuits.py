"""Measures of edges, held to networks whose circuits are known and to ablation in a real one: tables of docs/howto/circuits.md.

`python -m benchmarks circuits --photos DIR` writes the tables between two marks of the page.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import get_args

import torch

import tapetum as tp
from benchmarks.mosaics import photographs
from benchmarks.pages import put
from tapetum.engines.circuits.groups import plan
from tapetum.engines.scores import as_score
from tapetum.engines.shares import wilson
from tapetum.families.circuits.growing import grow
from tapetum.families.circuits.judging import Judge
from tapetum.families.circuits.planted import TAUGHT, PlantedKind
from tapetum.families.circuits.subject import Subject, subject
from tapetum.types.circuits import Measure

SEEDS = range(10, 20)
LAYERS = {"trained": ["two", "three"]}
"""The layers whose units were taught; of other networks all."""

MEASURES: tuple[Measure, ...] = get_args(Measure)
MODEL, EDGES, FAN_IN, PICTURES = "efficientnet_lite0", 50, 6, 12
VEHICLES = (404, 408, 436, 444, 466, 468, 472, 484, 510, 554, 586, 612, 628, 654, 656, 670, 734, 780)
GROUPS = {"dogs": range(151, 269), "birds": range(7, 25), "vehicles": VEHICLES}


def run(folder: Path | None) -> int:
    """Measures, prints, and writes the tables into the page."""
    begun = time.perf_counter()
    tables = [leaderboard(), *confirmed(folder)]
    for one in tables:
        print(f"{one}\n{time.perf_counter() - begun:.0f} s", flush=True)
    if len(tables) > 1:
        put("howto/circuits.md", "circuits", "\n".join(tables).rstrip())
    return 0


def leaderboard() -> str:
    """Precision of as many edges as the circuit has, which then is the recall: by measure, mean over seeds, beside chance."""
    rows: list[str] = []
    for kind in get_args(PlantedKind):
        seeds = SEEDS[:5] if kind in TAUGHT else SEEDS
        right = {measure: [_planted(kind, seed, measure) for seed in seeds] for measure in MEASURES}
        chance = torch.tensor([_by_chance(kind, seed) for seed in seeds]).mean()
        cells = [f"{torch.tensor(right[measure]).mean():.2f}" for measure in MEASURES]
        rows.append(f"| {kind} | {len(seeds)} | {' | '.join(cells)} | {float(chance):.2f} |")
        print(rows[-1], flush=True)
    head = f"| planted | networks | {' | '.join(MEASURES)} | random edges |"
    return "\n".join([f"{head}\n|{'---|' * (len(MEASURES) + 3)}", *rows, ""])


def _planted(kind: PlantedKind, seed: int, measure: Measure) -> float:
    model, truth = tp.planted_circuit(kind, seed)
    return truth.compare(_found(model, truth, measure))[0]


def _found(model: tp.VisionModel, truth: tp.CircuitTruth, measure: Measure) -> tp.Circuit:
    ablation = (
        "mean" if truth.kind in TAUGHT else "zero"
    )  # other units are noise, not silent: away from their mean they tell nothing
    return tp.circuit(
        model, 0, truth.images, edges=len(truth.edges), measure=measure, layers=LAYERS.get(truth.kind), ablation=ablation,
        reference=truth.reference, test=False,
    )  # fmt: skip


def _by_chance(kind: PlantedKind, seed: int) -> float:
    """Share of planted edges among edges with random signs from any earlier node into the nodes of the planted circuit."""
    model, truth = tp.planted_circuit(kind, seed)
    with model.pinned(truth.images):
        groups = plan(model).named(model, LAYERS.get(kind))
        end = {f"{group.layer}:": group.step for group in groups} | {f"{group.layer} head": group.step for group in groups}
    pairs = 0
    for receiver in {target for _, target, _ in truth.edges}:
        step = next((at for name, at in end.items() if receiver.startswith(name)), None)
        pairs += sum(group.count for group in groups if step is None or group.step < step)
    return len(truth.edges) / pairs / 2  # half of them with the wrong sign


def confirmed(folder: Path | None) -> list[str]:
    """How many of the strongest edges ablation confirms in EfficientNet-Lite0, and how many random ones, by the same rule."""
    known = photographs(folder)
    if not known:
        print("circuits: no photographs; give --photos DIR with photos.csv and photos/")
        return []
    model = tp.load(MODEL)
    rows: list[str] = []
    for name, classes in GROUPS.items():
        files = [str(path) for path, index in known if index in classes][:PICTURES]
        images = model.preprocess(files)
        with model.pinned(images):
            for measure in ("patching", "gradient"):
                rows.append(_row(name, len(files), _subject(model, images, measure)))
                print(rows[-1], flush=True)
    head = "| photographs | measure | strongest edges confirmed (95 % interval) | random edges confirmed |"
    return ["\n".join([f"{head}\n|---|---|---|---|", *rows, ""])]


def _subject(model: tp.VisionModel, images: torch.Tensor, measure: Measure) -> Subject:
    groups = plan(model).named(model, None)
    score = as_score(model, images)
    return subject(score, images, groups, measure=measure, ablation="zero", reference=None, seed=0)


def _row(name: str, n: int, about: Subject) -> str:
    grown = grow(about, EDGES, FAN_IN)
    judge = Judge(about, grown, 0)
    good = [one.confirmed for one in judge.all()]
    other = judge.random(EDGES)
    low, high = wilson(torch.tensor(good).double().mean(), len(good))
    return (
        f"| {n} of {name} | {about.measure} | {sum(good)} of {len(good)} ({low:.0%} to {high:.0%}) | "
        f"{sum(other)} of {len(other)} |"
    )
