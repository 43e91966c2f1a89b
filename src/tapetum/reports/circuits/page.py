"""Writes `circuit.html`: the graph of a circuit, its pictures and numbers, as one page that opens offline.

The page is drawn by site/circuit.js, which is built from web/circuit; all that it shows is in the data that lie in the page.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from torch import Tensor

from tapetum.data.images import data_uri
from tapetum.keeping.places import ELSEWHERE, writable
from tapetum.reports.machine import nan_as_null
from tapetum.reports.markup import Markup, tag
from tapetum.reports.page import write_page
from tapetum.types import Circuit, CircuitCurve, CircuitEdge, TapetumError


def write_circuit(circuit: Circuit, file: str | Path) -> Path:
    """Writes a circuit as one self-contained page and returns its path; a failure leaves no partial file."""
    path = Path(file)
    if path.suffix.lower() not in (".html", ".htm"):
        raise TapetumError(f"a circuit's page is a .html file, not '{path.name}'")
    text = json.dumps({**content(circuit), "looks": _looks(circuit)}, ensure_ascii=False, allow_nan=False)
    data = tag("script", Markup(text.replace("<", "\\u003c")), type="application/json", id="circuit")
    without = tag("noscript", tag("p", "The graph is drawn by a script, which is not allowed here."), tag("pre", str(circuit)))
    body = (tag("div", without, id="page"), data)
    with writable(path, ELSEWHERE):
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_page(path, f"Circuit of {circuit.target}", body, _built("circuit.css"), _built("circuit.js"))


def content(circuit: Circuit) -> dict[str, Any]:
    """Returns a circuit as JSON types, without its pictures; numbers that are not finite become None."""
    looks = circuit.looks
    activations: list[Any] = [[] for _ in circuit.nodes] if looks is None else looks.activations.tolist()
    nodes = [
        {"name": str(node), "layer": node.layer, "kind": node.kind, "index": node.index, "activations": own}
        for node, own in zip(circuit.nodes, activations, strict=True)
    ]
    return nan_as_null({
        "model": circuit.model,
        "target": circuit.target,
        "measure": circuit.measure,
        "ablation": circuit.ablation,
        "groups": circuit.groups,
        "n_images": circuit.images,
        "nodes": nodes,
        "edges": [_edge(edge) for edge in circuit.edges],
        "faithfulness": None if circuit.faithfulness is None else _curve(circuit.faithfulness),
        "tests": [{**asdict(test), "outcome": test.outcome} for test in circuit.tests],
        "notes": list(circuit.notes),
    })  # fmt: skip


def target_of(page: bytes) -> str | None:
    """Returns the target of the circuit that a page shows, such as "blocks.4.1:5"; None if it is no page of a circuit."""
    _, found, rest = page.partition(b'<script type="application/json" id="circuit">')
    try:
        target = json.loads(rest.partition(b"</script>")[0])["target"] if found else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return target if isinstance(target, str) else None


def _edge(edge: CircuitEdge) -> dict[str, Any]:
    return {
        "source": edge.source,
        "target": edge.target,
        "weight": edge.weight,
        "importance": edge.importance,
        "patched": edge.patched,
        "interval": list(edge.interval),
        "chance": edge.chance,
        "confirmed": edge.confirmed,
        "stability": edge.stability,
    }


def _curve(curve: CircuitCurve) -> dict[str, Any]:
    return {
        "edges": list(curve.edges),
        "kept": {kind: kept.tolist() for kind, kept in curve.kept.items()},
        "random": curve.random.tolist(),
        "magnitude": curve.magnitude.tolist(),
    }


def _looks(circuit: Circuit) -> dict[str, Any]:
    """Returns the pictures as data URIs: {"pictures": {node: picture}, "examples": [{node, image, value, crop}]}."""
    looks = circuit.looks
    if looks is None:
        return {"pictures": {}, "examples": []}
    pictures = {str(node): _uri(one) for node, one in zip(looks.drawn, looks.pictures, strict=True)}
    examples = [
        {"node": one.node, "image": one.image, "value": one.value, "crop": _uri(crop)}
        for one, crop in zip(looks.examples, looks.crops, strict=True)
    ]
    return nan_as_null({"pictures": pictures, "examples": examples})


def _uri(levels: Tensor) -> str:
    return data_uri(levels.float() / 255)


def _built(name: str) -> str:
    return files("tapetum.reports.circuits").joinpath("site", name).read_text("utf-8")
