"""Evaluates an attribution by metrics that are given by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tapetum.border.subjects import border
from tapetum.registry import lookup, methods, places
from tapetum.types import Attribution, Evaluation, ImagesLike, Localization, MethodError, ModelLike


def evaluate(
    model: ModelLike,
    images: ImagesLike,
    attribution: Attribution,
    metrics: Sequence[str] = ("deletion", "insertion"),
    masks: Any = None,
    **params: Any,
) -> dict[str, Evaluation | Localization]:
    """Returns {metric: result} for an attribution; metrics of localization need `masks` (n, h, w) of the objects."""
    rows = [lookup(name) for name in metrics]
    for row in rows:
        if row.kind != "metric":
            raise MethodError(f"{row.name} is no metric; there are {', '.join(one.name for one in methods(kind='metric'))}")
        if masks is None and "masks" in places(row):
            raise MethodError(f"{row.name} needs masks (n, h, w) of the objects: tp.evaluate(..., masks=masks)")
    with border(model, images) as (network, ready):
        about = {"model": network, "images": ready, "attribution": attribution, "masks": masks}
        return {row.name: row.function(**{place: about[place] for place in places(row)}, **params) for row in rows}
