"""Reads targets from texts in the form that `str(target)` writes; the command line and strings in
Python use the same grammar.
"""

from __future__ import annotations

import re
from typing import Any

from tapetum.models.vision_model import VisionModel
from tapetum.types import AnyOf, Box, Contrast, LayerError, Output, Scaled, Similarity, Unit
from tapetum.types.targets import WORDS

INDEX = re.compile(r"(?:class )?(\d+)")
NUMBER = r"\s*([0-9.]+)\s*"
BOX = re.compile(rf"(?P<label>.+?)\s*@{','.join([NUMBER] * 4)}")
OUTPUT = re.compile(r"output\s+(?P<index>\d+)(\s+of\s+(?P<head>.+))?")
SCALED = re.compile(rf"({'|'.join(WORDS)})\s+of\s+(.+)")

FORMS = (
    'a class (index or name), "tabby rather than tiger cat", "tabby or tiger cat", "probability of tabby", "output 0", '
    '"dog@x1,y1,x2,y2" (a box in px), "similarity to a photo of a cat", or a unit "layer:channel"'
)
"""Forms of targets, for help and error messages."""


def read_text(model: VisionModel, text: str) -> Any:
    """Returns the target that a text means; a text of no special form is the name of a class, or a `Similarity` if the
    network compares images with texts.
    """
    words = text.strip()
    if text in (model.labels or ()):
        return text
    scaled = SCALED.fullmatch(words)
    if scaled is not None:
        of = None if scaled[2] == "the predicted class" else _several(model, scaled[2]) or _class(model, scaled[2])
        return Scaled(of, WORDS[scaled[1]])
    if (output := _output(model, words)) is not None:
        return output
    box = BOX.fullmatch(words)
    if box is not None:
        return Box(_number_or_text(box["label"]), *map(float, box.groups()[1:]))
    if words.startswith("similarity to "):
        return Similarity(words.removeprefix("similarity to "))
    found = _unit(model, words) or _several(model, words)
    return found or (_number_or_text(text) if model.encode_text is None else Similarity(text))


def _number_or_text(text: Any) -> Any:
    """Returns the index 281 for "281" or "class 281", as classes without names are written, else the text."""
    found = INDEX.fullmatch(text) if isinstance(text, str) else None
    return text if found is None else int(found[1])


def _class(model: VisionModel, text: str) -> Any:
    """Reads a class of the model's answer, "dog", or of another head, "output 1 of kind" or "dog of kind"."""
    return _output(model, text) or _number_or_text(text)


def _output(model: VisionModel, text: str) -> Output | None:
    output = OUTPUT.fullmatch(text)
    if output is not None:
        return Output(int(output["index"]), _number_or_text(output["head"]))
    name, of, head = text.rpartition(" of ")
    return Output(name, _number_or_text(head)) if of and _number_or_text(head) in model.head_labels else None


def _several(model: VisionModel, text: str) -> Contrast | AnyOf | None:
    """Reads a contrast of two classes, "a rather than b", or a union, "a or b"; None for other texts."""
    if text in (model.labels or ()):
        return None
    for between in (" rather than ", " vs ", " - "):
        a, found, b = text.partition(between)
        if found and a.strip() and b.strip():
            return Contrast(_class(model, a.strip()), _class(model, b.strip()))
    parts = [part.strip() for part in text.split(" or ")]
    return AnyOf(tuple(_class(model, part) for part in parts)) if len(parts) > 1 and all(parts) else None


def _unit(model: VisionModel, text: str) -> Unit | None:
    """Reads a unit "layer:channel"; None if the model has no such layer, since a class name may hold a colon."""
    layer = text.partition(":")[0]
    if ":" not in text:
        return None
    try:
        model.find_layers(layer)
    except LayerError:
        if model.labels is None:
            raise
        return None
    return Unit.parse(text)
