"""Results as JSON: `as_json(result)` by type, as `figures.draw` draws by type."""

from __future__ import annotations

import base64
import io
import math
import threading
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tapetum.data.images import to_uint8, webp
from tapetum.figures.overlay import limit
from tapetum.figures.words import WORDS, describe
from tapetum.types import ActivationMaps, Attribution, Evaluation, Number, Prediction, Reduce, Rendering, TapetumError
from tapetum.types.attributions import reduced
from tapetum.types.verdicts import SHORT, Verdict, Verdicts

LIVE_QUALITY = 82
"""Quality of WebP for pictures of work that goes on; finished ones are sent without loss."""

_drawing = threading.Lock()  # matplotlib's caches are shared by all threads

Json = dict[str, Any]


@singledispatch
def as_json(result: Any) -> Json:
    """Returns a result as the page shows it; one without a form of its own as its figure, or as its words."""
    from tapetum.figures.draw import has_figure, png, show

    words = str(result)
    try:
        with _drawing:
            if not has_figure(result) and not (isinstance(result, list) and result):
                return {"type": "words", "words": words}
            picture = png(result)
            alt = str(getattr(show(result), "title", type(result).__name__))
    except (TapetumError, TypeError):
        return {"type": "words", "words": words}
    return {"type": "figure", "picture": _uri("png", picture), "alt": alt, "words": words}


@as_json.register
def _(result: Attribution) -> Json:
    """Maps at the method's own resolution; the page draws them at `size`, as `Attribution.heatmap` does."""
    own, shown = result.heatmap(None), result.heatmap()
    errors = None if result.stderr is None else result.stderr.float().mean(1)
    rows: list[Json] = []
    for row, status in enumerate(result.status):
        ok = status == "ok"
        rows.append({
            "target": result.target[row], "status": status, "words": describe(result, row),
            "why": None if ok else WORDS[status],
            "map": as_map(own[row], limit(shown[row])) if ok else None,
            "stderr": as_map(errors[row]) if ok and errors is not None else None,
        })  # fmt: skip
    maps = {"layer": result.layer, "reduce": result.reduce, "size": list(result.size), "maps": rows}
    return {"type": "maps", **maps, "tried": {name: list(map(_number, tried)) for name, tried in result.tried.items()}}


@as_json.register
def _(result: Rendering) -> Json:
    layout = None if result.layout is None else list(result.layout)
    return {
        "type": "pictures",
        "pictures": [_uri("png", _png(one)) for one in result.pixels],
        "size": list(result.pixels.shape[-2:]),
        "objectives": list(result.objectives),
        "scores": _numbers(result.scores),
        "status": list(result.status),
        "numbers": {name: _numbers(one) for name, one in result.numbers.items() if one.ndim == 1},
        "steps": list(result.steps),
        "values": [] if result.values is None else [_numbers(row) for row in result.values],
        "layout": layout,
    }


@as_json.register
def _(result: Verdicts) -> Json:
    return {"type": "verdicts", "maps": result.maps, "rows": [_verdict(one) for one in result.each]}


def _verdict(one: Verdict) -> Json:
    return {
        "method": one.method, "target": one.target, "picture": one.image, "outcome": one.outcome, "stands": one.stands,
        "tested": one.tested, "words": one.words, "short": SHORT[one.outcome], "p_value": _number(one.p_value),
        "faithfulness": _number(one.faithfulness), "edges": _number(one.edges), "centre": _number(one.centre),
        "null": _numbers(one.null), "whole": _number(one.whole), "measures": one.measures, "tried": one.tried,
        "level": one.level, "hidden": {name: _number(value) for name, value in one.hidden.items()},
    }  # fmt: skip


@as_json.register
def _(result: Evaluation) -> Json:
    status = list(result.status) or ["ok"] * len(result.value)
    return {
        "type": "numbers", "metric": result.metric, "better": result.better, "measures": result.measures,
        "values": _numbers(result.value), "status": status, "limits": list(result.limits), "words": str(result),
        "fraction": _numbers(result.fraction), "curves": [_numbers(row) for row in result.curve],
    }  # fmt: skip


@as_json.register
def _(result: list) -> Json:
    if result and all(isinstance(one, ActivationMaps) for one in result):
        return {"type": "channels", "layers": [_channels(one) for one in result]}
    if result and all(isinstance(row, list) and row for row in result) and isinstance(result[0][0], (Prediction, Number)):
        return {"type": "predictions", "rows": [[_prediction(one) for one in row] for row in result]}
    return as_json.dispatch(object)(result)


def _channels(maps: ActivationMaps) -> Json:
    pictures = [
        [{"channel": int(channel), "map": as_map(one)} for channel, one in zip(channels, values, strict=True)]
        for channels, values in zip(maps.channels.tolist(), maps.values, strict=True)
    ]
    signed = bool((maps.values < 0).any())
    return {"layer": maps.layer, "size": list(maps.size), "by": maps.by, "signed": signed, "pictures": pictures}


def _prediction(one: Prediction | Number) -> Json:
    name = {"index": one.index, "label": one.label}
    return {**name, "probability": one.probability} if isinstance(one, Prediction) else {**name, "value": _number(one.value)}


# --- numbers


def as_map(values: Tensor, top: float | None = None) -> Json:
    """Returns a map (h, w) as its bytes, float32 in little endian, with the magnitude that gets the full colour."""
    plain = values.detach().float().cpu().contiguous()
    finite = plain[plain.isfinite()]
    ends = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    data = base64.b64encode(plain.numpy().astype("<f4").tobytes()).decode()
    top = limit(plain) if top is None else top
    return {"shape": list(plain.shape), "data": data, "top": _number(top), "low": ends[0], "high": ends[1]}


def _number(value: float) -> float | None:
    """A number in JSON, which has no NaN and no infinity: they are null."""
    value = float(value)
    return value if math.isfinite(value) else None


def _numbers(values: Tensor) -> list[float | None]:
    return [_number(one) for one in values.detach().double().cpu().flatten().tolist()]


# --- pictures


def live_pictures(pixels: Tensor) -> list[str]:
    """Returns pictures (n, 3 | 4, h, w) of work that goes on as data URIs, quick to encode."""
    return [_uri("webp", webp(_levels(one), LIVE_QUALITY)) for one in pixels]


def live_maps(values: Tensor, reduce: Reduce) -> list[Json]:
    """Returns the maps so far, from values (n, c, h, w), with the channels reduced as the method's maps are."""
    return [as_map(one) for one in reduced(values.float(), reduce)[:, 0]]


def _png(pixels: Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray(_levels(pixels)).save(file, "PNG")
    return file.getvalue()


def _levels(pixels: Tensor) -> np.ndarray:
    return to_uint8(torch.nan_to_num(pixels.detach().float().cpu()))


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
