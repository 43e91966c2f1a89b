"""The border of methods that make pictures: model and subject are converted, keywords checked, outcomes noted.

    @rendering(cite="olah2017feature", takes="units")
    def visualize(model, units, *, size=None, ...) -> Rendering: ...   # what the family writes
    visualize("resnet50", "layer4:7", size=128)                        # what users call

`takes` says what the subject is: "units" as given, "images" cut and normalised as the model wants them, "pictures" as they
are (n, 3, H, W) in [0, 1], one tensor for each, at their own sizes.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from tapetum.border.layers import by_name
from tapetum.border.methods import border, describe
from tapetum.data.planes import viewable
from tapetum.data.preprocessing import LUMA
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.registry import check_parameters, register
from tapetum.types import FourQuestions, ImagesLike, ModelLike, Rendering, Takes

SUBJECTS: dict[Takes, tuple[str, Any]] = {
    "units": ("units", Any),
    "images": ("images", ImagesLike),
    "pictures": ("images", ImagesLike),
}

MOST_PIXELS = 32_000_000
"""Of a file that is worked on whole, as floats."""


def rendering(
    *, cite: str | None, takes: Takes, question: FourQuestions = "looks_for", laws: Collection[str] = ()
) -> Callable[[Callable[..., Rendering]], Callable[..., Rendering]]:
    """Registers a body (model, subject, *, keywords) -> Rendering as a public method."""

    def decorate(body: Callable[..., Rendering]) -> Callable[..., Rendering]:
        @functools.wraps(body)
        def public(model: ModelLike, *subject: Any, **keywords: Any) -> Rendering:
            about = _subject(body.__name__, takes, subject, keywords)
            given = check_parameters(method, keywords)
            with noting() as said, border(model, about, functools.partial(converted, takes=takes)) as (network, ready):
                made = _viewable(body(network, _as_seen(ready, takes, network), **by_name(network, given)), network)
                _note_outcomes(made)
            return replace(made, method=method.name, notes=(*made.notes, *said))

        vars(public)["__signature__"] = inspect.signature(body, eval_str=True)
        public.__annotations__ = {name: p.annotation for name, p in inspect.signature(public).parameters.items()}
        method = register(replace(describe(public, cite, "rendering", laws), question=question, takes=takes))
        return public

    return decorate


def _subject(name: str, takes: Takes, positional: Sequence[Any], keywords: dict[str, Any]) -> Any:
    """The second argument, by place or by name."""
    word = SUBJECTS[takes][0]
    if len(positional) + (word in keywords) != 1:
        raise TypeError(f"{name}() takes a model and {word}, the rest by keyword")
    return positional[0] if positional else keywords.pop(word)


def converted(model: VisionModel, subject: Any, takes: Takes) -> Any:
    """Model-ready images, or pictures in [0, 1] as they are; units stay as they were given."""
    if takes == "images":
        return model.as_images(subject)
    return as_pictures(model, subject) if takes == "pictures" else subject


def as_pictures(model: VisionModel, source: Any) -> list[Tensor]:
    """Pictures (1, 3, H, W) in [0, 1] at their own sizes: from anything `read_image` takes, or model-ready images.

    A tensor (n, 3, H, W) is model-ready, unless it lies in [0, 1] although the model expects normalised values.
    """
    if isinstance(source, Tensor) and source.ndim == 4 and model.looks_raw(source):
        source = list(source.split(1))
    if isinstance(source, Tensor) and source.ndim == 4:
        return list(model.preprocessing.pixels(model.as_images(source)).clone().split(1))
    many = source if isinstance(source, (list, tuple)) else [source]
    return [_picture(model, one).to(model.device, torch.float32 if model.dtype.itemsize < 4 else model.dtype) for one in many]


def _picture(model: VisionModel, one: Any) -> Tensor:
    """(1, 3, H, W); a tensor of pixels that is one already keeps all of its digits."""
    pixels = model.preprocessing.read(one, MOST_PIXELS)
    exact = isinstance(one, Tensor) and one.is_floating_point() and one.shape == pixels.shape
    return one if exact else pixels


def _as_seen(subject: Any, takes: Takes, model: VisionModel) -> Any:
    """Pictures in grey for a network that sees no colours: what is made of them is grey, too."""
    if takes != "pictures" or model.preprocessing.channels != 1:
        return subject
    return [(one * one.new_tensor(LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True).expand(-1, 3, -1, -1) for one in subject]


def _viewable(made: Rendering, model: VisionModel) -> Rendering:
    """Pictures of a network that sees many bands as people look at them; the bands stay beside them."""
    if made.pixels.shape[1] != model.preprocessing.channels or model.preprocessing.channels in (1, 3):
        return made
    note(f"pictures show the mean over the {model.preprocessing.channels} bands, in grey: numbers['bands'] has them all")
    frames = None if made.frames is None else torch.stack([viewable(one) for one in made.frames])
    return replace(made, pixels=viewable(made.pixels), frames=frames, numbers={**made.numbers, "bands": made.pixels})


def _note_outcomes(made: Rendering) -> None:
    for status, words in (
        ("silent", "no gradient ever reached the picture: the unit is silent on noise, or does not depend on the image"),
        ("non_finite", "NaN or infinity came up"),
    ):
        rows = [text for text, one in zip(made.objectives, made.status, strict=True) if one == status]
        if rows:
            shown = ", ".join(rows[:3]) + (", ..." if len(rows) > 3 else "")
            note(f"{len(rows)} of {len(made)} pictures show nothing of the network ({shown}): {words}")
