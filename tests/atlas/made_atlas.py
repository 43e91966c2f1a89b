"""An atlas that is made up, to try the pages on: numbered shapes as pictures, units that like a color, a shape and a place.

A unit's score on a picture is w . f: f (pictures, 8) are the picture's color, shape, size and height, w (units, 8) is drawn.
So units have strongest pictures worth looking at, and neighbors (correlations of scores) that look alike.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

SITE = Path(__file__).parents[2] / "src/tapetum/atlas/site"
SHAPES = ("disc", "square", "triangle", "ring")
ODD = "odd names/50% #1 & a?.png"  # every character that a link must carry safely
SHEET = 16


@dataclass(frozen=True)
class Layer:
    """What the index says of a layer, and how its units are made."""

    name: str
    channels: int
    grid: int
    field: int | None
    rendered: tuple[str, ...] = ()
    map: bool = False
    rectified: bool = False
    full: bool = True  # all its files of units, else those of channel 0 and 15,000 alone

    @property
    def file(self) -> str:
        return self.name.replace(".", "-")


LAYERS = (
    Layer("blocks.0.0", 16, 112, 27),
    Layer("blocks.3.0", 80, 14, 123, rendered=("positive", "negative"), map=True),
    Layer("blocks.5.0", 32, 7, 300, rectified=True),
    Layer("head", 64, 1, None),
)


@dataclass(frozen=True)
class Data:
    """The pictures: features (n, 8), place of the shape (n, 2) in [0, 1], names."""

    features: np.ndarray
    places: np.ndarray
    ids: list[str]
    labels: list[str]


def made(pictures: int, seed: int = 0) -> Data:
    """Pictures as numbers, sorted by name."""
    draw = np.random.default_rng(seed)
    hue, size, shape = draw.random(pictures), draw.uniform(0.15, 0.4, pictures), np.sort(draw.integers(0, 4, pictures))
    places = draw.uniform(0.25, 0.75, (pictures, 2))
    one_hot = np.eye(4)[shape]
    color = np.stack([np.cos(2 * np.pi * hue), np.sin(2 * np.pi * hue)], 1)
    features = np.concatenate([color, one_hot, 4 * size[:, None] - 1, 2 * places[:, :1] - 1], 1)
    labels = [SHAPES[i] for i in shape]
    ids = [f"{label}/{i:05}.png" for i, label in enumerate(labels)]
    ids[-1] = ODD
    return Data(features.astype(np.float32), places, ids, labels)


def drawn(data: Data, picture: int, side: int = 128) -> Image.Image:
    """A numbered shape before a gradient."""
    f, (y, x) = data.features[picture], data.places[picture]
    hue = np.arctan2(f[1], f[0]) / (2 * np.pi) % 1
    ramp = np.linspace(70, 25, side, dtype=np.uint8)
    background = np.stack(
        [np.full((side, side), int(255 * ((hue + 0.5) % 1))), np.full((side, side), 90), ramp[:, None] + ramp], 2
    )
    image = Image.fromarray(background.astype(np.uint8), "HSV").convert("RGB")
    pen = ImageDraw.Draw(image)
    color = tuple(int(v) for v in Image.new("HSV", (1, 1), (int(255 * hue), 190, 235)).convert("RGB").tobytes())
    radius = (f[6] + 1) / 4 * side
    box = (x * side - radius, y * side - radius, x * side + radius, y * side + radius)
    kind = data.labels[picture]
    if kind == "disc":
        pen.ellipse(box, fill=color)
    elif kind == "ring":
        pen.ellipse(box, outline=color, width=max(3, int(radius / 3)))
    else:
        pen.regular_polygon((float(x * side), float(y * side), float(radius)), 4 if kind == "square" else 3, fill=color)
    pen.text((4, side - 14), str(picture), fill=(255, 255, 255))
    return image


def texture(weights: np.ndarray, side: int = 96) -> Image.Image:
    """What a unit of these weights might have been optimised for: waves of its color."""
    y, x = np.mgrid[:side, :side] / side
    turn, rate = weights[2] * 2, 4 + 10 * abs(weights[6])
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * rate * (x * np.cos(turn) + y * np.sin(turn)) + 2 * np.sin(6 * y + weights[3] * 3))
    hue = (np.arctan2(weights[1], weights[0]) / (2 * np.pi) + 0.12 * wave) % 1
    picture = np.stack([255 * hue, np.full_like(hue, 150), 70 + 170 * wave], 2)
    return Image.fromarray(picture.astype(np.uint8), "HSV").convert("RGB")


def sheets(tiles: list[Image.Image], folder: Path, name: str, rows: int = SHEET) -> dict[str, Any]:
    """Writes sprite sheets; answers what the format says of them."""
    side = tiles[0].width
    names = []
    for start in range(0, len(tiles), SHEET * rows):
        sheet = Image.new("RGB", (SHEET * side, rows * side))
        for i, tile in enumerate(tiles[start : start + SHEET * rows]):
            sheet.paste(tile, (i % SHEET * side, i // SHEET * side))
        file = folder / name.format(start // (SHEET * rows))
        file.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(file, quality=80, method=0)
        names.append(name.format(start // (SHEET * rows)))
    return {"tile": side, "columns": SHEET, "rows": rows, "sheets": names}


def put(folder: Path, path: str, key: str, value: object) -> None:
    """One data file."""
    file = folder / "data" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"atlas({json.dumps(key)}, {json.dumps(value, allow_nan=False)});\n", encoding="utf-8")


def rounded(values: np.ndarray) -> list[Any]:
    """As the format has numbers: five digits are enough to read."""
    return [float(f"{v:.5g}") for v in values.ravel()] if values.ndim == 1 else [rounded(row) for row in values]


class Made:
    """Writes the atlas into a folder; keeps the scores, for tests to compare what pages show with."""

    def __init__(self, folder: Path, pictures: int = 2000, wide: int = 0) -> None:
        self.folder, self.data = folder, made(pictures)
        extra = (Layer("wide", wide, 7, 300, rectified=True, full=False),) if wide else ()
        self.layers = LAYERS + extra
        shutil.copytree(SITE, folder, dirs_exist_ok=True)
        self.weights = [
            np.random.default_rng(i).normal(size=(layer.channels, 8)).astype(np.float32) for i, layer in enumerate(self.layers)
        ]
        self.scores = [self._scores(i) for i in range(len(self.layers))]
        tiles = [drawn(self.data, i) for i in range(pictures)]
        self.sprite = sheets(tiles, folder, "pictures/{:03}.webp")
        for number, layer in enumerate(self.layers):
            self._layer(number, layer)
        self._pictures()
        self._index()

    def _scores(self, number: int) -> np.ndarray:
        """(channels, pictures)."""
        scores = self.weights[number] @ self.data.features.T
        return np.maximum(scores, 0) if self.layers[number].rectified else scores

    def _index(self) -> None:
        layers = [
            {
                "name": layer.name, "file": layer.file, "kind": "InvertedResidual", "channels": layer.channels,
                "grid": [layer.grid] * 2, "receptive_field": layer.field, "stride": 224 // layer.grid,
                "signed": not layer.rectified, "tap": "output", "unit_chunk": 64, "map": layer.map,
                "rendered": list(layer.rendered),
            }
            for layer in self.layers
        ]  # fmt: skip
        n = len(self.data.ids)
        value = {
            "schema": 1, "title": "A made network on numbered shapes",
            "model": {
                "name": "made", "source": "drawn at random", "classes": 4, "weights": "seeds 0, 1, 2, ...",
                "weights_sha256": "9f2c" * 16, "size": 224,
                "sees": "shorter side resized to 256 px (bicubic), central 224 x 224 px",
            },
            "data": {
                "name": "shapes", "pictures": n, "labels": True, "skipped_count": 2,
                "skipped": [["ring/broken.png", "truncated file"], ["notes.txt", "no picture"]],
            },
            "made": "2026-01-02", "versions": {"tapetum": "0.1", "torch": "2.6"}, "score": "spatial maximum",
            "notes": ["Nothing here was computed by a network."], "layers": layers,
            "pictures": {"count": n, "chunk": 256, **self.sprite}, "served": False,
        }  # fmt: skip
        put(self.folder, "index.js", "index", value)

    def _layer(self, number: int, layer: Layer) -> None:
        scores = self.scores[number]
        top = np.argpartition(-scores, 9, axis=1)[:, :9]
        top = np.take_along_axis(top, np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable"), 1)
        labels = []
        for row in top:
            names, counts = np.unique([self.data.labels[i] for i in row], return_counts=True)
            labels.append(f"{names[counts.argmax()]} {counts.max()}/9" if counts.max() > 4 else None)
        made_of = {"positive": self.weights[number], "negative": -self.weights[number]}
        rows = -(-layer.channels // SHEET)
        sprites = {
            sign: sheets([texture(w) for w in made_of[sign]], self.folder, f"units/{layer.file}-{sign}-{{:03}}.webp", rows)
            if sign in layer.rendered
            else None
            for sign in made_of
        }
        columns = {
            "mean": scores.mean(1), "sd": scores.std(1), "sparsity": (scores <= 0).mean(1),
            "minimum": scores.min(1), "maximum": scores.max(1),
        }  # fmt: skip
        rest = {"non_negative": [int(layer.rectified)] * layer.channels, "top": top[:, :4].tolist(), "labels": labels}
        value = {**{name: rounded(values) for name, values in columns.items()}, **rest, "sprites": sprites}
        put(self.folder, f"layers/{layer.file}.js", f"layer:{layer.file}", value)
        chunks = range(-(-layer.channels // 64)) if layer.full else sorted({0, min(15_000, layer.channels - 1) // 64})
        for chunk in chunks:
            units = [self._unit(number, layer, c) for c in range(chunk * 64, min(layer.channels, chunk * 64 + 64))]
            put(self.folder, f"units/{layer.file}-{chunk:03}.js", f"units:{layer.file}:{chunk}", units)
        if layer.map:
            self._map(number, layer)

    def _unit(self, number: int, layer: Layer, channel: int) -> dict[str, Any]:
        scores = self.scores[number][channel]
        threshold = float(np.median(scores)) if layer.rectified else 0.0
        order = np.argsort(scores, kind="stable")
        below, above = order[scores[order] < threshold], order[scores[order] > threshold]

        def examples(pictures: np.ndarray) -> list[Any]:
            cells = np.minimum((self.data.places[pictures] * layer.grid).astype(int), layer.grid - 1)
            return [[int(p), rounded(scores[[p]])[0], *map(int, cell)] for p, cell in zip(pictures, cells, strict=True)]

        counts, edges = np.histogram(scores, bins=40)
        alike = np.corrcoef(np.concatenate([scores[None], self.scores[1]]))[0, 1:]
        if number == 1:
            alike[channel] = 0  # itself
        best, worst = np.argsort(-alike)[:6], np.argsort(alike)[:6]
        return {
            "channel": channel, "around": "median" if layer.rectified else "zero", "threshold": threshold,
            "spectrum": {
                "minimum": examples(order[:9]), "slightly_negative": examples(below[::-1][:9]),
                "slightly_positive": examples(above[:9]), "maximum": examples(order[::-1][:9]),
            },
            "histogram": {"edges": rounded(edges), "counts": counts.tolist()},
            "neighbors": [[1, int(c), float(alike[c])] for c in best],
            "opposite": [[1, int(c), float(alike[c])] for c in worst],
        }  # fmt: skip

    def fires(self) -> list[list[Any]]:
        """Per picture the 24 units of highest z: [layer, channel, score, z, percentile]."""
        few = range(len(LAYERS))
        scores = np.concatenate([self.scores[i] for i in few])
        units = [(i, c) for i in few for c in range(self.layers[i].channels)]
        z = (scores - scores.mean(1, keepdims=True)) / np.maximum(scores.std(1, keepdims=True), 1e-9)
        percentile = 100 * scores.argsort(1).argsort(1) / (scores.shape[1] - 1)
        best = np.argsort(-z, axis=0, kind="stable")[:24]
        return [
            [[*units[u], *rounded(np.array([scores[u, p], z[u, p], percentile[u, p]]))] for u in best[:, p]]
            for p in range(scores.shape[1])
        ]

    def _pictures(self) -> None:
        put(self.folder, "ids.js", "ids", {"ids": self.data.ids, "labels": self.data.labels})
        fires = self.fires()
        for chunk in range(-(-len(fires) // 256)):
            value = {"fires": fires[chunk * 256 : chunk * 256 + 256]}
            put(self.folder, f"pictures/{chunk:03}.js", f"pictures:{chunk}", value)

    def _map(self, number: int, layer: Layer, side: int = 14) -> None:
        """Cells by hue and height; corners are left empty, as a cloud of points leaves them."""
        cells, tiles, classes = [], [], {shape: [] for shape in SHAPES}
        f = self.data.features
        for row, column in np.ndindex(side, side):
            angle, height = 2 * np.pi * column / side, 2 * row / side - 1
            if (row - 6.5) ** 2 + (column - 6.5) ** 2 > 52:
                continue
            far = (f[:, 0] - np.cos(angle)) ** 2 + (f[:, 1] - np.sin(angle)) ** 2 + (f[:, 7] - height / 2) ** 2
            near = np.argsort(far, kind="stable")[:9]
            names, counts = np.unique([self.data.labels[i] for i in near], return_counts=True)
            for name, count in zip(names, counts, strict=True):
                classes[str(name)].append([len(cells), int(count)])
            mean = f[near].mean(0)
            values = self.weights[number] @ mean
            cells.append({
                "row": row, "column": column, "count": 9, "tile": len(cells), "pictures": near.tolist(),
                "labels": [[str(n), int(c)] for n, c in sorted(zip(names, counts, strict=True), key=lambda pair: -pair[1])],
                "units": [[int(c), rounded(values[[c]])[0]] for c in np.argsort(-values)[:6]],
            })  # fmt: skip
            tiles.append(texture(mean))
        sprite = sheets(tiles, self.folder, f"maps/{layer.file}-{{:03}}.webp", -(-len(tiles) // SHEET))
        value = {
            "grid": [side, side], "layout": "pca", "positions": 1, "cells": cells, "sprite": sprite,
            "classes": [[name, *found] for name, found in classes.items() if found],
            "notes": ["Cells of fewer than 3 places are left out."],
        }  # fmt: skip
        put(self.folder, f"maps/{layer.file}.js", f"map:{layer.file}", value)
