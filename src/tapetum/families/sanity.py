"""Sanity of methods on a model: how far their maps change when weights, the class or the picture are others."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.data.preprocessing import size_of
from tapetum.engines.scores import n_classes
from tapetum.engines.similarity import rank_correlation
from tapetum.families.baselines import edge_attribution
from tapetum.families.map_similarity import likeness, magnitude, other_classes, similarities
from tapetum.families.remaking import Remade, targets_of
from tapetum.models.randomizing import Randomized, Stretch, stretches
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage, track
from tapetum.registry import lookup
from tapetum.types import (
    Attribution,
    ImagesLike,
    LayerError,
    MethodError,
    ModelLike,
    Range,
    Sanity,
    TargetError,
    TargetLike,
)
from tapetum.types.text import split_names

MOST = 32
"""Largest number of pictures that are used; the mean map is that of all of them."""

MEASURES = ("rank", "ssim")

SHIFTS = 3
"""Number of other pictures to which each picture's map is compared for the similarity of unrelated maps."""


def sanity_check(
    model: ModelLike,
    images: ImagesLike,
    methods: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    target: TargetLike = None,
    seeds: Annotated[int, Range(1, 1000)] = 10,
    steps: Annotated[int, Range(1, 1000)] = 6,
    n_images: Annotated[int, Range(1, MOST)] = 8,
) -> Sanity:
    """How far the maps of methods change on this model when its weights are random, and when the class is another.

    An explanation of a network changes with what the network has learned. Weights are randomised from the output down
    (cascading), and in each stretch of layers alone (independent); each map is compared with that of the trained network by
    Spearman's rank correlation and by SSIM, both of magnitudes: |R| of `attribution.heatmap()`, for SSIM at the size of the
    images and scaled to a maximum of 1. A verdict per method compares what is left with the similarity of the method's own maps
    of different pictures (`Sanity.verdicts`). A map that is blank after randomisation has a similarity of 0.

    In random layers every module draws its weights as when it is made (`reset_parameters`); parameters that no module draws
    are shuffled. This is done on a copy; layers without weights are skipped. Batch-norms from the first random layer on get
    their mean and variance from these images, so that numbers neither explode nor die out. Maps keep the target, the layer and
    the seed of the trained network's map. The work is `seeds` * (2 * `steps` - 1) networks times the methods times `n_images`;
    progress says how many seconds that is likely to take. At most 32 images are used.

    Args:
        methods: names of attribution methods, in a list or with commas between, or {name: its parameters}.
        target: what the maps explain, as for the methods; by default the predicted class of each image.
        seeds: number of times that weights, and the other class, are drawn.
        steps: number of stretches of layers, from the output to the input; the first is the last layer alone.
        n_images: images whose maps are compared; the further ones count for the mean map alone.

    Example:
        >>> print(tp.sanity_check(model, images, ["saliency", "grad_cam"], seeds=2, steps=2, n_images=1))
    """
    with noting() as said, border(model, images) as (network, ready):
        asked = _asked(methods)
        for name, number in (("seeds", seeds), ("steps", steps), ("n_images", n_images)):
            if number != int(number) or number < 1:
                raise MethodError(f"{name} must be a whole number from 1, not {number:g}")
        if len(ready) > MOST:
            note(f"the first {MOST} of {len(ready)} images were used")
            ready = ready[:MOST]
        made = _checked(network, ready, asked, target, seeds, steps, len(ready) if network.extra else n_images)
    return replace(made, notes=tuple(said))


def _asked(methods: str | Sequence[str] | Mapping[str, Mapping[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Returns {method: its parameters}; refuses names of other things than attribution methods."""
    names = split_names(methods) if isinstance(methods, str) else methods
    asked: Mapping[str, Mapping[str, Any]] = names if isinstance(names, Mapping) else {name: {} for name in names}
    if not asked:
        raise MethodError("sanity_check needs methods, such as ['saliency', 'grad_cam']")
    for name in asked:
        if lookup(name).kind != "attribution":
            raise MethodError(f"{name} makes no map of what mattered; sanity_check takes methods such as grad_cam")
    return asked


def _checked(
    model: VisionModel,
    images: Tensor,
    asked: Mapping[str, Mapping[str, Any]],
    target: TargetLike,
    seeds: int,
    steps: int,
    p: int,
) -> Sanity:
    layers, p = stretches(model, steps), min(p, len(images))
    if model.weights == "random":
        note(f"{model.name} has random weights itself: it has learned nothing that a map could depend on")
    clock = time.perf_counter()
    subjects = [_subject(model, images, name, given, target) for name, given in asked.items()]
    made = time.perf_counter()
    for one in subjects:  # what each network will cost: maps of p images, their comparison, and a pass of all images
        _compared(one, one.first[:p])
    with torch.no_grad():
        model(images)
    seconds, nets = (made - clock) / len(images) * p + time.perf_counter() - made, seeds * (2 * len(layers) - 1)
    with stage(f"{nets} networks x {len(subjects)} methods, about {_duration(seconds * nets)}"):
        random = _random(Randomized(model), images, subjects, layers, seeds, p)
    others = torch.stack([_other_classes(model, images[:p], one, seeds) for one in subjects])
    return Sanity(
        methods=tuple(asked),
        layers=tuple(one.name for one in layers),
        cascading=_by_measure(random.cascading),
        independent=_by_measure(random.independent),
        other_class=_by_measure(others),
        unrelated=_by_measure(torch.stack([_unrelated(one.first) for one in subjects])),
        edges=torch.stack([_edges(model, images[:p], one.first[:p]) for one in subjects]),
        likeness=torch.stack([likeness(one.first) for one in subjects]),
        maps=random.maps,
        photograph=model.denormalize(images[:1])[0],
        targets=subjects[0].first.target[:p],
        model=model.name,
    )


def _by_measure(values: Tensor) -> dict[str, Tensor]:
    """Converts (n, 2, ...) to {measure: (n, ...)}."""
    return {name: values[:, i] for i, name in enumerate(MEASURES)}


def _subject(model: VisionModel, images: Tensor, name: str, given: Mapping[str, Any], target: TargetLike) -> Remade:
    """Makes the trained network's maps; a layer that the method chose is named for the maps of all other networks."""
    method = lookup(name)
    trained = method.function(model, images, target, **given)
    for sentence in trained.notes:
        note(f"{name}: {sentence}")
    if lost := [str(i + 1) for i, status in enumerate(trained.status) if status != "ok"]:
        note(f"{name} has no map of image {', '.join(lost)}, which is left out")
    return Remade.of(method, given, trained)


# --- random weights


@dataclass(frozen=True, eq=False)
class _Random:
    """Similarities (n, 2, s, p, d) of n methods by two measures, and maps (n, d + 1, h, w) of the first picture."""

    cascading: Tensor
    independent: Tensor
    maps: Tensor


def _random(
    copy: Randomized, images: Tensor, subjects: Sequence[Remade], layers: Sequence[Stretch], seeds: int, p: int
) -> _Random:
    d, shape = len(layers), (len(subjects), 2, seeds, p, len(layers))
    cascading, independent = (torch.full(shape, torch.nan, dtype=torch.float64) for _ in range(2))
    shown = [[own := _shown(one.first), *[torch.zeros_like(own)] * d] for one in subjects]
    for seed, depth, alone in track(list(_plan(seeds, d)), seeds * (2 * d - 1), "networks"):
        copy.randomize(layers[depth : depth + 1] if alone else layers[: depth + 1], seed)
        network = copy.fit(images)
        if not copy.answers(images[:p]):
            note("some networks with random weights answer with NaN or infinity, and are left out")
            continue
        for i, one in enumerate(subjects):
            try:
                other = one.maps(network, images[:p])
            except (MethodError, LayerError, TargetError) as error:  # hours of work must not end here: NaN, and a note
                note(f"{one.method.name} refused some networks with random weights, which are left out: {error}")
                continue
            found = _compared(one, other)
            if alone or depth == 0:
                independent[i, :, seed, :, depth] = found
            if not alone:
                cascading[i, :, seed, :, depth] = found
            if not alone and seed == 0:
                shown[i][depth + 1] = _shown(other)
    return _Random(cascading, independent, torch.stack([torch.stack(one) for one in shown]).cpu())


def _shown(attribution: Attribution) -> Tensor:
    return magnitude(attribution)[0].nan_to_num(nan=0.0)


def _plan(seeds: int, d: int) -> Iterator[tuple[int, int, bool]]:
    """Yields (seed, depth, alone) of all networks; the last layer alone is the first step of the cascade, too."""
    for seed in range(seeds):
        yield from ((seed, depth, False) for depth in range(d))
        yield from ((seed, depth, True) for depth in range(1, d))


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"


# --- similarity


def _compared(one: Remade, other: Attribution) -> Tensor:
    """Returns the similarities (2, p) of maps, rank correlation and SSIM, to those of the trained network."""
    return similarities(one.first[: len(other)], other)


def _other_classes(model: VisionModel, images: Tensor, one: Remade, seeds: int) -> Tensor:
    """Returns (2, s, p) similarities to the maps of other classes, drawn by the seed; NaN where targets are no classes."""
    own = one.first.explains[: len(images)]
    k = n_classes(model, images) if all(type(target) is int for target in own) else None
    if k is None or k < 2:
        note(f"{one.method.name}: the targets are no classes, so that none was exchanged")
        return torch.full((2, seeds, len(images)), torch.nan, dtype=torch.float64)
    drawn = [other_classes(own, k, seed) for seed in range(seeds)]
    with stage("other classes"):
        found = [_compared(one, one.maps(model, images, some)) for some in track(drawn, seeds, "classes")]
    return torch.stack(found, 1)


def _unrelated(trained: Attribution) -> Tensor:
    """Returns (2,) the mean similarity over pairs of maps of different pictures; NaN without a pair."""
    n = len(trained)
    shifted = [replace_rows(trained, [(i + shift) % n for i in range(n)]) for shift in range(1, min(n // 2, SHIFTS) + 1)]
    if not shifted:
        return torch.full((2,), torch.nan, dtype=torch.float64)
    return torch.cat([similarities(trained, other) for other in shifted], 1).nanmean(1)


def replace_rows(attribution: Attribution, rows: Sequence[int]) -> Attribution:
    """Returns an attribution with the maps and statuses of other rows."""
    status = tuple(attribution.status[row] for row in rows)
    return replace(attribution, values=attribution.values[list(rows)], status=status)


def _edges(model: VisionModel, images: Tensor, trained: Attribution) -> Tensor:
    """Returns (p,) rank correlations of the maps with the edges of their pictures, at the resolution of the maps."""
    maps = magnitude(trained, None)
    edges = F.adaptive_avg_pool2d(edge_attribution(model, images, targets_of(trained)).values, size_of(maps))[:, 0]
    broken = torch.tensor([status != "ok" for status in trained.status])
    return rank_correlation(maps, edges).cpu().masked_fill(broken, torch.nan)
