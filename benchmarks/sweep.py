"""The sweep: does a plain call give a map on every architecture? Every cell is a network and a method, weights random.

A cell ends as a status of the map (`ok`, `constant`, ...), as a typed refusal, or as a crash, which is a bug here. The
methods spread over the families; their settings are small, since what is asked is whether, not how well.
"""

from __future__ import annotations

import gc
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import tapetum as tp
from benchmarks.cells import Cells
from benchmarks.sweep_models import family, names, network

METHODS: dict[str, dict[str, Any]] = {
    "grad_cam": {},
    "layer_cam": {},
    "ablation_cam": {},
    "saliency": {},
    "integrated_gradients": {"n_steps": 4},
    "smooth_grad": {"n_samples": 2},
    "guided_backprop": {},
    "lrp": {},
    "attention_rollout": {},
    "occlusion": {},
    "rise": {"n_masks": 4, "cells": 3},
    "lime": {"n_samples": 12},
}
"""Every engine is here; occlusion gets a third of the image as its window. `--methods` takes any other method as well."""

Outcome = dict[str, Any]


def run(cache: Path, only: list[str], methods: list[str]) -> int:
    """Fills the table, one network in memory at a time, and prints it; 1 if anything crashed."""
    cells = Cells(cache / "sweep.jsonl")
    asked = methods or list(METHODS)
    models = [name for name in names(cells) if not only or any(word in name for word in only)]
    for name in models:
        _fill(cells, name, [method for method in asked if (name, method) not in cells])
    print(report(cells, models, asked))
    return int(any(cells[name, method]["outcome"] == "crash" for name in models for method in asked))


def _fill(cells: Cells, name: str, methods: list[str]) -> None:
    if not methods:
        return
    model, image = network(name)
    before = _state(model)
    for method in methods:
        start = time.perf_counter()
        found = outcome(model, image, method)
        if _state(model) != before:
            found = {"outcome": "crash", "why": "the user's model was changed"}
        cell = cells.add((name, method), **found, side=image.shape[-1], seconds=round(time.perf_counter() - start, 2))
        if cell["outcome"] != "ok":
            print(f"{name} {method}: {_said(cell)}", flush=True)
    del model
    gc.collect()


def outcome(model: tp.VisionModel, image: Tensor, method: str) -> Outcome:
    keywords = dict(METHODS.get(method, {}))
    if method == "occlusion":
        keywords = {"window": image.shape[-1] // 3, "stride": image.shape[-1] // 3}
    try:
        found = getattr(tp, method)(model, image, **keywords)
    except tp.TapetumError as refusal:
        return {"outcome": "refused", "kind": type(refusal).__name__, "why": str(refusal)}
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        shown = [*[one for one in frames if "tapetum" in one.filename][-1:], frames[-1]]
        where = ", ".join(f"{Path(one.filename).name}:{one.lineno}" for one in shown)
        return {"outcome": "crash", "why": f"{type(error).__name__}: {str(error)[:300]} ({where})"}
    return {"outcome": found.status[0], "layer": found.layer, "shape": list(found.values.shape[1:])}


def _state(model: tp.VisionModel) -> tuple[object, ...]:
    """What must not change: hooks, modes, gradients and versions of the user's tensors."""
    parts = list(model.module.modules())
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks) for part in parts)
    tensors = [*model.module.parameters(), *model.module.buffers()]
    return hooks, [part.training for part in parts], [(one._version, one.requires_grad, one.grad is None) for one in tensors]


# --- the table


def report(cells: Cells, models: list[str], methods: list[str]) -> str:
    """Counts by method and by family, then everything that is neither a map nor a refusal."""
    every = [(name, method) for name in models for method in methods if (name, method) in cells]
    outcomes = Counter(cells[key]["outcome"] for key in every)
    fine = sum(outcomes[kind] for kind in ("ok", "refused"))
    head = [
        f"sweep: {len(models)} networks x {len(methods)} methods, random weights, torch {torch.__version__}",
        f"{len(every)} cells: {', '.join(f'{count} {kind}' for kind, count in outcomes.most_common())}; "
        f"a map or a typed refusal: {fine / max(1, len(every)):.1%}",
    ]
    kinds = [kind for kind, _ in outcomes.most_common()]
    by_method = _counts("method", kinds, ((method, cells[name, method]["outcome"]) for name, method in every))
    by_family = _counts("family", kinds, ((family(name), cells[name, method]["outcome"]) for name, method in every))
    odd = [f"{name} {method}: {_said(cells[name, method])}" for name, method in every if cells[name, method]["outcome"] != "ok"]
    refusals = Counter(
        (method, cells[name, method]["why"].replace(name, "it"))
        for name, method in every
        if cells[name, method]["outcome"] == "refused"
    )
    why = [f"{count:4d}  {method}: {reason}" for (method, reason), count in refusals.most_common()]
    others = [line for line in odd if ": refused" not in line]
    return "\n".join([*head, "", *by_method, "", *by_family, "", "refusals", *why, "", "all that is neither", *others])


def _counts(title: str, kinds: list[str], pairs: Iterable[tuple[str, str]]) -> list[str]:
    found = Counter(pairs)
    rows = list(dict.fromkeys(row for row, _ in found))
    head = f"{title:34}" + "".join(f"{kind:>22}" for kind in kinds)
    return [head, *(f"{row:34}" + "".join(f"{found[row, kind] or '-':>22}" for kind in kinds) for row in rows)]


def _said(cell: Outcome) -> str:
    layer = f" at {cell['layer']}" if cell.get("layer") else ""
    return f"{cell['outcome']}{layer} {cell.get('kind', '')} {cell.get('why', '')}".strip()
