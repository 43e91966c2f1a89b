"""Tables for the terminal, plain text so that they can be piped."""

from __future__ import annotations

from tapetum.models.vision_model import VisionModel

HEADER = ("layer", "kind", "shape", "parameters", "receptive field", "stride")


def layer_table(model: VisionModel, pattern: str) -> str:
    """The layers that a glob means, aligned; "-" where a number is not defined."""
    names = set(model.find_layers(pattern))
    rows = [HEADER] + [
        (
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape)),
            f"{layer.parameters:,}",
            "-" if layer.receptive_field is None else str(layer.receptive_field),
            "-" if layer.stride is None else str(layer.stride),
        )
        for layer in model.layers()
        if layer.name in names
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
