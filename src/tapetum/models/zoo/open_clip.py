"""Loads open_clip's networks, which embed images and texts in one space; the user installs `open_clip_torch`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing, as_pair
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.families import built
from tapetum.types import ModelError
from tapetum.types.refusals import imported


def open_clip_model(name: str, pretrained: bool) -> VisionModel:
    """Loads a network by its name in open_clip, "ViT-B-32", or with the name of weights, "ViT-B-32/laion2b_s34b_b79k"."""
    library = imported("open_clip", "open_clip is not installed: pip install open_clip_torch", ModelError)
    architecture, _, tag = name.partition("/")
    if architecture not in library.list_models():
        raise ModelError(f"open_clip has no model '{architecture}'; open_clip.list_models() lists them")
    weights = (tag or _published(library, architecture)) if pretrained else None
    module = built(name, lambda: library.create_model(architecture, pretrained=weights))
    tokenize = library.get_tokenizer(architecture)

    def encode_text(network: Any, texts: Sequence[str]) -> Tensor:
        return network.encode_text(tokenize(list(texts)).to(next(network.parameters()).device))

    return VisionModel(
        module, architecture, _preprocessing(module), source=f"open_clip:{name}", call=_encode_image, encode_text=encode_text
    )


def _encode_image(network: Any, images: Tensor) -> Tensor:
    return network.encode_image(images)


def _published(library: Any, architecture: str) -> str:
    tags = library.list_pretrained_tags_by_model(architecture)
    if not tags:
        raise ModelError(f"open_clip publishes no weights of {architecture}; give weights=None for random ones")
    return tags[-1]


def _preprocessing(module: nn.Module) -> Preprocessing:
    visual: Any = module.get_submodule("visual")
    size = as_pair(visual.image_size)
    mean, std = (tuple(getattr(visual, key, None) or default) for key, default in (("image_mean", MEAN), ("image_std", STD)))
    return Preprocessing(size, min(size), "bicubic", mean, std)


MEAN = (0.48145466, 0.4578275, 0.40821073)  # of OpenAI's CLIP training set, as open_clip documents them
STD = (0.26862954, 0.26130258, 0.27577711)
