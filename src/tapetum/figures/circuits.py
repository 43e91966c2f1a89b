"""Draws circuits: nodes layer by layer from left to right, signed edges, and what the strongest edges keep of the score."""

from __future__ import annotations

from typing import Any

from tapetum.figures import canvas
from tapetum.figures.draw import draw
from tapetum.figures.overlay import colorize
from tapetum.figures.theme import LIGHT, NOTE_PT, Figure
from tapetum.types import Circuit, CircuitCurve, ExpandedWeights

EXCITES, INHIBITS = "#b1182b", "#2065ab"
"""Colours of positive and negative edges: the ends of the diverging scale."""

COLUMN_IN, ROW_IN = 1.9, 0.42
THICKEST = 4.0
DASHES = (3, 1.5)
FAINT = 0.3
"""Opacity of an edge that taking the source away did not confirm, or of which that cannot be told."""


@draw.register
def _(result: Circuit) -> Figure:
    """Draws the graph, columns in the order in which layers run; thickness is an edge's share of the edges into its target."""
    layers = list(dict.fromkeys(node.layer if node.kind != "score" else "" for node in result.nodes))
    columns = [[i for i, n in enumerate(result.nodes) if (n.layer if n.kind != "score" else "") == layer] for layer in layers]
    height = max(2.4, ROW_IN * max(map(len, columns), default=1) + 0.6)
    curve = 2.4 if result.faithfulness is not None else 0.0
    figure = canvas.page(max(6.0, COLUMN_IN * len(columns)), height + curve, f"Circuit of {result.target}", _summary(result))
    grid = figure.add_gridspec(1 + bool(curve), 1, height_ratios=[height, curve] if curve else [height])
    _graph(figure.add_subplot(grid[0, 0]), result, columns, layers)
    if result.faithfulness is not None:
        _curve(figure.add_subplot(grid[1, 0]), result.faithfulness)
    return figure


def _summary(result: Circuit) -> str:
    tests = ", ".join(f"{test.name} {test.outcome}" for test in result.tests)
    first = f"{result.model} · {len(result.edges)} edges by {result.measure} · {result.confirmed_text}"
    return f"{first}\nred, solid: excites · blue, dashed: inhibits · faint: not confirmed{' · ' + tests if tests else ''}"


def _graph(axes: Any, result: Circuit, columns: list[list[int]], layers: list[str]) -> None:
    places: dict[int, tuple[float, float]] = {}
    for x, column in enumerate(columns):
        for y, node in enumerate(column):
            places[node] = (float(x), (len(column) - 1) / 2 - y)
    largest = {one.target: max(abs(e.weight) for e in result.into(one.target)) for one in result.edges}
    for edge in sorted(result.edges, key=lambda one: abs(one.weight) / largest[one.target]):
        share = abs(edge.weight) / largest[edge.target]
        color = EXCITES if edge.weight > 0 else INHIBITS
        style = {"color": color, "lw": 0.5 + (THICKEST - 0.5) * share, "alpha": 0.75 if edge.confirmed else FAINT}
        start, end = places[edge.source], places[edge.target]
        bend = 0.0 if end[0] - start[0] <= 1 else 0.18
        way = {"arrowstyle": "-", "connectionstyle": f"arc3,rad={bend}", "linestyle": "-" if edge.weight > 0 else (0, DASHES)}
        axes.annotate("", end, start, arrowprops={**way, **style})
    for node, (x, y) in places.items():
        one = result.nodes[node]
        axes.plot([x], [y], "o", color=LIGHT.accent if one.kind != "score" else LIGHT.ink, markersize=7, zorder=3)
        axes.text(x, y + 0.2, one.short, fontsize=NOTE_PT, color=LIGHT.ink, ha="center", va="bottom", parse_math=False)
    low = min((y for _, y in places.values()), default=0.0)
    for x, layer in enumerate(layers):
        axes.text(x, low - 0.7, layer, fontsize=NOTE_PT, color=LIGHT.muted, ha="center", va="top", parse_math=False)
    axes.set_xlim(-0.6, len(columns) - 0.4)
    axes.set_ylim(low - 1.2, max((y for _, y in places.values()), default=0.0) + 0.8)
    axes.set_axis_off()


def _curve(axes: Any, found: CircuitCurve) -> None:
    """Draws what circuits keep of the score against their number of edges."""
    colors = {"zero": LIGHT.accent, "mean": LIGHT.ink, "resample": LIGHT.caution}
    for kind, kept in found.kept.items():
        axes.plot(
            found.edges, kept.numpy(), color=colors[kind], lw=1.5, marker="o", markersize=3, label=f"this circuit, {kind}"
        )
    random = found.random.nanmean(0).numpy()
    axes.plot(found.edges, random, color=LIGHT.muted, lw=1, ls="--", label="random edges")
    axes.plot(found.edges, found.magnitude.numpy(), color=LIGHT.muted, lw=1, ls=":", label="largest outputs")
    canvas.plot(axes, "edges", "score kept")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks(found.edges, [str(k) for k in found.edges])
    axes.minorticks_off()
    axes.set_ylim(-0.6, 1.15)
    axes.legend(fontsize=NOTE_PT, frameon=False, labelcolor=LIGHT.ink, loc="center left", bbox_to_anchor=(1.0, 0.5))
    canvas.heading(axes, "What the strongest edges keep of the score: 1 is the whole network, 0 as far off as without any node")


MOST_KERNELS = 24


@draw.register
def _(result: ExpandedWeights) -> Figure:
    """Draws the strongest channels' kernels, on one scale that is centred at zero."""
    shown = [c for c in result.strongest(MOST_KERNELS) if bool(result.weights[c].any())] or result.strongest(1)
    columns = min(8, len(shown))
    rows = -(-len(shown) // columns)
    _, h, w = result.weights.shape
    title = f"What {result.unit} hears of {result.source}"
    words = f"{result.model} · the {len(shown)} strongest of {len(result.weights)} channels, kernels of {h} × {w} places"
    figure = canvas.page(max(4.5, 1.3 * columns + 0.6), 1.45 * rows, title, words)
    grid = canvas.panels(figure, rows, columns)
    top = float(result.weights[shown].abs().max()) or 1.0
    for axes, channel in zip(grid.flat, shown, strict=False):
        canvas.image(
            axes,
            colorize(result.weights[channel], "sum", top),
            f"{channel}",
            smooth=False,
            note=f"sum {float(result.weights[channel].sum()):+.2g}",
        )
    canvas.colorbar(grid.flat[-1], "sum", top, "weight")
    return figure
