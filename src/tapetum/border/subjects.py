"""Models, pictures and masks as people give them, converted for the bodies of methods."""

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
"""Size limit of a file that is processed whole, as floats."""


def as_model(model: ModelLike, images: Any = None) -> VisionModel:
    """A `VisionModel` as it is; an `nn.Module` wrapped, for images of the given size; a name loaded."""
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
    """The model and its subject, converted. Inside, nothing keeps a graph unless an engine asks for one.

    If the network fails on images of that size, torch's error becomes a refusal that names the size it takes.
    """
    with torch.inference_mode(False), torch.no_grad():
        network = as_model(model, subject if takes == "images" else None)
        for sentence in network.notes:
            note(sentence)
        with network.pinned():
            ready = READERS[takes](network, subject) if takes in READERS else subject
            if isinstance(ready, Tensor):
                ready = ready.clone() if ready.is_inference() else ready
                if network.extra:
                    check_rows(network.extra, len(ready))
            with network.seeing(ready), in_plain_words(network, network.size):
                yield network, ready


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


READERS: Mapping[Takes, Callable[[VisionModel, Any], Any]] = {
    "images": VisionModel.as_images,
    "pictures": as_pictures,
    "source": lambda _model, source: as_source(source),
}
"""Conversions of what stands after the model; units stay as they are given."""


def as_masks(attribution: Attribution, given: Any) -> Tensor:
    """Masks (n, h, w) bool of the images that the maps are of, on the maps' device."""
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
