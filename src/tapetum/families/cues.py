"""Shape or texture: pictures whose two cues disagree, decided by the published rule and by ranks over all classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tapetum.border.methods import survey
from tapetum.border.sentences import Seed
from tapetum.data.cues import Cues, categories_by_name, cues_of, imagenet_categories
from tapetum.data.labels import imagenet_labels
from tapetum.data.streams import Source
from tapetum.data.streams.base import read_images
from tapetum.engines.batching import batch_size
from tapetum.engines.ranks import interval, resamples
from tapetum.engines.scores import probabilities
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import stage, track
from tapetum.types import Batch, ImageError, MethodError, ShapeTexture

NAMED = "cat7-elephant1.png for the shape of a cat with the texture of an elephant"
SAME_NAMES = 0.9
"""Share of labels that must be ImageNet's, each in its place, for a network to count as one of ImageNet's classes."""


@survey(cite="geirhos2019imagenet", question="mattered")
def shape_or_texture(
    model: VisionModel,
    source: Source,
    *,
    categories: Mapping[str, Sequence[int]] | None = None,
    seed: Seed = 0,
    batch: Batch = "auto",
) -> ShapeTexture:
    """Whether a network answers the shape or the texture of pictures in which the two disagree.

    decision = the category with the highest mean probability of its classes; shape bias = decisions by shape / (decisions by
    shape + decisions by texture), as published; pictures decided by neither do not count there. Second, over all classes and
    pictures: the best rank r of each cue's m classes among the network's N, and how often m classes drawn by lot would do as
    well, 1 - C(N - r, m) / C(N, m), since one of 109 dogs is sooner among the first than the one airplane; `rank_bias` is the
    share of pictures whose shape is the less likely to have come by chance. Intervals of 95 % draw the shapes and the textures
    again, each with all its pictures (owen2007pigeonhole): pictures that share a cat are no independent witnesses.

    The pictures are called SHAPEn-TEXTUREm.png, as the 1280 published ones are; those whose cues agree, and others, are
    left out and listed in `skipped`.

    Args:
        categories: {category: indices of its classes}; None: the 16 published ones for ImageNet's classes, or the network's own
            labels where they are the categories' names.

    Example:
        >>> print(tp.shape_or_texture(model, conflicts, categories={"cat": [0, 1], "dog": [2]}))
    """
    cues, skipped = _conflicts(source)
    names = tuple(dict.fromkeys(name for one in cues.values() for name in (one.shape, one.texture)))
    groups = _categories(model, categories, names)
    for sample, one in list(cues.items()):
        if lost := [name for name in (one.shape, one.texture) if name not in groups]:
            skipped[source.ids[sample]] = f"{model.name} has no classes for {' and '.join(lost)}"
            del cues[sample]
    samples, table = _answered(model, source, sorted(cues), groups, skipped, batch)
    if not samples:
        raise ImageError(f"{source.name}: no picture is left to ask about; {next(iter(skipped.values()))}")
    return _result(model, source, [cues[sample] for sample in samples], samples, table, groups, skipped, seed)


def _conflicts(source: Source) -> tuple[dict[int, Cues], dict[str, str]]:
    """Returns {sample: its cues} of the pictures with two different cues, and why others are left out."""
    found, skipped = dict[int, Cues](), dict[str, str]()
    for sample, name in enumerate(source.ids):
        cues = cues_of(name)
        if cues is None:
            skipped[name] = "its name is not SHAPEn-TEXTUREm"
        elif cues.shape == cues.texture:
            skipped[name] = f"shape and texture agree ({cues.shape})"
        else:
            found[sample] = cues
    if not found:
        raise ImageError(f"{source.name} holds no picture whose name tells two cues apart, such as {NAMED}")
    return found, skipped


def _categories(
    model: VisionModel, given: Mapping[str, Sequence[int]] | None, names: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Returns {category: indices of its classes} for a network; refuses one whose classes are not known to be categories."""
    if given is not None:
        return _checked(given)
    labels = model.labels or ()
    if found := _of_imagenet(labels):
        return found
    own = {name: found for name, found in categories_by_name(labels, names).items() if found}
    if len(own) >= 2:
        return own
    raise MethodError(
        f"{model.name} has no ImageNet classes, nor labels such as {', '.join(names[:3])}: say which classes are which"
        f" category, categories={{'{names[0]}': [3, 7], ...}}, or give its labels"
    )


def _of_imagenet(labels: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Returns {published category: indices} where labels name its 207 classes in any order, or are ImageNet's."""
    known, groups = imagenet_labels(), imagenet_categories()
    places = {label.partition(",")[0].casefold(): i for i, label in enumerate(labels)}
    names = {name: [known[index].casefold() for index in indices] for name, indices in groups.items()}
    if all(one in places for many in names.values() for one in many):
        return {name: tuple(places[one] for one in many) for name, many in names.items()}
    same = sum(own.partition(",")[0].casefold() == name.casefold() for own, name in zip(labels, known, strict=False))
    return groups if len(labels) == len(known) and same >= SAME_NAMES * len(known) else {}


def _checked(given: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    groups = {str(name).lower(): tuple(indices) for name, indices in given.items()}
    listed = [index for indices in groups.values() for index in indices]
    if len(groups) < 2 or not all(groups.values()) or not all(type(one) is int and one >= 0 for one in listed):
        raise MethodError("categories are at least two, {'cat': [281, 282], 'dog': [151]}, each with indices of classes")
    if len(set(listed)) < len(listed):
        raise MethodError("categories share a class: each class belongs to one category at most")
    return groups


def _answered(
    model: VisionModel,
    source: Source,
    samples: Sequence[int],
    groups: Mapping[str, Sequence[int]],
    skipped: dict[str, str],
    batch: Batch,
) -> tuple[list[int], Tensor]:
    """Returns the samples that could be read, and the network's probabilities (n, classes) of them."""
    size, kept, tables = batch_size(model, batch), list[int](), list[Tensor]()
    parts = [samples[start : start + size] for start in range(0, len(samples), size)]
    with stage(f"{len(samples)} pictures, one pass each"):
        for part in track(parts, len(samples), "pictures", len):
            images, readable, refused = read_images(source, part, model.preprocessing)
            skipped |= {source.ids[sample]: why for sample, why in refused.items()}
            if readable:
                tables.append(_probabilities(model, images.to(model.device, model.dtype), groups))
                kept += readable
    return kept, torch.cat(tables) if tables else torch.zeros(0, 0)


def _probabilities(model: VisionModel, images: Tensor, groups: Mapping[str, Sequence[int]]) -> Tensor:
    table = probabilities(model, images)
    if table is None or table.shape[1] < 2:
        raise MethodError(
            f"{model.name} gives no probabilities of several classes, so it decides for neither shape nor texture"
        )
    most = max(max(indices) for indices in groups.values())
    if most >= table.shape[1]:
        raise MethodError(f"{model.name} has classes 0 to {table.shape[1] - 1}, and the categories name class {most}")
    return table.double().cpu()


# --- decisions and ranks


def _result(
    model: VisionModel,
    source: Source,
    cues: Sequence[Cues],
    samples: Sequence[int],
    table: Tensor,
    groups: Mapping[str, tuple[int, ...]],
    skipped: Mapping[str, str],
    seed: int,
) -> ShapeTexture:
    names, n = list(groups), table.shape[1]
    means = torch.stack([table[:, list(groups[name])].mean(1) for name in names], 1)
    best = best_ranks(table, groups)
    chance = torch.stack([by_chance(best[:, i], len(groups[name]), n) for i, name in enumerate(names)], 1)
    rows = torch.arange(len(cues))
    shape, texture = (torch.tensor([names.index(getattr(one, cue)) for one in cues]) for cue in ("shape", "texture"))
    found = ShapeTexture(
        pictures=tuple(source.ids[sample] for sample in samples),
        **{
            f"{cue}s": tuple(getattr(one, cue) for one in cues)
            for cue in ("shape", "texture", "shape_source", "texture_source")
        },
        decisions=tuple(names[i] for i in means.argmax(1).tolist()),
        shape_rank=best[rows, shape],
        texture_rank=best[rows, texture],
        shape_chance=chance[rows, shape],
        texture_chance=chance[rows, texture],
        sizes={name: len(indices) for name, indices in groups.items()},
        classes=n,
        skipped=dict(skipped),
        model=model.name,
        data=source.name,
    )
    if model.weights == "random":
        note(f"{model.name} has random weights: its decisions are chance")
    spans = intervals(found, seed)
    return ShapeTexture(**{**vars(found), "interval": spans[0], "rank_interval": spans[1]})


def best_ranks(table: Tensor, groups: Mapping[str, Sequence[int]]) -> Tensor:
    """Returns the best rank (n, categories) of each category's classes in tables (n, k); 1 is the highest; ties share it."""
    ordered = (-table).contiguous().sort(1).values
    ranks = 1 + torch.searchsorted(ordered, (-table).contiguous())
    return torch.stack([ranks[:, list(indices)].amin(1) for indices in groups.values()], 1)


def by_chance(rank: Tensor, m: int, n: int) -> Tensor:
    """Returns how often the best of m classes drawn by lot of n has a rank (...,) or better: 1 - C(n - r, m) / C(n, m)."""
    left = n - rank.double()
    free = (left[..., None] - torch.arange(m).double()).clamp(min=0) / (n - torch.arange(m).double())
    return 1 - free.prod(-1)


def intervals(found: ShapeTexture, seed: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns the intervals of `bias` and of `rank_bias`: shapes and textures are drawn again, each with all its pictures."""
    times = _drawn(found.shape_sources, 2 * seed) * _drawn(found.texture_sources, 2 * seed + 1)
    by_shape, decided = (
        torch.tensor([answer in allowed for answer in found.answers]).double() for allowed in (("shape",), ("shape", "texture"))
    )
    ahead = torch.tensor([found[i].rank_bias for i in range(len(found))], dtype=torch.float64)
    spans = interval(by_shape, decided, times), interval(ahead, torch.ones_like(ahead), times)
    first, second = (tuple(float(one) for one in span) for span in spans)
    return (first[0], first[1]), (second[0], second[1])


def _drawn(sources: Sequence[str], seed: int) -> Tensor:
    """Returns how often each picture's source is drawn in each resample, (draws, n)."""
    once = list(dict.fromkeys(sources))
    return resamples(len(once), seed)[:, [once.index(one) for one in sources]]
