"""The border of inspections: what layers hold and what they found, measured without a target or with one.

    @inspection(takes="images")
    def depth_properties(model, images, *, layers=None) -> DepthProperties: ...      # what the family writes
    depth_properties("resnet50", "cat.jpg", layers="layer*")                         # what users call

`takes` says what stands after the model: "images" cut and normalised as the model wants them, "pictures" as they are, one
tensor (1, 3, H, W) in [0, 1] for each, or nothing ("model"). A third positional parameter `target` is handed on as it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from tapetum.border.layers import by_name
from tapetum.border.methods import border, describe
from tapetum.border.rendering import converted
from tapetum.notes import noting
from tapetum.registry import check_parameters, register
from tapetum.types import FourQuestions, ModelLike, Takes

R = TypeVar("R")


def inspection(
    *, cite: str | None = None, takes: Takes = "images", question: FourQuestions = "found", laws: Collection[str] = ()
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Registers a body (model, subject, *, keywords) -> result as a public method; `note`s end up in the result's notes."""

    def decorate(body: Callable[..., R]) -> Callable[..., R]:
        signature = inspect.signature(body, eval_str=True)
        places = [p.name for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY][1:]

        @functools.wraps(body)
        def public(model: ModelLike, *subject: Any, **keywords: Any) -> R:
            about = _placed(body.__name__, places, subject, keywords)
            given = check_parameters(method, keywords)
            first = about[places[0]] if places else None
            with noting() as said, border(model, first, functools.partial(converted, takes=takes)) as (network, ready):
                made = body(network, **{**about, **dict.fromkeys(places[:1], ready)}, **by_name(network, given))
            return _with_notes(made, tuple(said))

        vars(public)["__signature__"] = signature
        public.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        method = register(replace(describe(public, cite, "inspection", laws), question=question, takes=takes))
        return public

    return decorate


def _placed(name: str, places: Sequence[str], positional: Sequence[Any], keywords: dict[str, Any]) -> dict[str, Any]:
    """{parameter: value} of what stands after the model, given by place or by name; a target may be left out."""
    found = dict(zip(places, positional, strict=False))
    twice = [place for place in found if place in keywords]
    found.update({place: keywords.pop(place) for place in places if place in keywords})
    if len(positional) > len(places) or twice or (places and places[0] not in found):
        wanted = " and ".join(["a model", *places[:1]])
        raise TypeError(f"{name}() takes {wanted}, the rest by keyword")
    return found


def _with_notes(made: Any, said: tuple[str, ...]) -> Any:
    """The result with what a reader must know; each of several results says it."""
    if isinstance(made, list):
        return [_with_notes(one, said) for one in made]
    if not said or isinstance(made, Mapping) or "notes" not in {field.name for field in fields(made)}:
        return made
    return replace(made, notes=(*made.notes, *said))
