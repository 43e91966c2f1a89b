"""Evaluates an attribution by metrics that are given by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from tapetum.border.subjects import border
from tapetum.registry import lookup, methods, parameters, places
from tapetum.types import Attribution, Evaluation, ImagesLike, Localization, Method, MethodError, ModelLike
from tapetum.types.text import split_names

Metrics: TypeAlias = Sequence[str] | Mapping[str, Mapping[str, Any]]
"""Names of metrics, in a list or in one text with commas, or {name: keywords of that metric}."""


def evaluate(
    model: ModelLike,
    images: ImagesLike,
    attribution: Attribution,
    metrics: Metrics = ("deletion", "insertion"),
    masks: Any = None,
    **params: Any,
) -> dict[str, Evaluation | Localization]:
    """Measures a map by several metrics: returns {metric: result}, whose `value` (n,) has one number per image.

    `tp.methods(kind="metric")` lists the metrics. Those of localization need `masks` (n, h, w) of the objects, on the images as
    the model saw them. A keyword goes to every metric that has one of that name, and is refused if none has;
    {"road": {"noise": 0}, "deletion": {}} gives each metric its own.

    Example:
        >>> maps = tp.grad_cam(model, images)
        >>> print(tp.evaluate(model, images, maps, {"deletion": {"n_steps": 4}, "completeness": {}})["deletion"])
    """
    named = {name: {} for name in split_names(metrics)} if isinstance(metrics, str) else metrics
    own = named if isinstance(named, Mapping) else {name: {} for name in named}
    rows = [_metric(name, masks) for name in own]
    given = {row.name: {**_shared(row, params), **own[row.name]} for row in rows}
    _check_used(rows, params)
    with border(model, images) as (network, ready):
        about = {"model": network, "images": ready, "attribution": attribution, "masks": masks}
        return {row.name: row.function(**{place: about[place] for place in places(row)}, **given[row.name]) for row in rows}


def _metric(name: str, masks: Any) -> Method:
    row = lookup(name)
    if row.kind != "metric":
        raise MethodError(f"{row.name} is no metric; there are {', '.join(one.name for one in methods(kind='metric'))}")
    if masks is None and "masks" in places(row):
        raise MethodError(f"{row.name} needs masks (n, h, w) of the objects: tp.evaluate(..., masks=masks)")
    return row


def _shared(row: Method, params: Mapping[str, Any]) -> dict[str, Any]:
    known = {one.name for one in parameters(row)}
    return {name: value for name, value in params.items() if name in known}


def _check_used(rows: Sequence[Method], params: Mapping[str, Any]) -> None:
    known = {one.name for row in rows for one in parameters(row)}
    for name in params:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"they have {', '.join(sorted(known)) or 'none'}"
            names = ", ".join(row.name for row in rows)
            raise MethodError(f"no parameter '{name}' of {names}; {hint}")
