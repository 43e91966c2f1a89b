"""Methods as the registry lists them, and the ranges of their parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from tapetum.types.attributions import Reduce
from tapetum.types.targets import Scale

Batch: TypeAlias = Annotated[int | Literal["auto"], 'images per pass, or "auto".']
"""Images per forward pass; "auto" measures the memory that the model needs and uses what is free."""

Precision: TypeAlias = Annotated[Literal["exact", "fast"], "exact, or fast (bfloat16 in the network)."]
"""exact: the model's own precision. fast: bfloat16 in the network (autocast); optimised pictures keep their precision."""

FourQuestions: TypeAlias = Literal["looks_for", "found", "mattered", "trust"]

Kind: TypeAlias = Literal["attribution", "metric", "inspection", "rendering", "survey"]

Takes: TypeAlias = Literal["images", "pictures", "units", "source", "maps", "model"]
"""Subject of a method besides the model: images, cut and normalised as the model wants them; pictures as they are, in [0, 1]
and at their own size; units of the network; a data set; maps alone, without a model; or nothing but the model."""


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, for `Annotated[int, Range(1, 500)]`: checked when called, and shown in CLI and docs."""

    low: int | float
    high: int | float


@dataclass(frozen=True)
class Method:
    """Entry of the registry of methods. Parameters are read from the function's signature, the summary from its docstring."""

    name: str
    family: str
    question: FourQuestions
    function: Callable[..., Any] = field(repr=False)
    cite: str | None
    laws: frozenset[str]
    summary: str
    kind: Kind = "attribution"
    reduce: Reduce = "sum"
    scale: Scale = "logit"
    takes: Takes = "images"
