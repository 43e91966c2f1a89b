"""Reads the pictures of an audit: as the network sees them, with their classes and the masks of their objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from tapetum.data.streams import Source, as_source
from tapetum.engines.scores import gives_classes, probabilities
from tapetum.families.audits.files import file_properties
from tapetum.families.audits.objects import standing_out
from tapetum.models.vision_model import VisionModel
from tapetum.progress import report, stage
from tapetum.training.checking import class_outputs
from tapetum.training.data import Subset, class_names, part, seeded
from tapetum.training.pictures import KEEP_BYTES, Photographs, batch_orders
from tapetum.types import ImageError, ModelError, TargetError

FEWEST = 8
"""Least number of readable pictures of a class."""

BATCH = 50
"""Pictures per forward pass."""


@dataclass(frozen=True)
class Audited:
    """Pictures (n, 3, h, w) in [0, 1] of an audit, with names, classes (n,), masks of objects (n, h, w), and their files."""

    pixels: Tensor
    names: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]
    outputs: tuple[int, ...]
    objects: Tensor
    skipped: dict[str, str]
    rows: Tensor
    files: Tensor


def read_pictures(model: VisionModel, source: Source, n: int | None, masks: Any, seed: int) -> Audited:
    """Reads up to n pictures, of each class equally many as far as there are; finds their objects where no masks are given."""
    classes = class_names(source)
    outputs = _outputs(model, classes)
    chosen = _chosen(source, classes, n, seed)
    photographs = Photographs(chosen, model.preprocessing, "none", seed, KEEP_BYTES)
    levels, kept = [], []
    for rows, some in photographs.levels(batch_orders(len(chosen), BATCH)):
        levels.append(some)
        kept.append(rows)
    rows = torch.cat(kept) if kept else torch.zeros(0, dtype=torch.long)
    labels = chosen.labels[rows]
    _enough(source, classes, labels, photographs.skipped)
    pixels = torch.cat(levels).float() / 255
    samples = torch.tensor(chosen.samples)[rows]
    objects = _objects(pixels) if masks is None else _masks(model, source, samples, masks, pixels)
    names = tuple(chosen.id(row) for row in rows.tolist())
    files = file_properties(source, samples)
    return Audited(pixels, names, labels, classes, outputs, objects, dict(photographs.skipped), samples, files)


def answers(model: VisionModel, pixels: Tensor, outputs: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Returns probabilities (n, k) of the data's classes, and the most probable output (n,) as its place in them, k: none."""
    images = model.preprocessing.normalize(pixels).to(model.device, model.dtype)
    table = probabilities(model, images)
    assert table is not None, "checked before"
    place = torch.full((table.shape[1],), len(outputs))
    place[torch.tensor(outputs)] = torch.arange(len(outputs))
    return table[:, list(outputs)].double().cpu(), place[table.argmax(1).cpu()]


def _outputs(model: VisionModel, classes: Sequence[str]) -> tuple[int, ...]:
    if not gives_classes(model, model.blank()):
        raise ModelError(f"{model.name} gives no table of classes: an audit needs a classifier with an output per class")
    table = probabilities(model, model.blank())
    if table is None or table.shape[1] < 2:
        what = "numbers, no classes" if table is None else "one value per picture"
        raise ModelError(f"{model.name} gives {what}: an audit needs a classifier with an output per class, two at least")
    try:
        return tuple(class_outputs(model, classes))
    except TargetError as error:
        raise ModelError(
            f"{model.name} has no output for a class of the data: {error}; class folders are named as labels"
        ) from error


def _chosen(source: Source, classes: tuple[str, ...], n: int | None, seed: int) -> Subset:
    """Draws pictures so that each class has as many as the smallest ones allow, n in all at most."""
    by_class = {name: [i for i, label in enumerate(source.labels) if label == name] for name in classes}
    for name, members in by_class.items():
        order = torch.randperm(len(members), generator=seeded(seed, "audit", name)).tolist()
        by_class[name] = [members[i] for i in order]
    total = sum(map(len, by_class.values()))
    share, wanted = 0, total if n is None else min(n, total)
    while sum(min(len(members), share) for members in by_class.values()) < wanted:
        share += 1
    samples = sorted(sample for members in by_class.values() for sample in members[:share])
    return part(source, samples, classes)


def _enough(source: Source, classes: Sequence[str], labels: Tensor, skipped: dict[str, str]) -> None:
    counts = torch.bincount(labels, minlength=len(classes)).tolist()
    few = min(zip(counts, classes, strict=True))
    if few[0] < FEWEST:
        lost = f" ({len(skipped)} could not be read)" if skipped else ""
        raise ImageError(
            f"{source.name} has {few[0]} picture{'s' * (few[0] != 1)} of '{few[1]}'{lost}: an audit needs {FEWEST} of each "
            "class, and finds little under 50"
        )


def _objects(pixels: Tensor) -> Tensor:
    found = []
    with stage("objects"):
        for some in pixels.split(BATCH):
            found.append(standing_out(some))
            report(sum(map(len, found)), len(pixels), "pictures")
    return torch.cat(found)


# --- masks from users


def _masks(model: VisionModel, source: Source, samples: Tensor, masks: Any, pixels: Tensor) -> Tensor:
    """Returns masks (n, h, w) of the chosen pictures: rows of a tensor over the whole source, or pictures of the same names."""
    if isinstance(masks, (str, PathLike, Source)):
        return _from_pictures(model, source, samples, as_source(masks))
    table = torch.as_tensor(masks)
    if table.ndim != 3 or len(table) != len(source.ids):
        raise ImageError(
            f"masks are (n, h, w), one for each of the {len(source.ids)} pictures of {source.name} in their order, "
            f"not {tuple(table.shape)}"
        )
    chosen = table[samples].float()
    if chosen.shape[-2:] != pixels.shape[-2:]:
        chosen = torch.cat([model.preprocessing.crop(one[None, None].repeat(1, 3, 1, 1))[:, 0] for one in chosen])
    return chosen > 0.5


def _from_pictures(model: VisionModel, source: Source, samples: Tensor, masks: Source) -> Tensor:
    places = {PurePosixPath(one).with_suffix(""): i for i, one in enumerate(masks.ids)}
    found = []
    for sample in samples.tolist():
        name = str(source.ids[sample])
        place = places.get(PurePosixPath(name).with_suffix(""))
        if place is None:
            raise ImageError(f"{masks.name} has no mask for {name}: give a picture of the same name, white on it")
        found.append(model.preprocessing.crop(masks.read(place))[:, :3].mean(1) > 0.5)
    return torch.cat(found)
