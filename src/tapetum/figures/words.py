"""Describes maps in words, for alternative texts, titles and captions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.types import Attribution, Reduce, Status

WORDS: dict[Status, str] = {
    "no_positive_evidence": "no positive evidence for this class",
    "constant": "the map is constant",
    "non_finite": "the map contains NaN or infinity",
}
"""Text for each status of a map that cannot be shown."""

UNITS: dict[Reduce, str] = {
    "sum": "signed share of the score (red for, blue against)",
    "positive": "positive evidence, no unit",
    "max_abs": "largest |value| over the channels",
}
SHORT_UNITS: dict[Reduce, str] = {"sum": "share of the score", "positive": "evidence", "max_abs": "|value|"}


def describe(attribution: Attribution, row: int = 0) -> str:
    """Describes where a map is strong: "strongest at the upper left; half of it lies in 12 % of the picture"."""
    status = attribution.status[row]
    if status != "ok":
        return WORDS[status]
    heatmap = attribution.heatmap("input")[row].detach().float().cpu()
    name = "evidence for it is" if attribution.reduce == "sum" else "the map is"
    strong = heatmap.clamp(min=0)
    if not bool((strong > 0).any()):
        return "all of the map speaks against it"
    area = half_area(strong)
    share = f"{area:.0%}".replace("%", " %") if area >= 0.01 else "less than 1 %"
    return f"{name} strongest at the {where(strong)}; half of it lies in {share} of the picture"


def where(heatmap: Tensor) -> str:
    """Names the place of a smoothed map's (h, w) peak: "centre", "upper left", "right"..."""
    blurred = F.adaptive_avg_pool2d(heatmap[None, None].float(), (9, 9))[0, 0]
    row, column = divmod(int(blurred.argmax()), 9)
    vertical, horizontal = ("upper", "", "lower")[row // 3], ("left", "", "right")[column // 3]
    if not vertical and not horizontal:
        return "centre"
    return f"{vertical} {horizontal}".strip() if horizontal else {"upper": "top", "lower": "bottom"}[vertical]


def half_area(heatmap: Tensor) -> float:
    """Returns the smallest share of pixels that together hold half of a non-negative map's sum."""
    mass = heatmap.flatten().double().sort(descending=True).values.cumsum(0)
    return float((torch.searchsorted(mass, mass[-1] / 2) + 1) / len(mass))


def grid(shape: Sequence[int]) -> str:
    """Writes the size of the last two axes, such as "7 × 7"."""
    return f"{shape[-2]} × {shape[-1]}"


def caption(attribution: Attribution) -> str:
    """Caption of a map: its layer, the size of its grid, and its unit."""
    layer = f"layer {attribution.layer} · " if attribution.layer else ""
    return f"{layer}{grid(attribution.values.shape)} grid · {UNITS[attribution.reduce]}"


def some(shown: int, total: int, what: str = "images") -> str:
    """Writes " (8 of 20 images)"; an empty text where all are shown."""
    return f" ({shown} of {total} {what})" if shown < total else ""


def shorten(words: str, most: int) -> str:
    """Shortens a text to `most` letters; an ellipsis marks the cut."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


def layer_name(name: str, most: int = 20) -> str:
    """Shortens a layer's name to `most` letters by dropping segments from the front, since the end tells layers apart."""
    if len(name) <= most:
        return name
    kept = name
    while "." in kept and len(kept) >= most:
        kept = kept.partition(".")[2]
    return f"…{kept[1 - most :]}"
