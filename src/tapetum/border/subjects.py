"""Converts models, pictures and masks from the forms that users give to those that the bodies of methods take."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.data.streams import as_source
from tapetum.models.extra import check_rows
from tapetum.models.fitting import in_plain_words
from tapetum.models.opaque import opaque
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import load, wrap
from tapetum.notes import note
from tapetum.types import Attribution, MethodError, ModelError, ModelLike, Takes

MOST_PIXELS = 32_000_000
"""Largest number of pixels of a file that is processed whole, as floats."""


def as_model(model: ModelLike, images: Any = None) -> VisionModel:
    """Returns a `VisionModel` unchanged, wraps an `nn.Module` (for the size of `images`), or loads a model by name."""
    if isinstance(model, VisionModel):
        return model
    if isinstance(model, nn.Module):
        ready = isinstance(images, Tensor) and images.ndim == 4 and images.is_floating_point()
        return wrap(model, size=tuple(images.shape[-2:]) if ready else None)
    if isinstance(model, str):
        return load(model)
    if opaque(model) is not None:
        return wrap(model)
    raise ModelError(f"a model is a VisionModel, a torch.nn.Module or a name that load takes, not {type(model).__name__}")


@contextmanager
def border(model: ModelLike, subject: Any, takes: Takes = "images") -> Generator[tuple[VisionModel, Any]]:
    """Yields the model and its subject, converted. Gradients are off inside the block unless an engine turns them on.

    If the network fails on images of that size, torch's error is replaced by a refusal that names the size it takes.
    """
    with torch.inference_mode(False), torch.no_grad():
        network = model if isinstance(model, VisionModel) else as_model(model, subject if takes == "images" else None)
        for sentence in network.notes:
            note(sentence)
        with network.pinned():
            ready = READERS[takes](network, subject) if takes in READERS else subject
            if isinstance(ready, Tensor):
                ready = ready.clone() if ready.is_inference() else ready
                if network.extra:
                    check_rows(network.extra, len(ready))
            with network.pinned(ready), in_plain_words(network, network.size):
                yield network, ready


def as_pictures(model: VisionModel, source: Any) -> list[Tensor]:
    """Returns pictures (1, 3, H, W) in [0, 1] at their own sizes, from anything `read_image` takes or preprocessed images.

    A tensor (n, 3, H, W) counts as preprocessed, unless it lies in [0, 1] although the model expects normalised values.
    """
    if isinstance(source, Tensor) and source.ndim == 4 and model.looks_raw(source):
        source = list(source.split(1))
    if isinstance(source, Tensor) and source.ndim == 4:
        return list(model.preprocessing.pixels(model.as_images(source)).clone().split(1))
    many = source if isinstance(source, (list, tuple)) else [source]
    return [_picture(model, one).to(model.device, torch.float32 if model.dtype.itemsize < 4 else model.dtype) for one in many]


def _picture(model: VisionModel, one: Any) -> Tensor:
    """Reads one picture as (1, 3, H, W); a float tensor of that shape is returned unchanged, at full precision."""
    pixels = model.preprocessing.read(one, MOST_PIXELS)
    exact = isinstance(one, Tensor) and one.is_floating_point() and one.shape == pixels.shape
    return one if exact else pixels


READERS: Mapping[Takes, Callable[[VisionModel, Any], Any]] = {
    "images": VisionModel.as_images,
    "pictures": as_pictures,
    "source": lambda _model, source: as_source(source),
}
"""{`takes`: conversion of the argument after the model}; other subjects, such as units, stay as given."""


def as_masks(attribution: Attribution, given: Any) -> Tensor:
    """Converts masks to (n, h, w) bool on the attribution's device; refuses another shape and values other than 0 and 1."""
    masks = torch.as_tensor(given, device=attribution.values.device)
    masks = masks[None] if masks.ndim == 2 else masks
    wanted = (len(attribution), *attribution.size)
    if tuple(masks.shape) != wanted:
        raise MethodError(
            f"masks of shape {tuple(masks.shape)} do not lie on the images that the model saw; give {wanted}: cut and resized"
            " as the images were"
        )
    if masks.dtype != torch.bool and not bool(((masks == 0) | (masks == 1)).all()):
        raise MethodError(f"a mask says True or False (or 0 or 1) for each pixel, not {masks.dtype} in between")
    return masks.bool()
