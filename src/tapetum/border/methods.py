"""Registers methods: turns the body of a method into the function that users call, the same way for each kind.

    @attribution(cite="simonyan2014saliency", reduce="max_abs")
    def saliency(score, images, *, batch="auto"):        # the body: score in, tensor out
        return gradient(score, images, batch=batch).abs()

    saliency(model, images, target=None, *, batch="auto") -> Attribution        # what users call

    @rendering(cite="olah2017feature", takes="units")
    def visualize(model, units, *, size=None, ...) -> Rendering: ...

    @inspection(takes="images")
    def depth_properties(model, images, *, layers=None) -> DepthProperties: ...

    @metric(cite="petsiuk2018rise")
    def deletion(model, images, attribution, *, n_steps=32, ...) -> Evaluation: ...      # or (attribution, masks, *, ...)

    @survey()
    def scan(model, source, trackers, *, workers=None, ...) -> ScanResult: ...           # over a data set

Keywords are checked against the signature, the model and its subject are converted, and notes made during the call are added
to the result. Another package registers methods with the same decorators and lists its modules as entry points of the group
"tapetum". `keywords.py` converts keywords such as `layer` and `fill`; `profiles.py` lists how other libraries define a
method differently.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from torch import Tensor

from tapetum.border.attributions import attributed
from tapetum.border.keywords import public_signature
from tapetum.border.layers import by_name
from tapetum.border.profiles import profile
from tapetum.border.renderings import rendered
from tapetum.border.subjects import as_masks, border
from tapetum.engines.scores import ModelScore
from tapetum.notes import noting
from tapetum.progress import hidden
from tapetum.registry import add, check_parameters
from tapetum.switches import during
from tapetum.types import Attribution, FourQuestions, Kind, Method, MethodError, Reduce, Rendering, Scale, Takes

P = ParamSpec("P")
R = TypeVar("R")

About: TypeAlias = dict[str, Any]
"""{name: value} of the positional arguments, such as model, images and target."""


# --- kinds


def attribution(
    *, cite: str | None, reduce: Reduce, scale: Scale = "logit", laws: Collection[str] = ()
) -> Callable[[Callable[Concatenate[ModelScore, Tensor, P], Tensor | tuple[Tensor, Tensor]]], Callable[..., Attribution]]:
    """Registers an attribution method from its body (score, images, *, keywords) -> values, or (values, standard error)."""
    return lambda body: register("attribution", body, cite=cite, laws=laws, reduce=reduce, scale=scale)


def rendering(
    *, cite: str | None, takes: Takes, question: FourQuestions = "looks_for", laws: Collection[str] = ()
) -> Callable[[Callable[..., Rendering]], Callable[..., Rendering]]:
    """Registers a rendering method from its body (model, subject, *, keywords) -> Rendering.

    `takes` says how the body gets the subject: "units" unchanged, "images" preprocessed for the model, "pictures" at their own
    size as one tensor (1, 3, H, W) in [0, 1] each.
    """
    return lambda body: register("rendering", body, cite=cite, laws=laws, takes=takes, question=question)


def inspection(
    *, cite: str | None = None, takes: Takes = "images", question: FourQuestions = "found", laws: Collection[str] = ()
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Registers an inspection from its body (model, subject, target=None, *, keywords) -> result.

    `takes="model"` means that there is no subject.
    """
    return lambda body: register("inspection", body, cite=cite, laws=laws, takes=takes, question=question)


def metric(*, cite: str | None, laws: Collection[str] = ()) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Registers a metric of maps from its body, whose positional parameters are some of (model, images, attribution, masks)."""
    return lambda body: register("metric", body, cite=cite, laws=laws, takes="images" if "model" in _places(body) else "maps")


def survey(
    *, cite: str | None = None, question: FourQuestions = "looks_for", laws: Collection[str] = ()
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Registers a survey of a data set from its body (model, source, ..., *, keywords) -> result."""
    return lambda body: register("survey", body, cite=cite, laws=laws, takes="source", question=question)


def _measured(
    method: Method, body: Callable[..., Any], about: About, given: dict[str, Any], _keywords: Mapping[str, Any]
) -> Any:
    maps = about["attribution"]
    if "images" in about and len(about["images"]) != len(maps):
        raise MethodError(f"{len(maps)} maps were given for {len(about['images'])} images")
    if "masks" in about:
        about = {**about, "masks": as_masks(maps, about["masks"])}
    return body(**about, **given)


def _plainly(
    _method: Method, body: Callable[..., Any], about: About, given: dict[str, Any], _keywords: Mapping[str, Any]
) -> Any:
    return body(**about, **given)


@dataclass(frozen=True)
class _Row:
    """Properties of a kind of method: its question, how to build the public signature, and how to call the body."""

    question: FourQuestions
    signature: Callable[[Callable[..., Any]], inspect.Signature]
    make: Callable[[Method, Callable[..., Any], About, dict[str, Any], Mapping[str, Any]], Any]


def _own_signature(body: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(body, eval_str=True)


KINDS: Mapping[Kind, _Row] = {
    "attribution": _Row("mattered", public_signature, attributed),
    "rendering": _Row("looks_for", _own_signature, rendered),
    "inspection": _Row("found", _own_signature, _plainly),
    "metric": _Row("trust", _own_signature, _measured),
    "survey": _Row("looks_for", _own_signature, _plainly),
}


# --- one registration for all

_inside: ContextVar[bool] = ContextVar("tapetum_inside", default=False)
"""Whether a method runs: watchers see the results so far of the method that was called, not of those that it calls itself."""


def register(
    kind: Kind,
    body: Callable[..., Any],
    *,
    cite: str | None = None,
    laws: Collection[str] = (),
    takes: Takes = "images",
    question: FourQuestions | None = None,
    reduce: Reduce = "sum",
    scale: Scale = "logit",
) -> Callable[..., Any]:
    """Adds a method to the registry and returns the public function, which checks and converts, calls the body, adds notes."""
    row, name = KINDS[kind], body.__name__
    signature = row.signature(body)
    places = {p.name: p.default for p in signature.parameters.values() if p.kind is not p.KEYWORD_ONLY}
    subject = next((place for place in places if place != "model"), "")

    @functools.wraps(body)
    def public(*positional: Any, **keywords: Any) -> Any:
        about = _placed(name, places, positional, keywords)
        like = profile(name, keywords["like"]).defaults if "like" in keywords else {}
        given = check_parameters(method, {**like, **keywords})
        shown = hidden() if _inside.get() else nullcontext()
        with noting() as said, shown, during(_inside, True):
            if "model" not in places:
                return _with_notes(row.make(method, body, about, given, keywords), said)
            with border(about["model"], about.get(subject), takes) as (network, ready):
                about |= {"model": network, **({subject: ready} if subject else {})}
                made = row.make(method, body, about, by_name(network, given) if keywords else given, keywords)
        return _with_notes(made, said)

    vars(public)["__signature__"] = signature
    public.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    method = Method(
        name, _family(body.__module__), question or row.question, public, cite, frozenset(laws), _summary(body), kind, reduce,
        scale, takes,
    )  # fmt: skip
    add(method)
    return public


def _places(body: Callable[..., Any]) -> list[str]:
    return [p.name for p in inspect.signature(body).parameters.values() if p.kind is not p.KEYWORD_ONLY]


def _family(module: str) -> str:
    """Returns the family of a module: its file or folder in `families`, or the last part of another module's name."""
    inside = module.removeprefix("tapetum.families.")
    return module.rpartition(".")[2] if inside == module else inside.partition(".")[0]


def _summary(body: Callable[..., Any]) -> str:
    return inspect.cleandoc(body.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


ARTICLES = {"model": "a model", "attribution": "an attribution", "source": "a source", "layer": "a layer"}


def _placed(name: str, places: Mapping[str, Any], positional: Sequence[Any], keywords: dict[str, Any]) -> About:
    """Returns {positional parameter: value}, given by position or by name; removes those given by name from `keywords`."""
    found = dict(zip(places, positional, strict=False))
    twice = [place for place in found if place in keywords]
    found |= {place: keywords.pop(place) for place in places if place in keywords}
    needed = [place for place, default in places.items() if default is inspect.Parameter.empty]
    if len(positional) > len(places) or twice or not found.keys() >= set(needed):
        *some, last = [ARTICLES.get(place, place) for place in needed]
        raise TypeError(f"{name}() takes {' and '.join([', '.join(some), last] if some else [last])}, the rest by keyword")
    return {**places, **found}


def _with_notes(made: Any, said: Sequence[str]) -> Any:
    """Returns the result, or each result of a list, with the notes made during the call added to its own."""
    if not said:
        return made
    if isinstance(made, list):
        return [_with_notes(one, said) for one in made]
    if isinstance(made, Mapping) or "notes" not in {field.name for field in fields(made)}:
        return made
    return replace(made, notes=tuple(dict.fromkeys((*made.notes, *said))))
