"""A walk through a circuit: scene by scene, from the units near the image to the score, each with the edges that lead to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import wrap

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from tapetum.data.images import to_uint8
from tapetum.figures.circuits import EXCITES, INHIBITS
from tapetum.figures.theme import LIGHT
from tapetum.types import Circuit, CircuitEdge, TapetumError

FACE_PX, ROW_PX, COLUMN_PX, EDGE_PX = 64, 92, 132, 24
MOST = 8
"""Largest number of nodes of a layer in a scene: those with the most important edges."""

FINE = 2  # drawn at twice the size, then shrunk: smooth lines
PAST = 0.4  # how strongly edges of earlier scenes are seen
STEPS = 24  # points of a curve


def scenes(circuit: Circuit) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
    """Returns a caption and a picture (3, h, w) for each layer and for the score; each adds its nodes to those before."""
    if circuit.looks is None or not circuit.edges:
        raise TapetumError("this circuit has no nodes with pictures to walk through: take one that tp.circuit made, with edges")
    layout = _layout(circuit)
    faces = _faces(circuit)
    order = range(len(layout.columns))
    return tuple(_caption(circuit, layout, i) for i in order), tuple(_scene(circuit, layout, faces, i) for i in order)


@dataclass(frozen=True)
class _Layout:
    """Nodes of each layer from top to bottom, and the left upper corners (x, y) of their pictures."""

    columns: tuple[tuple[int, ...], ...]
    counts: tuple[int, ...]
    places: Mapping[int, tuple[int, int]]
    size: tuple[int, int]

    def step(self, node: int) -> int:
        return next(i for i, column in enumerate(self.columns) if node in column)


def _layout(circuit: Circuit) -> _Layout:
    columns = _columns(circuit)
    tall = max(map(len, columns))
    places = {
        node: (EDGE_PX + x * COLUMN_PX, EDGE_PX + round((tall - len(column)) / 2 * ROW_PX) + y * ROW_PX)
        for x, column in enumerate(columns)
        for y, node in enumerate(column)
    }
    size = 2 * EDGE_PX + (len(columns) - 1) * COLUMN_PX + FACE_PX, 2 * EDGE_PX + tall * ROW_PX
    layers = [node.layer for node in circuit.nodes]
    counts = tuple(layers.count(layers[column[0]]) for column in columns)
    return _Layout(columns, counts, places, size)


def _columns(circuit: Circuit) -> tuple[tuple[int, ...], ...]:
    """Returns, layer by layer, the nodes with the most important edges into nodes that are shown, at the height of those."""
    score = len(circuit.nodes) - 1
    height, found = {score: 0.0}, [(score,)]
    for layer in reversed(dict.fromkeys(node.layer for node in circuit.nodes[:-1])):
        own = [i for i in range(score) if circuit.nodes[i].layer == layer]
        total = {i: _sum(circuit, i, dict.fromkeys(height, 1.0)) for i in own}
        strong = sorted((i for i in own if total[i]), key=lambda i: -total[i])[:MOST]
        column = sorted(strong, key=lambda i: (_sum(circuit, i, height) / total[i], i))
        height |= {node: i - (len(column) - 1) / 2 for i, node in enumerate(column)}
        found += [tuple(column)] if column else []
    return tuple(reversed(found))


def _sum(circuit: Circuit, source: int, values: Mapping[int, float]) -> float:
    """Returns the sum over a node's edges of |importance| x the value of the node that they lead to; 0 for unknown nodes."""
    return sum(abs(one.importance) * values.get(one.target, 0.0) for one in circuit.edges if one.source == source)


def _caption(circuit: Circuit, layout: _Layout, i: int) -> str:
    column, nodes = layout.columns[i], circuit.nodes
    if i == len(layout.columns) - 1:
        return circuit.target
    many = f", {len(column)} of {layout.counts[i]}" if layout.counts[i] > len(column) else ""
    return f"{nodes[column[0]].layer}{many}: {', '.join(nodes[one].short for one in column)}"


def _faces(circuit: Circuit) -> dict[int, Tensor]:
    """Returns a picture of each node, from 0 to 255: its feature visualisation, or the part of an image where it is largest."""
    looks = circuit.looks
    assert looks is not None
    parts = {one.node: crop for one, crop in reversed(list(zip(looks.examples, looks.crops, strict=True)))}
    return {**parts, **dict(zip(looks.drawn, looks.pictures, strict=True))}


# --- one scene


def _scene(circuit: Circuit, layout: _Layout, faces: Mapping[int, Tensor], now: int) -> Tensor:
    page = Image.new("RGB", (FINE * layout.size[0], FINE * layout.size[1]), LIGHT.card)
    draw = ImageDraw.Draw(page)
    seen = {node for column in layout.columns[: now + 1] for node in column}
    into = {edge.target: sum(abs(one.importance) for one in circuit.into(edge.target)) for edge in circuit.edges}
    edges = [edge for edge in circuit.edges if {edge.source, edge.target} <= seen]
    for edge in sorted(edges, key=lambda one: layout.step(one.target)):
        strength = 1.0 if layout.step(edge.target) == now else PAST
        share = abs(edge.importance) / (into[edge.target] or 1)
        _line(draw, edge, layout, share, strength * (1 if edge.confirmed else PAST))
    for node in seen:
        _node(page, draw, circuit, node, layout.places[node], faces.get(node))
    small = page.resize(layout.size, Image.Resampling.LANCZOS)
    return torch.from_numpy(np.asarray(small).copy()).permute(2, 0, 1).float() / 255


def _line(draw: ImageDraw.ImageDraw, edge: CircuitEdge, layout: _Layout, share: float, strength: float) -> None:
    """Draws a curve: red, solid, with an arrow where the source excites; blue, dashed, with a bar where it inhibits."""
    (x, y), (u, v) = layout.places[edge.source], layout.places[edge.target]
    start, end = (float(x + FACE_PX), y + FACE_PX / 2), (float(u - 8), v + FACE_PX / 2)
    color = _mixed(EXCITES if edge.weight > 0 else INHIBITS, strength)
    pull = (end[0] - start[0]) / 2
    points = [_bezier(start, end, pull, i / STEPS) for i in range(STEPS + 1)]
    width = round(FINE * (1 + 4 * share))
    for i in range(STEPS):
        if edge.weight > 0 or i % 3:
            draw.line([points[i], points[i + 1]], color, width)
    (a, b), reach = points[-1], 5 * FINE
    if edge.weight > 0:
        draw.polygon([(a, b - reach), (a + 1.6 * reach, b), (a, b + reach)], color)
    else:
        draw.rectangle([a, b - 1.5 * reach, a + FINE * 3, b + 1.5 * reach], color)


def _bezier(start: tuple[float, float], end: tuple[float, float], pull: float, t: float) -> tuple[float, float]:
    corners = (start, (start[0] + pull, start[1]), (end[0] - pull, end[1]), end)
    shares = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
    x, y = (FINE * sum(share * corner[axis] for share, corner in zip(shares, corners, strict=True)) for axis in (0, 1))
    return x, y


def _mixed(color: str, strength: float) -> tuple[int, int, int]:
    """Returns a colour that fades into the page."""
    own, page = (tuple(int(one[i : i + 2], 16) for i in (1, 3, 5)) for one in (color, LIGHT.card))
    red, green, blue = (round(strength * a + (1 - strength) * b) for a, b in zip(own, page, strict=True))
    return red, green, blue


def _node(
    page: Image.Image, draw: ImageDraw.ImageDraw, circuit: Circuit, node: int, place: tuple[int, int], face: Tensor | None
) -> None:
    x, y = FINE * place[0], FINE * place[1]
    side, font = FINE * FACE_PX, ImageFont.load_default(FINE * 11)
    if face is not None:
        page.paste(Image.fromarray(to_uint8(face.float() / 255)).resize((side, side), Image.Resampling.BICUBIC), (x, y))
    draw.rectangle([x, y, x + side, y + side], None if face is not None else LIGHT.wash, LIGHT.muted)
    words = circuit.nodes[node].short
    if circuit.nodes[node].kind == "score":
        inside = "\n".join(wrap(words, 10)[:5])
        draw.multiline_text((x + side / 2, y + side / 2), inside, LIGHT.ink, font, "mm", align="center")
        return
    draw.text((x + side / 2, y + side + 4 * FINE), words if len(words) < 15 else f"{words[:13]}…", LIGHT.ink, font, "ma")
