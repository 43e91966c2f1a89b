"""What a client may ask for, checked field by field, and the call of tapetum that answers it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from tapetum.border.running import network_and_versions, run
from tapetum.border.texts import as_value
from tapetum.families.inspections import predict
from tapetum.families.verdicts import judge
from tapetum.models.vision_model import VisionModel
from tapetum.registry import Parameter
from tapetum.studios.describing import MOST, PRODUCTS, Askable, askable
from tapetum.studios.pictures import OfOne, Picture
from tapetum.studios.refusals import NotPlain
from tapetum.studios.results import Results
from tapetum.types import Attribution, MethodError

Name = Annotated[str, Field(min_length=1, max_length=200)]
Words = Annotated[str, Field(min_length=1, max_length=300)]
LARGEST = 2**53
"""Largest whole number of any parameter: up to it, each is also a float."""
PictureId = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class OfPicture(BaseModel):
    """A picture as the value of a parameter, such as the style of `style_transfer`."""

    model_config = ConfigDict(extra="forbid")
    picture: PictureId


Value = bool | int | float | Annotated[str, Field(max_length=300)] | OfPicture | None
Parameters = Annotated[dict[Annotated[str, Field(max_length=64)], Value], Field(max_length=40)]


class MapBody(BaseModel):
    """One map that a verdict or a metric is about."""

    model_config = ConfigDict(extra="forbid")
    method: Name
    target: Words | None = None
    parameters: Parameters = {}


class RunBody(BaseModel):
    """One run of a method, as the page asks for it."""

    model_config = ConfigDict(extra="forbid")
    model: Name
    weights: Literal["default", "random"] = "default"
    method: Name
    pictures: Annotated[list[PictureId], Field(max_length=6)] = []
    units: Annotated[list[Words], Field(max_length=16)] = []
    target: Words | None = None
    parameters: Parameters = {}
    maps: Annotated[list[MapBody], Field(max_length=8)] = []
    pictures_every_s: Annotated[float, Field(ge=0.05, le=60)] | None = 0.25


class ModelBody(BaseModel):
    """A network to load."""

    model_config = ConfigDict(extra="forbid")
    name: Name
    weights: Literal["default", "random"] = "default"


@dataclass(frozen=True)
class Asked:
    """A request that can be answered: the method, the pictures' files, and values as Python takes them."""

    body: RunBody
    method: Askable
    pictures: tuple[Picture, ...]
    keywords: Mapping[str, Any]
    maps: tuple[tuple[Askable, Mapping[str, Any]], ...]

    @classmethod
    def of(cls, body: RunBody, pictures: OfOne) -> Asked:
        """Checks a request as far as that is possible without the network."""
        method = askable(body.method)
        maps = tuple((_map_method(one.method), _keywords(askable(one.method), one.parameters, pictures)) for one in body.maps)
        asked = cls(
            body, method, tuple(pictures[one] for one in body.pictures),
            _keywords(method, body.parameters, pictures), maps,
        )  # fmt: skip
        asked._check_subject()
        return asked

    def _check_subject(self) -> None:
        name, takes, maps = self.method.name, self.method.takes, len(self.maps)
        about_maps = self.method.kind in ("metric", "verdict")
        if about_maps and not maps:
            raise MethodError(f"{name} is about maps: give at least one, such as grad_cam")
        if self.method.kind == "metric" and maps != 1:
            raise MethodError(f"{name} measures one map at a time")
        if maps and not about_maps:
            raise MethodError(f"{name} takes no maps; verdicts and metrics do")
        if takes == "maps" and self.method.kind == "metric":
            raise MethodError(f"{name} compares maps with masks, which a studio does not have: run it from Python")
        if takes == "units" and not self.body.units:
            raise MethodError(f'{name} takes units, such as "layer:5", or classes')
        if takes in ("images", "pictures", "maps") and not self.pictures:
            raise MethodError(f"{name} takes pictures: send one, or choose a packaged photograph")
        if self.body.target is not None and not self.method.takes_target:
            raise MethodError(f"{name} takes no target")

    # --- the call

    def answer(self, model: VisionModel, known: Results) -> Any:
        """Returns the result; `known` holds maps that were made before, by the keys of `map_key`."""
        self._check_words(model)
        if self.method.name == "predict":
            return predict(model, self._images(model), **self.keywords)
        if self.method.kind in ("metric", "verdict"):
            return self._about_maps(model, known)
        if self.method.takes == "units":
            subject: Any = [as_target(one, model.labels) for one in self.body.units]
        elif self.method.takes == "model":
            subject = None
        else:
            subject = self._images(model) if self.method.takes == "images" else [one.data for one in self.pictures]
        target = {} if self.body.target is None else {"target": as_target(self.body.target, model.labels)}
        return run(self.method.name, model, subject, **target, **self.keywords)

    def _images(self, model: VisionModel) -> Tensor:
        return model.preprocess([one.data for one in self.pictures])

    def _about_maps(self, model: VisionModel, known: Results) -> Any:
        images = self._images(model)
        made = [self._made(i, model, images, known) for i in range(len(self.maps))]
        if self.method.kind == "verdict":
            return judge(model, images, made, **self.keywords)
        return self.method.function(model, images, made[0], **self.keywords)

    def _made(self, i: int, model: VisionModel, images: Tensor, known: Results) -> Attribution:
        (method, keywords), target = self.maps[i], self.body.maps[i].target
        found = known.get(self.map_key(i, model))
        if found is not None:
            return found
        given = {} if target is None else {"target": as_target(target, model.labels)}
        return run(method.name, model, images, **given, **keywords).value

    def _check_words(self, model: VisionModel) -> None:
        texts = [*self.body.units, self.body.target, *_texts(self.keywords)]
        for (_, keywords), one in zip(self.maps, self.body.maps, strict=True):
            texts += [one.target, *_texts(keywords)]
        for text in texts:
            if text is not None:
                check_plain(text, model)

    # --- keys

    def key(self, model: VisionModel) -> str:
        """Identifies the answer: the numbers, and the names of the files that its code shows."""
        maps = [(method.name, one.target, keywords) for (method, keywords), one in zip(self.maps, self.body.maps, strict=True)]
        what = (self.method.name, self.body.units, self.body.target, self.keywords, maps)
        return _key(what, self.pictures, model)

    def map_key(self, i: int, model: VisionModel) -> str:
        """The key that map i has when it is asked for alone."""
        (method, keywords), one = self.maps[i], self.body.maps[i]
        return _key((method.name, [], one.target, keywords, []), self.pictures, model)


def _key(what: Any, pictures: Sequence[Picture], model: VisionModel) -> str:
    facts = [what, [(one.id, one.name) for one in pictures], network_and_versions(model), model.name]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=repr).encode()).hexdigest()


def _map_method(name: str) -> Askable:
    method = askable(name)
    if method.kind != "attribution":
        raise MethodError(f"{name} makes no map; verdicts and metrics are about maps, such as those of grad_cam")
    return method


# --- values


def _keywords(method: Askable, given: Mapping[str, Any], pictures: OfOne) -> dict[str, Any]:
    """Returns keywords as Python takes them; refuses unknown ones, and values beyond a studio's limits."""
    own = {one.name: one for one in method.own}
    unknown = [name for name in given if name not in own]
    if unknown:
        raise MethodError(f"{method.name} has no parameter '{unknown[0]}'; it has {', '.join(own) or 'none'}")
    found = {name: _value(method, own[name], value, pictures) for name, value in given.items()}
    _check_together(method, found)
    return found


def _check_together(method: Askable, given: Mapping[str, Any]) -> None:
    """Refuses numbers of which each is allowed, but which need too much together."""
    powers, most = PRODUCTS.get(method.name, ({}, 1.0))
    values = {one.name: given.get(one.name, one.default) for one in method.own if one.name in powers}
    numbers = [value ** powers[name] for name, value in values.items() if isinstance(value, (int, float))]
    if math.prod(numbers) > most:
        many = " and ".join(powers)
        raise MethodError(f"{method.name}: {many} together are too much for a studio; ask for less, or run it from Python")


def _value(method: Askable, parameter: Parameter, value: Any, pictures: OfOne) -> Any:
    if isinstance(value, OfPicture):
        if parameter.name != "style":
            raise MethodError(f"{method.name}: {parameter.name} is no picture")
        return pictures[value.picture].data
    if parameter.name == "style":
        raise MethodError(f'{method.name}: style is a picture that was sent, {{"picture": id}}')
    found = as_value(parameter, value)
    most = MOST.get(parameter.name, LARGEST)
    if any(abs(one) > most for one in _numbers_in(found) if parameter.name in MOST or isinstance(one, int)):
        raise MethodError(f"{method.name}: {parameter.name} is at most {most} in a studio; from Python there is no such limit")
    return found


def _numbers_in(value: Any) -> list[int | float]:
    """Returns the numbers in a value, also those of a size such as "96x160", in any form that Python reads ("9_000")."""
    if isinstance(value, (int, float)):
        return [value]
    if isinstance(value, str):
        return [int(digits) for digits in re.findall(r"\d+", value.replace("_", ""))]
    return [one for part in value for one in _numbers_in(part)] if isinstance(value, (list, tuple)) else []


def _texts(keywords: Mapping[str, Any]) -> list[str]:
    many = (value if isinstance(value, (list, tuple)) else [value] for value in keywords.values())
    return [one for some in many for one in some if isinstance(one, str)]


def check_plain(text: str, model: VisionModel) -> None:
    """Refuses a text that could name a file: only classes and layers may have a slash in their names."""
    left = text
    if "/" in text:
        layers = [one.name for one in model.survey.layers if "/" in one.name]
        for name in sorted((*(one for one in model.labels or () if "/" in one), *layers), key=len, reverse=True):
            left = left.replace(name, "")
    if any(sign in left for sign in "/\\\0~") or left.startswith("gan:"):
        raise NotPlain("texts name classes, layers and units here, never files; run it from Python or the command line")


def as_target(text: str, labels: Sequence[str] | None) -> int | str:
    """Reads a target, or a unit: a whole number is a class index unless a class has that name."""
    return int(text) if text.isdecimal() and len(text) < 10 and text not in (labels or ()) else text
