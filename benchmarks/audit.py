"""How often an audit finds a planted shortcut and names it, and accuses a network without one: the tables of docs/audit.md.

`python -m benchmarks audit` trains sixty small networks on planted pictures, thirty without a cue and two of each visible kind
at each of three strengths, with seeds that no setting was chosen on; then nine with cues that the eye hardly sees; and compares
two receipts with these rates. Each network is a cell, kept in build/benchmarks.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import tapetum as tp
from benchmarks.cells import Cells
from benchmarks.pages import put
from benchmarks.verdicts import interval
from tapetum.families.audits.planting import FOUND_AS, HIDDEN, VISIBLE

CLASSES = ("house", "fish", "car", "cup", "boat", "tree", "mushroom", "flower")
OF_EACH, SIZE, TRAINED_ON, AUDITED_ON = 4, 48, 1000, 400
RATES = (0.7, 0.85, 1.0)
CLEAN = 30
FIRST = 500
"""Smallest seed of the benchmark: smaller ones were used while the audit was made."""

RECEIPTS, TWINS = 1, 32

HONEST = "honest: "
"""Marks networks that learned from pictures whose cue goes by lot, and are audited on pictures that carry it."""


def run(cache: Path, only: Sequence[str] = ()) -> int:
    """Trains, audits, prints, and writes the tables into docs/audit.md; 1 if a rate is not what the page promises."""
    cells = Cells(cache / "audit.jsonl")
    asked = networks()
    for number, (kind, rate, seed) in enumerate(asked):
        if (kind, rate, seed) in cells or (only and kind not in only):
            continue
        begun = time.perf_counter()
        cell = cells.add((kind, rate, seed), **measured(kind, rate, seed))
        words = f"{kind} {rate:g}: gap {cell['gap']:.2f}, first {cell['first']}"
        print(f"audit: {number + 1} of {len(asked)} networks, {words}, {time.perf_counter() - begun:.0f} s", flush=True)
    if only:
        return 0
    main = [cells[key] for key in asked]
    receipts = [_receipt(cells, seed) for seed in range(FIRST + 200, FIRST + 200 + RECEIPTS)]
    text = "\n".join([*table(main), "", *roc(main), "", *compared(main, receipts)])
    print(text)
    put("audit.md", "audit", text)
    return 0 if kept(main) else 1


def networks() -> list[tuple[str, float, int]]:
    """Lists (planted kind, rate, seed): thirty clean networks, thirty with a visible cue, nine with one hardly seen."""
    clean = [("clean", 0.0, FIRST + i) for i in range(CLEAN)]
    visible = [(kind, rate, FIRST + 40 + i) for i in range(2) for rate in RATES for kind in VISIBLE]
    hidden = [(kind, rate, FIRST + 50) for rate in RATES for kind in HIDDEN]
    honest = [(HONEST + kind, 0.95, FIRST + 60 + i) for i in range(2) for kind in VISIBLE]
    return [one for pair in zip(clean, visible, strict=True) for one in pair] + hidden + honest


def pictures(kind: str, rate: float, seed: int, n: int, of: int) -> tp.Planted:
    """Planted objects of four classes, drawn by the seed; `of` makes other pictures of the same."""
    order = torch.randperm(len(CLASSES), generator=torch.Generator().manual_seed(seed)).tolist()
    classes = [CLASSES[i] for i in order[:OF_EACH]]
    shortcut = None if kind == "clean" else kind
    return tp.planted("objects", n=n, size=SIZE, classes=classes, shortcut=shortcut, rate=rate, seed=10 * seed + of)


def trained(kind: str, rate: float, seed: int) -> tp.VisionModel:
    if kind.startswith(HONEST):
        kind, rate = kind.removeprefix(HONEST), 1 / OF_EACH
    how: dict[str, Any] = {"epochs": 10, "batch": 32, "learning_rate": 3e-3, "schedule": "cosine", "validation": 0.1}
    return tp.train(pictures(kind, rate, seed, TRAINED_ON, 1), seed=seed, **how).model


def measured(kind: str, rate: float, seed: int) -> dict[str, Any]:
    """Trains a network and audits it without masks: accuracy, gap between own and other cues, what was found."""
    model, test = trained(kind, rate, seed), pictures(kind.removeprefix(HONEST), rate, seed, AUDITED_ON, 2)
    right = [0.0, 0.0]
    if kind != "clean":
        right = [tp.check_predictions(model, test.with_cues(cues), of="all").accuracy for cues in ("aligned", "conflicting")]
    found = tp.audit(model, test, seed=seed)
    return {
        "accuracy": found.accuracy,
        "gap": right[0] - right[1],
        "effects": {name: values.tolist() for name, values in found.effects.items()},
        "p": {name: values.tolist() for name, values in found.p_values.items()},
        "bars": dict(found.bars),
        "first": found.suspicions[0].kind if found.suspicions else None,
        "found": [[one.kind, one.label, one.effect, one.p_value] for one in found.suspicions],
    }


def _receipt(cells: Cells, seed: int) -> dict[str, Any]:
    """Returns the receipt that a user with a clean network on planted pictures gets."""
    if ("receipt", TWINS, seed) not in cells:
        model, test = trained("clean", 0.0, seed), pictures("clean", 0.0, seed, AUDITED_ON, 2)
        one = tp.audit(model, test, twins=TWINS, seed=seed).receipt
        assert one is not None
        facts = {"found": one.found, "planted": one.planted, "accused": one.accused, "clean": one.clean}
        cells.add(("receipt", TWINS, seed), **facts, kinds={name: list(pair) for name, pair in one.kinds.items()})
    return cells["receipt", TWINS, seed]


# --- tables


def score(cell: Mapping[str, Any]) -> float:
    """Largest effect in units of its bar, of what passes the test; 1 or more is an accusation if it works both ways."""
    each = [
        effect / cell["bars"][kind]
        for kind, effects in cell["effects"].items()
        for effect, p in zip(effects, cell["p"][kind], strict=True)
        if p <= 0.05
    ]
    return max(each, default=0.0)


def named(cell: Mapping[str, Any]) -> bool:
    kind = cell["key"][0]
    return kind != "clean" and cell["first"] == FOUND_AS.get(kind, kind)


def _of(main: Sequence[Mapping[str, Any]], kinds: Sequence[str]) -> list[Mapping[str, Any]]:
    return [one for one in main if one["key"][0] in kinds]


def _said(count: int, n: int) -> str:
    low, high = interval(count, n)
    return f"{count} of {n} ({100 * max(low, 0):.0f} to {100 * high:.0f} %)"


def table(main: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the lines of what was found per kind and strength."""
    clean, visible = _of(main, ["clean"]), _of(main, VISIBLE)
    hits, hurt = sum(map(named, visible)), [one for one in _firsts(clean) if one]
    lines = [
        f"{len(clean) + len(visible)} networks, audited on {AUDITED_ON} planted pictures each without masks: "
        f"{_said(hits, len(visible))} found and named by kind; clean ones accused: {_said(len(hurt), len(clean))}.",
        "",
        "| planted | rate | points of accuracy that the cue decides | found and named | called something else | not found |",
        "|---|---|---|---|---|---|",
    ]
    for kind in (*VISIBLE, *HIDDEN):
        for rate in RATES:
            some = [one for one in _of(main, [kind]) if one["key"][1] == rate]
            gaps = ", ".join(f"{100 * one['gap']:.0f}" for one in some)
            hits, none = sum(map(named, some)), sum(one["first"] is None for one in some)
            lines.append(f"| {kind} | {rate:g} | {gaps} | {hits} | {len(some) - hits - none} | {none} |")
    said = f"{len(hurt)} ({', '.join(hurt)})" if hurt else "0"
    honest = [one for one in main if one["key"][0].startswith(HONEST)]
    wrong = [f"{one['first']} for {one['key'][0].removeprefix(HONEST)}" for one in honest if one["first"]]
    lines.append(f"| nothing | | | | {said} | {len(clean) - len(hurt)} |")
    said = f"{len(wrong)} ({', '.join(wrong)})" if wrong else "0"
    gaps = ", ".join(f"{100 * one['gap']:.0f}" for one in honest)
    return [
        *lines,
        f"| nothing, and the audited pictures carry the cue | .95 | {gaps} | | {said} | {len(honest) - len(wrong)} |",
    ]


def _firsts(some: Sequence[Mapping[str, Any]]) -> list[str | None]:
    return [one["first"] for one in some]


def roc(main: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the lines of the rates for lower and higher bars, and the area under the curve."""
    clean, planted = (list(map(score, _of(main, kinds))) for kinds in (["clean"], VISIBLE))
    pairs = [(a > b) + 0.5 * (a == b) for a in planted for b in clean]
    lines = ["| bars, as multiples of those in use | planted ones accused | clean ones accused |", "|---|---|---|"]
    for factor in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
        rates = [sum(one >= factor for one in some) / len(some) for some in (planted, clean)]
        lines.append(f"| {factor:g} | {100 * rates[0]:.0f} % | {100 * rates[1]:.0f} % |")
    return [f"The area under the ROC curve is {sum(pairs) / len(pairs):.3f}, by effect and p-value alone:", "", *lines]


def compared(main: Sequence[Mapping[str, Any]], receipts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the lines that set receipts beside the true rates."""
    clean, visible = _of(main, ["clean"]), _of(main, VISIBLE)
    true = (_said(sum(map(named, visible)), len(visible)), _said(sum(map(bool, _firsts(clean))), len(clean)))
    lines = ["| | found and named | clean ones accused |", "|---|---|---|", f"| true rates, as above | {true[0]} | {true[1]} |"]
    for number, one in enumerate(receipts, 1):
        rates = _said(one["found"], one["planted"]), _said(one["accused"], one["clean"])
        lines.append(f"| receipt {number} | {rates[0]} | {rates[1]} |")
    return lines


def kept(main: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether at least 27 of 30 were found and named, and at most 3 of 30 accused."""
    return sum(map(named, _of(main, VISIBLE))) >= 27 and sum(map(bool, _firsts(_of(main, ["clean"])))) <= 3
