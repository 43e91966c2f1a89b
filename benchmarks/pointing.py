"""The grid-pointing table: every attribution method, by how much of its map lies on the class it was asked about.

The rows come from the registry. A method gets a time, not a number of maps: costly ones see fewer mosaics, and the standard
error says what that is worth. Peers on the same mosaics stand between the methods, for reference.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import captum.attr
import torch
import torch.nn.functional as F
from torch import Tensor

import tapetum as tp
from benchmarks.cells import Cells
from benchmarks.mosaics import VARIABLE, Mosaic, mosaics, photographs, share
from tapetum.types import Contrast

MOSAICS = 24  # 96 photographs: of 500, 115 are recognised with .95
FEWEST = 4  # maps of a slow method: one in each quarter
LONGEST = 5  # times a method's seconds, if it has two maps by then

SMALLER: dict[str, tuple[dict[str, Any], str]] = {
    "rise": ({"n_masks": 128}, "4000 masks are minutes a map"),
    "smooth_grad": ({"n_samples": 10}, "the share changes little behind ten samples"),
    "smooth_grad_squared": ({"n_samples": 10}, "as SmoothGrad"),
    "var_grad": ({"n_samples": 10}, "as SmoothGrad"),
    "smooth_grad_cam_plus_plus": ({"n_samples": 10}, "as SmoothGrad"),
    "integrated_gradients": ({"n_steps": 16}, "Gauss-Legendre has converged to a few per cent"),
    "gradient_shap": ({"n_samples": 10}, "as SmoothGrad"),
    "blur_integrated_gradients": ({"n_steps": 16}, "as integrated gradients"),
    "guided_integrated_gradients": ({"n_steps": 16}, "as integrated gradients"),
    "occlusion": ({"window": 112, "stride": 56}, "one of the four photographs is 224 px wide"),
    "lime": ({"n_samples": 100}, "a pass is a tenth of a second"),
    "kernel_shap": ({"n_samples": 100, "n_segments": 16}, "six samples a segment"),
    "shapley_sampling": ({"n_samples": 4, "n_segments": 16}, "64 passes"),
    "sobol": ({"n_designs": 4}, "260 passes"),
    "hsic": ({"n_samples": 128}, "128 passes"),
    "extremal_perturbation": ({"n_steps": 60}, "each step is a pass and its gradient"),
    "xrai": ({"n_steps": 16}, "as integrated gradients"),
    "score_cam": ({"layer": "blocks.6"}, "320 channels; the first layer that is never negative has 1280"),
    "ss_cam": ({"layer": "blocks.6", "n_samples": 2}, "as Score-CAM, and each sample is as many passes again"),
    "is_cam": ({"layer": "blocks.6", "n_steps": 2}, "as Score-CAM, and each step is as many passes again"),
}
"""Settings below the default, and why. A method that is not here runs as it comes."""

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "grad_cam at bn2": ("grad_cam", {"layer": "bn2"}),
    "grad_cam at blocks.5": ("grad_cam", {"layer": "blocks.5"}),
    "finer_cam, alpha 0.6": ("finer_cam", {"alpha": 0.6}),
}
"""Rows beside the defaults: name to method and keywords."""

Explain = Callable[[Mosaic, int], tuple[Tensor, str]]


@dataclass(frozen=True)
class Row:
    """How a row makes the map (h, w) of one quarter's class, and its status."""

    name: str
    family: str
    explain: Explain
    note: str = ""


@dataclass(frozen=True)
class Result:
    row: Row
    cells: tuple[Mapping[str, Any], ...]

    @property
    def by_mosaic(self) -> list[float]:
        """The mean share in each mosaic, over its maps that have a positive part."""
        found: dict[int, list[float]] = {}
        for cell in self.cells:
            if cell["share"] is not None:
                found.setdefault(cell["key"][1], []).append(cell["share"])
        return [statistics.fmean(shares) for shares in found.values()]

    @property
    def share(self) -> float:
        return statistics.fmean(self.by_mosaic) if self.by_mosaic else math.nan

    @property
    def stderr(self) -> float:
        means = self.by_mosaic
        return statistics.stdev(means) / math.sqrt(len(means)) if len(means) > 1 else math.nan

    @property
    def seconds(self) -> float:
        return statistics.fmean(cell["seconds"] for cell in self.cells)


def rows(model: tp.VisionModel) -> Iterator[Row]:
    """Every registered attribution method, the variants, the peers."""
    for method in tp.methods(kind="attribution"):
        keywords, why = SMALLER.get(method.name, ({}, ""))
        said = ", ".join(f"{key} {value}" for key, value in keywords.items())
        yield Row(method.name, method.family, _ours(model, method.name, keywords), f"{said}: {why}" if said else "")
    for name, (method, keywords) in VARIANTS.items():
        yield Row(name, "variant", _ours(model, method, keywords))
    yield from peers(model)


def _ours(model: tp.VisionModel, method: str, keywords: Mapping[str, Any]) -> Explain:
    def explain(mosaic: Mosaic, quarter: int) -> tuple[Tensor, str]:
        target: int | Contrast = mosaic.classes[quarter]
        found = getattr(tp, method)(model, mosaic.image, target, **keywords)
        return found.heatmap()[0], found.status[0]

    return explain


def peers(model: tp.VisionModel) -> Iterator[Row]:
    """captum on the same network: its Grad-CAM at three layers, which the user has to name, and two gradient methods."""
    network = model.module
    for layer in ("blocks.6", "bn2", "blocks.5"):
        cam = captum.attr.LayerGradCam(network, network.get_submodule(layer))
        yield Row(f"captum LayerGradCam {layer}", "peer", _peer(cam.attribute))
    yield Row("captum Saliency", "peer", _peer(captum.attr.Saliency(network).attribute))
    yield Row("captum InputXGradient", "peer", _peer(captum.attr.InputXGradient(network).attribute))


def _peer(attribute: Callable[..., Tensor]) -> Explain:
    def explain(mosaic: Mosaic, quarter: int) -> tuple[Tensor, str]:
        values = attribute(mosaic.image.clone().requires_grad_(), mosaic.classes[quarter]).detach()
        positive = values.sum(1, keepdim=True).clamp(min=0)  # before the upsampling, as in the papers
        large = F.interpolate(positive, mosaic.image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
        return large, "ok" if large.max() > 0 else "no_positive_evidence"

    return explain


def measure(row: Row, scenes: list[Mosaic], cells: Cells, seconds: float) -> Result:
    """Maps of this row until its time is over: first one quarter of every mosaic in turn, then the others."""
    done: list[Mapping[str, Any]] = []
    for turn in range(4 * len(scenes)):
        lap, number = divmod(turn, len(scenes))
        quarter = (number + lap) % 4
        key = (row.name, number, quarter, row.note)
        if key not in cells:
            if _enough(done, seconds):
                break
            cells.add(key, **_cell(row, scenes[number], quarter))
        done.append(cells[key])
    return Result(row, tuple(done))


def _enough(done: list[Mapping[str, Any]], seconds: float) -> bool:
    """A refusal is not asked for again and again; what takes very long gets two maps."""
    spent = sum(cell["seconds"] for cell in done)
    over = spent > seconds or all(cell["status"] == "refused" for cell in done)
    return (len(done) >= FEWEST and over) or (len(done) >= 2 and spent > LONGEST * seconds)


def _cell(row: Row, mosaic: Mosaic, quarter: int) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        heatmap, status = row.explain(mosaic, quarter)
    except tp.TapetumError as refusal:
        return {"share": None, "status": "refused", "seconds": time.perf_counter() - start, "why": str(refusal)}
    return {"share": share(heatmap, quarter), "status": status, "seconds": time.perf_counter() - start}


def table(results: list[Result]) -> str:
    """Sorted by share; `maps` is how many were made, `other` how many of them have another status than ok."""
    head = f"{'method':34} {'family':13} {'share':>6} {'s.e.':>6} {'maps':>5} {'s/map':>7}  other"
    ordered = sorted(results, key=lambda one: (math.isnan(one.share), -one.share if not math.isnan(one.share) else 0.0))
    return "\n".join([head, *map(_line, ordered)])


def _line(one: Result) -> str:
    other = Counter(cell["status"] for cell in one.cells if cell["status"] != "ok")
    said = "; ".join([*(f"{count} {status}" for status, count in other.items()), *([one.row.note] if one.row.note else [])])
    return (
        f"{one.row.name:34} {one.row.family:13} {one.share:6.3f} {one.stderr:6.3f} {len(one.cells):5d} "
        f"{one.seconds:7.2f}  {said}"
    ).rstrip()


def run(folder: Path | None, cache: Path, seconds: float, only: list[str]) -> int:
    """The whole table, or the rows whose names contain one of the words `only`."""
    photos = photographs(folder)
    if not photos:
        print(f"pointing: no photographs; give a folder with photos.csv and photos/ by --photos or ${VARIABLE}")
        return 1
    model = tp.load("efficientnet_lite0")
    print(f"grid pointing: {model.name}, {torch.get_num_threads()} threads, {seconds:g} s a method", flush=True)
    scenes = mosaics(model, photos, MOSAICS)
    cells = Cells(cache / "pointing.jsonl")
    results: list[Result] = []
    for row in rows(model):
        if not only or any(word in row.name for word in only):
            results.append(measure(row, scenes, cells, seconds))
            print(_line(results[-1]), flush=True)
    print(f"\n{table(results)}")
    return 0
