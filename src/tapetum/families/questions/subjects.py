"""What the five questions are asked about: pictures and their classes, depths of a network, random networks beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tapetum.data.streams import Source
from tapetum.data.streams.base import read_images
from tapetum.data.streams.chosen import drawn
from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.probe import capture, edit
from tapetum.engines.scores import forward_table
from tapetum.models.randomizing import Randomized, stretches
from tapetum.models.untrained import reset
from tapetum.models.vision_model import VisionModel
from tapetum.types import ImageError, TapetumError

FEWEST = 20
"""Least number of pictures: with fewer, no interval says anything."""

FEW_OF_CLASS = 4
"""Least number of pictures of a class that counts."""

PLACES = 7
"""Places of a map along each side that are kept of each picture for the statistics of channels."""

PIXELS = "pixels"
ANSWER = "answer"
THUMB_PX = 16


@dataclass(frozen=True, eq=False)
class Subject:
    """A network, pictures as it takes them, their classes, and depths from early to deep.

    labels   (n,) index of each picture's class, -1 for none; why_not: the reason why there are no classes to ask about
    """

    model: VisionModel
    images: Tensor
    layers: tuple[str, ...]
    labels: Tensor
    classes: tuple[str, ...]
    why_not: str
    skipped: Mapping[str, str]
    seed: int

    @property
    def pixels(self) -> Tensor:
        """The pictures (n, 3, h, w) in [0, 1] as the network saw them."""
        return self.model.denormalize(self.images).float().cpu()

    @property
    def of_class(self) -> Tensor:
        """Rows of the pictures whose class counts."""
        return (self.labels >= 0).nonzero()[:, 0]


def subject_of(model: VisionModel, source: Source, layers: Sequence[str], n: int | None, seed: int) -> Subject:
    """Reads the pictures; refuses fewer than 20 that can be read."""
    if len(source.ids) < FEWEST:
        raise ImageError(f"{source.name} holds {len(source.ids)} pictures; five questions need at least {FEWEST}, better 100")
    some = drawn(source, n, seed)
    images, samples, refused = read_images(some, range(len(some.ids)), model.preprocessing)
    skipped = {some.ids[sample]: why for sample, why in refused.items()}
    if len(samples) < FEWEST:
        why = f"; the first reason: {next(iter(skipped.values()))}" if skipped else ""
        raise ImageError(f"only {len(samples)} pictures of {source.name} can be read, and five questions need {FEWEST}{why}")
    labels, classes, why_not = _classes([some.labels[sample] for sample in samples])
    ready = images.to(model.device, model.dtype)
    return Subject(model, ready, tuple(layers), labels, classes, why_not, skipped, seed)


def _classes(given: Sequence[str | None]) -> tuple[Tensor, tuple[str, ...], str]:
    """Returns each picture's class (-1: none that counts), the classes' names, and why there are none."""
    counts = {name: given.count(name) for name in dict.fromkeys(given) if name is not None}
    classes = tuple(sorted(name for name, count in counts.items() if count >= FEW_OF_CLASS))
    labels = torch.tensor([classes.index(one) if one in classes else -1 for one in given])
    if len(classes) >= 2:
        return labels, classes, ""
    nothing = torch.full_like(labels, -1)
    if not counts:
        return nothing, (), "the pictures have no classes: put those of each class into a folder of its own"
    if len(counts) == 1:
        return nothing, (), f"all pictures are of one class, {next(iter(counts))}: give a folder for each of several classes"
    return nothing, (), f"only {len(classes)} of {len(counts)} classes have {FEW_OF_CLASS} pictures or more: give more of each"


# --- random networks beside it


def random_networks(subject: Subject, n: int) -> list[VisionModel]:
    """Returns n copies of the network with random weights, batch-norms fitted to some of the pictures."""
    found: list[VisionModel] = []
    for i in range(n):
        copy = Randomized(subject.model)
        copy.randomize(stretches(subject.model, 2), subject.seed + i)
        found.append(copy.fit(subject.images[:32]))
    return found


def beside(subject: Subject, fitted: Sequence[VisionModel]) -> tuple[Sequence[Mapping[str, Seen]], ...]:
    """Returns the features of random networks: those with fitted batch-norms, and as many with batch-norms as they are made.

    A user's network that was never trained is of the second kind, so that both must differ from one that has learned. Networks
    without batch-norms are of one kind, and those whose numbers overflow are left out.
    """
    groups = [[look(one, subject.images, subject.layers) for one in fitted]]
    if any("running_var" in dict(part.named_buffers(recurse=False)) for part in subject.model.module.modules()):
        drawn = [look(reset(subject.model, subject.seed + i)[0], subject.images, subject.layers) for i in range(len(fitted))]
        groups.append([one for one in drawn if all(bool(seen.pooled.isfinite().all()) for seen in one.values())])
    return tuple(group for group in groups if len(group) > 1)


# --- what layers and the network say of images


@dataclass(frozen=True, eq=False)
class Seen:
    """Features of a layer on n pictures: `pooled` (n, c), means over places; `places` (n, p, c), some places of the maps."""

    pooled: Tensor
    places: Tensor


def look(model: VisionModel, images: Tensor, layers: Sequence[str]) -> dict[str, Seen]:
    """Returns {layer: its features} from one pass over the images."""
    parts = list(in_chunks(range(len(images)), batch_size(model, "auto"), lambda rows: _look(model, images, rows, layers)))
    return {
        name: Seen(*(torch.cat([getattr(part[name], key) for part in parts]) for key in ("pooled", "places")))
        for name in layers
    }


def _look(model: VisionModel, images: Tensor, rows: Sequence[int], layers: Sequence[str]) -> dict[str, Seen]:
    with torch.no_grad(), capture(model, layers) as acts:
        model(model.laid_out(images[rows[0] : rows[-1] + 1]))
    return {name: _seen(acts[name]) for name in layers}


def _seen(maps: Tensor) -> Seen:
    maps = maps if maps.ndim == 4 else maps[:, :, None, None]
    h, w = maps.shape[-2:]
    rows, columns = (torch.linspace(0, side - 1, min(side, PLACES)).round().long() for side in (h, w))
    some = maps[:, :, rows][:, :, :, columns].flatten(2).transpose(1, 2)
    return Seen(maps.mean((2, 3)).double().cpu(), some.float().cpu())


def answers(model: VisionModel, images: Tensor) -> Tensor | None:
    """Returns the network's numbers (n, k), logits of classes where it gives some; None where its answer is no table."""
    try:
        return torch.cat(
            list(in_chunks(range(len(images)), batch_size(model, "auto"), lambda rows: _table(model, images, rows)))
        )
    except TapetumError:
        return None


NO_ANSWERS = "the network's answer is no table of numbers for each picture, or the same for all"


def varied_answers(model: VisionModel, images: Tensor) -> Tensor | None:
    """Returns the network's numbers (n, k); None where they are no table, or do not depend on the picture."""
    table = answers(model, images)
    if table is None or not bool(table.isfinite().all()):
        return None
    return table if float(table.std(0).max()) > 1e-9 * float(table.abs().max()) else None


def _table(model: VisionModel, images: Tensor, rows: Sequence[int]) -> Tensor:
    with torch.no_grad():
        table, reading = forward_table(model, images[rows[0] : rows[-1] + 1])
    return (table if reading.measured else reading.on("logit", table)).double().cpu()


def edited(model: VisionModel, images: Tensor, layer: str, change: object) -> Tensor | None:
    """Returns the network's numbers (n, k) with the map of a layer replaced by `change(map)`."""
    with edit(model, {layer: change}):  # pyright: ignore[reportArgumentType]
        return answers(model, images)


def thumbnails(pixels: Tensor) -> Tensor:
    """Returns pictures as vectors (n, 768): 16 x 16 pixels of three colours."""
    return F.adaptive_avg_pool2d(pixels, THUMB_PX).flatten(1).double()
