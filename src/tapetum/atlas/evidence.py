"""What activation vectors speak for: their attributions to every class, and what the model says of pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from tapetum import progress
from tapetum.data.streams import Source
from tapetum.engines.probe import edit
from tapetum.engines.scores import forward_logits
from tapetum.engines.scores.outputs import logits
from tapetum.models.vision_model import VisionModel
from tapetum.types import Cancelled, ImageError, TapetumError

BATCH = 16


@dataclass(frozen=True)
class Group:
    """Vectors of one picture that belong together: flat positions on the layer's grid."""

    sample: int
    places: tuple[int, ...]


def attributions(model: VisionModel, source: Source, layer: str, groups: Sequence[Group]) -> tuple[Tensor, Tensor]:
    """How much the vectors of each group raise each logit, added up: (g, classes), and which groups could be looked at.

    a_k = sum over the places of h . dlogit_k/dh, h the vector there: to first order what the vectors add to the logit, in
    their picture (carter2019activation, olah2018building). One pass with forward-mode derivatives gives all classes at
    once: the tangent is h at the places and zero elsewhere. Max-pooling has its own gradient here; the paper smooths it.
    """
    rows: list[Tensor] = []
    made: list[bool] = []
    images = _Images(model, source)
    for start in range(0, len(groups), BATCH):
        progress.report(start, len(groups), "groups")
        some = groups[start : start + BATCH]
        found = [images(one.sample) for one in some]
        made += [image is not None for image in found]
        kept = [(one, image) for one, image in zip(some, found, strict=True) if image is not None]
        if kept:
            rows.append(_directional(model, layer, torch.cat([image for _, image in kept]), [one.places for one, _ in kept]))
    progress.report(len(groups), len(groups), "groups")
    return torch.cat(rows) if rows else torch.zeros(0, 0), torch.tensor(made, dtype=torch.bool)


def _directional(model: VisionModel, layer: str, images: Tensor, places: Sequence[tuple[int, ...]]) -> Tensor:
    """The derivative of the logits (n, classes) along each image's own vectors at its places."""

    def along(maps: Tensor) -> Tensor:
        chosen = torch.zeros(len(maps), 1, maps[0, 0].numel(), dtype=maps.dtype, device=maps.device)
        for i, mine in enumerate(places):
            chosen[i, 0, list(mine)] = 1
        return forward_ad.make_dual(maps, maps * chosen.view(len(maps), 1, *maps.shape[2:]))

    ready = model.laid_out(images)  # may try a blank image of its own, which has no such places
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad(), edit(model, {layer: along}):
        warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own parts when it first derives forward
        return _tangent(model, ready)


def _tangent(model: VisionModel, images: Tensor) -> Tensor:
    with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):  # quicker attention has no derivative forward
        answer = logits(model(images), model.name)
        tangent = forward_ad.unpack_dual(answer).tangent
        return (torch.zeros_like(answer) if tangent is None else tangent.clone()).float().cpu()


class _Images:
    """Model-ready images by sample, the last ones kept; None for a picture that cannot be read any more."""

    def __init__(self, model: VisionModel, source: Source) -> None:
        self.model, self.source = model, source
        self.last: dict[int, Tensor | None] = {}

    def __call__(self, sample: int) -> Tensor | None:
        if sample not in self.last:
            if len(self.last) >= BATCH:
                self.last.pop(next(iter(self.last)))
            self.last[sample] = self._read(sample)
        return self.last[sample]

    def _read(self, sample: int) -> Tensor | None:
        try:
            return self.model.preprocess(self.source.read(sample))
        except ImageError:
            return None


def predictions(model: VisionModel, source: Source, samples: Sequence[int]) -> dict[int, int]:
    """sample -> the class with the largest logit; pictures that cannot be read any more are left out."""
    found: dict[int, int] = {}
    images = _Images(model, source)
    for start in range(0, len(samples), BATCH):
        progress.report(start, len(samples), "pictures")
        some = {sample: image for sample in samples[start : start + BATCH] if (image := images(sample)) is not None}
        if some:
            with torch.inference_mode(False), torch.no_grad():
                best = forward_logits(model, model.laid_out(torch.cat(list(some.values())))).argmax(1)
            found.update(zip(some, best.tolist(), strict=True))
    progress.report(len(samples), len(samples), "pictures")
    return found


def answered(work: Callable[[], Any]) -> tuple[Any, str]:
    """(what `work` gives, ""), or (None, why the model has no answer): embeddings, no table of logits, no derivative."""
    try:
        return work(), ""
    except Cancelled:
        raise
    except (TapetumError, RuntimeError) as error:
        return None, str(error).partition("\n")[0]
