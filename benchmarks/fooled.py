"""Pictures that lie: how many planted fooling circuits `tp.visualize(..., check=True)` flags, and how many honest units.

The thresholds of the check were chosen on 80 units of eight layers (seed 1) that are not among those drawn here. A circuit
whose detector the finished picture does not open fooled nobody: it is reported, not counted, and another one is planted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import tapetum as tp
from benchmarks.fooling import SITES, Detector, detector, planted
from tapetum.data.sources import find_images
from tapetum.types import PathCheck

N = 20
PICTURE: dict[str, Any] = {"size": 96, "n_steps": 128, "preset": "clear"}
FOR_DETECTORS = ("blocks.2.0:5", "blocks.3.0:7", "blocks.3.1:4", "blocks.4.0:3", "blocks.4.2:8", "blocks.5.0:9")
"""Units on whose pictures in the making the detectors are fitted."""


def run(folder: Path | None) -> int:
    """Prints the table; 1 if a planted circuit passes or more than one honest unit is flagged."""
    if folder is None:
        print("fooled: no photographs; give --photos DIR with photos.csv and photos/")
        return 0
    model = tp.load("efficientnet_lite0")
    files = find_images([str(folder / "photos")])
    fitted, seen = [file for i, file in enumerate(files) if i % 3], files[::3]
    detectors = _detectors(model, fitted)
    images = torch.cat([model.preprocess(tp.read_image(file)) for file in seen[:50]])
    generator = torch.Generator().manual_seed(2)
    missed = fooled = i = 0
    while fooled < N:
        place = ("early", "late")[i % 2]
        layers = SITES[place][3]
        layer, kind = layers[i // 2 % len(layers)], ("added", "switch")[i // 4 % 2]
        unit, lie = _two(model, layer, generator)
        net = tp.wrap(planted(model.module, detectors[place], layer, unit, lie, kind), size=224, mean=0.5, std=0.5)
        made = tp.visualize(net, f"blocks.{layer}:{unit}", check=True, source=seen, **PICTURE)
        lies = _lies(model, layer, unit, made)
        fooled, missed, i = fooled + lies, missed + (lies and not made.checks[0].flagged), i + 1
        what = "planted" if lies else "fooled nobody"
        print(f"{what} {kind:6} {_kept(model, net, layer, unit, images):.4f} {made.checks[0]}", flush=True)
    accused = 0
    for layer in ("3.1", "4.1", "5.1", "6.0"):
        units = [_two(model, layer, generator)[0] for _ in range(N // 4)]
        for found in _check(model, f"blocks.{layer}", units, seen):
            accused += found.flagged
            print(f"honest {found}", flush=True)
    print(f"flagged: {N - missed} of {N} planted, {accused} of {N} honest")
    return int(missed > 0 or accused > 1)


def _detectors(model: Any, files: list[str]) -> dict[str, Detector]:
    frames = [tp.visualize(model, unit, frames=(1, 2, 4, 8, 16), **PICTURE).frames for unit in FOR_DETECTORS]
    made = model.preprocessing.normalize(torch.cat([one.flatten(0, 1) for one in frames if one is not None]))
    natural = torch.cat([model.preprocess(tp.read_image(file)) for file in files])
    return {place: detector(model.module, place, natural, made) for place in SITES}


def _two(model: Any, layer: str, generator: torch.Generator) -> tuple[int, int]:
    channels = model.survey[f"blocks.{layer}"].channels
    unit, lie = torch.randperm(channels, generator=generator)[:2].tolist()
    return unit, lie


def _check(model: Any, layer: str, units: list[int], files: list[str]) -> tuple[PathCheck, ...]:
    return tp.visualize(model, [f"{layer}:{unit}" for unit in units], check=True, source=files, **PICTURE).checks


def _lies(model: Any, layer: str, unit: int, made: Any) -> bool:
    """Whether the planted path drives a unit on its picture: without it the unit's mean is less than half as large."""
    with torch.no_grad(), tp.capture(model, f"blocks.{layer}") as acts:
        model(model.preprocessing.normalize(made.pixels))
    return float(acts[f"blocks.{layer}"][0, unit].mean()) < 0.5 * float(made.scores[0])


def _kept(model: Any, net: Any, layer: str, unit: int, images: Tensor) -> float:
    """Returns the correlation of the unit's map over photographs before and after planting."""
    maps: list[Tensor] = []
    for one in (model, net):
        with torch.no_grad(), tp.capture(one, f"blocks.{layer}") as acts:
            one(images)
        maps.append(acts[f"blocks.{layer}"][:, unit].flatten())
    return float(torch.corrcoef(torch.stack(maps))[0, 1])
