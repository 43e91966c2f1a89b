"""What the page has to know before it asks for anything: methods with their parameters, colours, limits."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

import tapetum
from tapetum.border.texts import type_of
from tapetum.families.inspections import predict
from tapetum.families.verdicts import judge
from tapetum.figures.overlay import COVER
from tapetum.figures.theme import DARK, DIVERGING, LIGHT, SEQUENTIAL
from tapetum.registry import NEEDED, Parameter, help_of, keywords, live, lookup, methods
from tapetum.types import FourQuestions, MethodError, Range, Reduce, Takes

HIDDEN = frozenset({"generator", "batch", "frames", "others", "method", "parameters", "run", "progress", "check", "source"})
"""Keywords that only Python can give, or that change nothing that the page shows."""

MOST = {
    "size": 512, "n_steps": 2048, "n_samples": 2000, "n_masks": 16_000, "diversity": 9, "k": 4096, "longest_px": 1024,
    "n_segments": 1000, "n_views": 32, "n_images": 16, "n_designs": 512, "n_groups": 32, "crop_px": 1024, "seeds": 32,
    "steps": 64, "n": 64, "side": 1024, "candidates": 100, "n_octaves": 12, "cells": 64, "n_sizes": 64, "bins": 1000,
    "seed": 2**31 - 1,
}  # fmt: skip
"""Largest values in a studio, where several people share one machine; Python and the command line have none of these limits."""

PRODUCTS: dict[str, tuple[dict[str, int], float]] = {
    "sobol": ({"n_designs": 1, "cells": 4}, 1e8),
    "hsic": ({"n_samples": 1, "cells": 2}, 2e6),
    "sensitivity_n": ({"n_sizes": 1, "n_samples": 1, "cells": 2}, 5e7),
    "shapley_sampling": ({"n_samples": 1, "n_segments": 2}, 1e8),
    "deep_fool": ({"n_steps": 1, "candidates": 1}, 1000),
    "pgd": ({"n_steps": 1}, 200),
}
"""{method: ({parameter: power}, largest product)}: numbers that together need much memory, or long until a stop is seen."""

QUESTIONS: dict[FourQuestions, str] = {"looks_for": "Looks for", "found": "Found", "mattered": "Mattered", "trust": "Trust"}

Kind = Literal["prediction", "verdict", "attribution", "rendering", "inspection", "metric"]


@dataclass(frozen=True)
class Askable:
    """A method of the registry, or one of the functions beside it, as the studio offers it."""

    name: str
    kind: Kind
    family: str
    question: FourQuestions
    takes: Takes
    function: Callable[..., Any]
    own: tuple[Parameter, ...]
    summary: str
    cite: str | None = None
    reduce: Reduce = "sum"

    @property
    def live(self) -> bool:
        """Whether its pictures or maps can be watched while they are made."""
        return self.name not in _BESIDE and live(lookup(self.name))

    @property
    def takes_target(self) -> bool:
        return "target" in inspect.signature(self.function).parameters or self.kind == "verdict"


@cache
def askable(name: str) -> Askable:
    """Returns what the studio offers under a name; a `MethodError` for a survey of a data set and for unknown names."""
    if name in _BESIDE:
        return _BESIDE[name]
    method = lookup(name)
    if method.kind == "survey":
        raise MethodError(f"{name} goes over a whole data set: run it from Python or the command line")
    own = tuple(one for one in keywords(method.function) if one.name not in HIDDEN)
    return Askable(
        name,
        method.kind,
        method.family,
        method.question,
        method.takes,
        method.function,
        own,
        method.summary,
        method.cite,
        method.reduce,
    )


_K = Parameter("k", 5, int, Range(1, 1000), (), "classes per picture.")
_BESIDE = {
    "predict": Askable("predict", "prediction", "inspections", "found", "images", predict, (_K,), "The most probable classes."),
    "judge": Askable(
        "judge", "verdict", "verdicts", "trust", "maps", judge, keywords(judge),
        "Verdicts on maps: more faithful than random maps, the picture's edges, and a blob in its middle, or not.",
    ),
}  # fmt: skip


@cache
def all_methods() -> list[dict[str, Any]]:
    """Returns every method that the page can ask for, with what its controls need."""
    names = [*_BESIDE, *(one.name for one in methods() if one.kind != "survey")]
    return [_described(askable(name)) for name in names]


def _described(one: Askable) -> dict[str, Any]:
    return {
        "name": one.name,
        "title": one.name.replace("_", " "),
        "kind": one.kind,
        "family": one.family,
        "question": one.question,
        "takes": one.takes,
        "target": one.takes_target,
        "live": one.live,
        "summary": one.summary,
        "help": help_of(one.function),
        "cite": one.cite,
        "lesson": _lesson(one.name),
        "parameters": [_parameter(p) for p in one.own],
    }


def _parameter(one: Parameter) -> dict[str, Any]:
    kind = type_of(one)
    members = {part for part in (kind, *typing.get_args(kind)) if part in (bool, int, float, str)}
    name = "choice" if one.choices and typing.get_origin(one.type) is Literal else next(
        (word for word, part in (("bool", bool), ("int", int), ("float", float)) if part in members), "text"
    )  # fmt: skip
    low, high = (None, None) if one.range is None else (one.range.low, one.range.high)
    most = MOST.get(one.name)
    if name == "int" and most is not None:
        high = most if high is None else min(high, most)
    default = one.default if isinstance(one.default, (bool, int, float, str)) or one.default is None else str(one.default)
    return {
        "name": one.name, "type": "picture" if one.name == "style" else name,
        "default": None if one.default is NEEDED else default,
        "needed": one.default is NEEDED, "low": low, "high": high, "choices": list(one.choices), "help": one.help,
        "layer": "layer" in one.name and name == "text",
    }  # fmt: skip


@cache
def _texts() -> dict[tuple[int, str, str], str]:
    """Returns {(number, title, slug): text} of the lessons, in their order."""
    from tapetum.course.scripts import lessons

    return {(one.number, one.title, one.slug): "\n".join(cell.text for cell in one.cells) for one in lessons()}


def _lesson(name: str) -> dict[str, Any] | None:
    """Returns the lesson of a method: the one that is called so, or else the one that names it most."""
    named = {key: len(re.findall(rf"(?:api:|\btp\.){name}\b", text)) for key, text in _texts().items()}
    best = max(named, key=lambda key: (key[2].endswith(f"_{name}"), named[key]), default=None)
    if best is None or not named[best]:
        return None
    return {"number": best[0], "title": best[1], "address": _page(best[0])}


def _page(lesson: int) -> str | None:
    from tapetum.course.links import page_of, site_address

    site = site_address()
    return None if site is None else site + page_of("lesson", str(lesson))


def colours() -> dict[str, Any]:
    """Returns the palette and the scales of maps, so that the page draws a map as figures and reports do."""
    return {
        "light": asdict(LIGHT), "dark": asdict(DARK), "sequential": list(SEQUENTIAL), "diverging": list(DIVERGING),
        "cover": dict(COVER),
    }  # fmt: skip


def version() -> str:
    return tapetum.__version__
