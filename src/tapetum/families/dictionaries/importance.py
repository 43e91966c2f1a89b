"""Importance of concepts for a score: gradient x activation, ablation, and Sobol indices over masks of codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tapetum.engines.batching import batch_size
from tapetum.engines.dictionaries import code_maps
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.probe import activations
from tapetum.engines.ranks import interval, resamples
from tapetum.engines.resume import Tail, resume
from tapetum.engines.scores import ModelScore
from tapetum.families.perturbations.dimming import Dimmed
from tapetum.progress import track
from tapetum.types.dictionaries import Dictionary, ImportanceMeasure

DESIGNS = 32
"""Points of the Sobol design, as in CRAFT."""


def importance(
    score: ModelScore, images: Tensor, layer: str, dictionary: Dictionary, measure: ImportanceMeasure, seed: int
) -> tuple[Tensor, Tensor]:
    """Returns the mean importance (n,) of each concept over images, and its interval (n, 2) of 95 % by resampling images.

    With z_j(p) the code of concept j at place p, d_j its direction, a the activation and S the score of an image:

    gradient  sum over p of z_j(p) <dS/da(p), d_j>
    ablation  S(a) - S(a without z_j d_j)
    sobol     total index of the mask m_j in [0, 1] in S(a + sum_j (m_j - 1) z_j d_j): the share of the variance in which it
              takes part, by Jansen's estimator over a scrambled Sobol sequence of 32 points (fel2023craft, jansen1999analysis)
    """
    if measure == "gradient":
        each = _by_gradient(score, images, layer, dictionary)
    else:
        dimmed = _dimmed(score, images, layer, dictionary)
        each = torch.stack([one.losses() if measure == "ablation" else one.totals(DESIGNS, seed) for one in dimmed])
    each = each.double().cpu()
    return each.mean(0), interval(each, torch.ones_like(each), resamples(len(each), seed))


def _by_gradient(score: ModelScore, images: Tensor, layer: str, dictionary: Dictionary) -> Tensor:
    maps, gradient = (as_maps(one) for one in layer_gradient(score, images, layer))
    along = torch.einsum("nchw,kc->nkhw", gradient, dictionary.directions.to(gradient))
    return (code_maps(dictionary, maps) * along).sum((2, 3))


def _dimmed(score: ModelScore, images: Tensor, layer: str, dictionary: Dictionary) -> Iterator[Dimmed]:
    """Yields the activation of each image with the concepts' parts (n, c, h, w) of it."""
    size = batch_size(score.model, "auto")
    for row in track(range(len(images)), len(images), "pictures"):
        image = images[row : row + 1]
        with torch.no_grad():
            whole = activations(score.model, image, layer)
            codes = code_maps(dictionary, as_maps(whole))[0]
            parts = torch.einsum("khw,kc->kchw", codes, dictionary.directions.to(codes))
            tail = resume(score.take([row]), layer, image)
        yield Dimmed(_of_maps(tail, whole.ndim), as_maps(whole), parts, size)


def _of_maps(tail: Tail, axes: int) -> Callable[[Tensor], Tensor]:
    """Returns the score of activations (m, c, h, w); a layer without a map gets vectors (m, c)."""
    return tail if axes == 4 else lambda maps: tail(maps[:, :, 0, 0])


def as_maps(activation: Tensor) -> Tensor:
    """Returns maps (n, c, h, w), with one place for a vector (n, c), at least in single precision."""
    wide = activation.to(torch.promote_types(activation.dtype, torch.float32))
    return wide[:, :, None, None] if wide.ndim == 2 else wide
