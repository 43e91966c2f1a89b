"""Likeness of the layers of two networks: linear CKA without bias for each pair, over all pictures of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.data.streams import as_source
from tapetum.engines.alignment import Centered
from tapetum.engines.alignment import cka as debiased
from tapetum.families.comparing.features import features, layer_names
from tapetum.families.comparing.pictures import Deck, deck
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage, track
from tapetum.types import Batch, LayerAlignment, MethodError, ModelLike, Range


def cka(
    a: ModelLike,
    b: ModelLike,
    source: Any,
    layers: str | Sequence[str] | Mapping[str, str | Sequence[str]] | None = None,
    *,
    n: Annotated[int, Range(4, 1_000_000)] | None = None,
    cells: Annotated[int, Range(1, 64)] = 1,
    seed: int = 0,
    batch: Batch = "auto",
) -> LayerAlignment:
    """Likeness of every layer of one network to every layer of another on the same pictures: linear CKA without bias.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)), K = X X' of the features X (n, p) of n pictures at a layer of a, L of those
    of b, and HSIC its unbiased estimator over all pairs of different pictures (kornblith2019similarity, song2012feature). 1 for
    features that differ by a rotation and a scale, 0 on average for unrelated ones, also where n is smaller than p, where the
    usual estimator is near 1; it may fall slightly below 0. Pictures are read batch by batch and the estimate is that of all of
    them at once, whatever the batch; the errors are those of the jackknife over pictures. A map becomes features as the means
    of its channels over all places (`cells` x `cells` of them with a larger grid), tokens as their mean. Kept are n x p numbers
    per layer and no n x n matrix. Each network sees the pictures by its own preprocessing. Refused: fewer than four pictures.

    Args:
        source: a folder of pictures, or anything `tp.as_source` takes.
        layers: names or globs, for both networks or as {"a": ..., "b": ...}; None: the output of every block.
        n: pictures, drawn at random; None: all.
        cells: side of the grid of cells in which maps are averaged: 1 forgets where things are.
        seed: random seed of the drawn pictures.

    Example:
        >>> print(tp.cka(model, "simple_cnn", folder))
    """
    with noting() as said, border(a, None, "model") as (first, _), border(b, None, "model") as (second, _):
        with stage("pictures"):
            pictures = deck(as_source(source), (first, second), n, seed)
        found = aligned(first, second, pictures, layers, cells, batch)
    return replace(found, notes=tuple(said))


def aligned(a: VisionModel, b: VisionModel, pictures: Deck, layers: Any, cells: int, batch: Batch) -> LayerAlignment:
    """Computes the features of both networks and the CKA of each pair of layers."""
    both: list[dict[str, Tensor]] = []
    for model, which in ((a, "a"), (b, "b")):
        with stage(f"layers of {which}"):
            both.append(features(model, pictures, layer_names(model, layers, which), cells, batch))
    return alignment(a, b, pictures, (both[0], both[1]), cells)


def alignment(
    a: VisionModel, b: VisionModel, pictures: Deck, both: tuple[dict[str, Tensor], dict[str, Tensor]], cells: int
) -> LayerAlignment:
    """Returns the CKA of each pair of layers from their features."""
    ready = [{name: Centered.of(one) for name, one in some.items()} for some in both]
    pairs = [(one, other) for one in ready[0].values() for other in ready[1].values()]
    with stage("pairs of layers"):
        numbers = torch.tensor([debiased(*pair) for pair in track(pairs, len(pairs), "pairs")], dtype=torch.float64)
    values, errors = numbers.reshape(len(ready[0]), len(ready[1]), 2).unbind(-1)
    if not len(pairs):
        raise MethodError("there is no pair of layers to compare")
    if bool(values.isnan().any()):
        note("NaN: a layer that gives no picture other features than the next has no likeness")
    return LayerAlignment(
        a=a.name,
        b=b.name,
        layers=tuple(both[0]),
        others=tuple(both[1]),
        values=values,
        errors=errors,
        pictures=len(pictures),
        cells=cells,
        widths=(tuple(one.shape[1] for one in both[0].values()), tuple(one.shape[1] for one in both[1].values())),
        data=pictures.source.name,
        skipped=pictures.skipped,
    )
