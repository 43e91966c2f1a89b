"""How far `suppress` closes the gap of a planted shortcut, and what it costs: a table of docs/howto/repair.md.

`python -m benchmarks suppress` trains small networks on planted pictures of four classes of which one carries a cue in 95 % of
its pictures, with seeds that no setting was chosen on; audits them; suppresses the first suspicion of that cue with 2400
pictures; and measures gap and costs on other pictures, in which the cue was drawn, not moved. Each network is a cell, kept in
build/benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

import tapetum as tp
from benchmarks.cells import Cells
from benchmarks.pages import put
from tapetum.training.data import labelled

KINDS = ("watermark", "border", "background", "texture", "color")
SEEDS = (31, 32)
CLASSES = ("house", "fish", "car", "cup")
FIRST = CLASSES[0]
"""The class that carries the cue."""

SIZE, TRAINED_ON, AUDITED_ON, MEASURED_ON = 48, 1000, 2400, 900


def run(cache: Path, only: Sequence[str] = ()) -> int:
    """Measures, prints, and writes the table; 1 if a gap that the audit found is not closed by four fifths."""
    cells, rows = Cells(cache / "suppress.jsonl"), list[dict[str, Any]]()
    for seed in SEEDS:
        for kind in KINDS:
            if only and kind not in only:
                continue
            begun = time.perf_counter()
            rows.append(cells[kind, seed] if (kind, seed) in cells else cells.add((kind, seed), **measured(kind, seed)))
            print(f"suppress: {rows[-1]}, {time.perf_counter() - begun:.0f} s", flush=True)
    text = "\n".join(table(rows))
    print(text)
    if not only:
        put("howto/repair.md", "suppress", text)
    found = [row for row in rows if row["how"]]
    return 0 if all(row["after"] <= 0.2 * row["before"] for row in found) else 1


def planted(n: int, seed: int, kind: str | None = None) -> tp.Planted:
    return tp.planted("objects", n, SIZE, classes=CLASSES, shortcut=kind, rate=0.95, seed=seed)


def pictures(kind: str, n: int, seed: int) -> tuple[Tensor, list[str]]:
    """Pictures with classes, of which those of the first class carry the cue in 95 of 100."""
    plain, cued = planted(n, seed), planted(n, seed, kind)
    first = (plain.targets == 0)[:, None, None, None]
    return torch.where(first, cued.pixels, plain.pixels), list(plain.labels)


def measured(kind: str, seed: int) -> dict[str, Any]:
    """Trains, audits and suppresses; accuracies before and after with the class's own cue and with the other's."""
    how: dict[str, Any] = {"epochs": 10, "batch": 32, "learning_rate": 3e-3, "schedule": "cosine", "validation": 0.1}
    model = tp.train(pictures(kind, TRAINED_ON, 100 + seed), seed=seed, **how).model
    source = labelled(pictures(kind, AUDITED_ON, 200 + seed))
    before = accuracies(model, kind, seed)
    facts: dict[str, Any] = {"before": _gap(before), "own": before[0][0], "how": ""}
    found = [one for one in tp.audit(model, source, seed=seed) if (one.kind, one.label) == (kind, FIRST)]
    if not found:
        return facts
    repair = tp.suppress(model, found[0], source=source, n=None, seed=seed)
    after = accuracies(repair.model, kind, seed)
    return {
        **facts,
        "how": repair.chosen,
        "after": _gap(after),
        "own after": after[0][0],
        "others": fmean(after[0][1:]) - fmean(before[0][1:]),
        "predicted": repair.predicted.others(repair.own),
        "measured": repair.measured.others(repair.own),
        "misled": [fmean(before[1][1:]), fmean(after[1][1:])],
    }


def accuracies(model: tp.VisionModel, kind: str, seed: int) -> tuple[list[float], list[float]]:
    """Accuracy of each class with the cue where it belongs (on the first alone), and with it on the others instead."""
    plain = planted(MEASURED_ON, 300 + seed)
    own = planted(MEASURED_ON, 300 + seed, kind).with_cues("aligned")
    lying = planted(3 * MEASURED_ON, 400 + seed, kind).with_cues("conflicting")
    lying = lying.take([i for i, cue in enumerate(lying.cues.tolist()) if cue == 0])
    usual, cued, misled = (_by_class(model, one) for one in (plain, own, lying))
    return [cued[0], *usual[1:]], [usual[0], *misled[1:]]


def _by_class(model: tp.VisionModel, data: tp.Planted) -> list[float]:
    with torch.no_grad():
        said = torch.cat([model(model.preprocessing(some)).argmax(1) for some in data.pixels.split(250)])
    labels = model.labels or ()
    right = torch.tensor([labels[i] == label for i, label in zip(said.tolist(), data.labels, strict=True)])
    return [float(right[data.targets == index].double().mean()) for index in range(len(CLASSES))]


def _gap(both: tuple[list[float], list[float]]) -> float:
    return fmean(both[0]) - fmean(both[1])


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the lines of the table, and the mean error of the predictions."""
    head = ("cue", "seed", "edit", "gap before", "after", "gone", "others", "predicted", "right with the cue on others")
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        kind, seed = row["key"]
        if not row["how"]:
            yield f"| {kind} | {seed} | not found by the audit | {row['before']:.3f} | | | | | |"
            continue
        gone, (was, now) = 1 - row["after"] / row["before"], row["misled"]
        costs = f"{100 * row['others']:+.1f} | {100 * row['predicted']:+.1f} | {100 * was:.0f} % → {100 * now:.0f} %"
        yield f"| {kind} | {seed} | {row['how']} | {row['before']:.3f} | {row['after']:.3f} | {100 * gone:.0f} % | {costs} |"
    errors = [abs(row["predicted"] - row["others"]) for row in rows if row["how"]]
    if errors:
        yield ""
        yield f"The predicted and the true change of the other classes differ by {100 * fmean(errors):.2f} points on average."
