"""Prototypes of a class's decisions, and whether a decision is unusual for its class, with a known rate of false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from tapetum.border.layers import layer_of
from tapetum.engines.backward import composites
from tapetum.engines.backward.relevance import relevance_at
from tapetum.engines.gradients import layer_gradient
from tapetum.engines.scores import as_score
from tapetum.engines.scores.base import index_name
from tapetum.families.concept_tests.sets import PictureSet, first_score, network_for, picture_set, thumbnails
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note, noting
from tapetum.progress import stage
from tapetum.types import Batch, ClassPrototypes, Decisions, MethodError, ModelLike, Range, Result
from tapetum.types.checks import checked_choice, checked_range, listed
from tapetum.types.decisions import can_be_unusual, percent
from tapetum.types.results import PARTS, WHOLE
from tapetum.types.text import table

Way = Literal["gradient", "relevance"]

FEWEST = 12
"""Decisions for a class below which it gets no prototypes."""

SPLITS = 20
"""Random thirds on which false alarms are measured."""

HEAD = ("class", "decisions", "held out", "others that would be unusual", "nearest pictures")

DIFFERING, SHOWN = 5, 24
"""Channels that are named; decisions whose pictures are kept, the least usual."""


@dataclass(frozen=True, eq=False)
class Prototypes(Result):
    """Usual decisions for each class with enough of them; `judge` tells whether others are unusual.

    false_alarms  share of ordinary decisions called unusual, measured on `tested` decisions in random thirds of the pictures;
                  of classes with at least 3 (1 / level - 1) decisions, since of fewer none can be; NaN without such a class
    skipped       {class: number of its decisions} of classes with too few
    """

    layer: str
    classes: tuple[ClassPrototypes, ...] = field(metadata=PARTS)
    way: Way
    level: float
    false_alarms: float
    tested: int
    skipped: Mapping[str, int] = field(default_factory=dict[str, int])
    model: str = ""
    notes: tuple[str, ...] = field(default=(), metadata=WHOLE)

    def judge(self, model: ModelLike, images: Any, *, batch: Batch = "auto") -> Decisions:
        """Tells for each picture whether the model's decision is unusual for the class that it chooses."""
        with noting() as said, network_for(model, images) as network:
            pictures = picture_set(network, images, None)
            chosen, shares = decisions(network, pictures, self.layer, self.way, batch)
            found = self._judged(network, pictures.ids, chosen, shares)
            rows = found.order()[:SHOWN]
            small = dict(zip(rows, thumbnails(network, pictures, rows), strict=True))
        photographs = tuple(small.get(row) for row in range(len(found)))
        return replace(found, photographs=photographs, notes=tuple(said))

    def _judged(self, model: VisionModel, names: Sequence[str], chosen: Tensor, shares: Tensor) -> Decisions:
        known = {one.index: one for one in self.classes}
        n, k, m = len(names), min(DIFFERING, shares.shape[1]), max(len(one.distances) for one in self.classes)
        usual = torch.full((n, m), torch.nan, dtype=torch.float64)
        p, far = torch.full((n,), torch.nan, dtype=torch.float64), torch.full((n,), torch.nan, dtype=torch.float64)
        nearest, channels = torch.zeros(n, dtype=torch.long), torch.zeros(n, k, dtype=torch.long)
        differences = torch.zeros(n, k, dtype=torch.float64)
        for row, index in enumerate(listed(chosen)):
            if (one := known.get(index)) is None:
                continue
            distance, which = one.distance(shares[row : row + 1])
            usual[row, : len(one.distances)] = one.distances
            p[row], far[row], nearest[row] = one.p_values(distance)[0], distance[0], which[0]
            parts = (shares[row] - one.centres[which[0]]) / one.spread
            channels[row] = parts.abs().topk(k).indices
            differences[row] = parts[channels[row]]
        labels = tuple(index_name(model, index) for index in listed(chosen))
        return Decisions(
            tuple(names), labels, p, far, nearest, channels, differences, usual, (None,) * n, self.layer, self.level, model.name
        )

    @property
    def rate(self) -> str:
        """Says how often ordinary decisions were called unusual."""
        if not self.tested:
            return f"no class has enough decisions to try how many are called unusual at level {self.level:g}"
        return f"{self.false_alarms:.1%} of {self.tested} ordinary decisions were called unusual at level {self.level:g}"

    def __str__(self) -> str:
        rows = [
            (one.label, str(sum(one.sizes)), str(len(one.distances)), percent(one.power), ", ".join(one.examples))
            for one in self.classes
        ]
        first = f"usual decisions of {self.model} at {self.layer}, by {self.way}: {len(self.classes)} classes; "
        first += self.rate
        left = f"{len(self.skipped)} classes had fewer than {FEWEST} decisions" if self.skipped else ""
        return "\n".join(filter(None, [first, table(HEAD, rows), left]))


def prototypes(
    model: ModelLike,
    source: Any,
    layer: str | None = None,
    *,
    k: Annotated[int, Range(1, 20)] = 1,
    way: Way = "gradient",
    level: Annotated[float, Range(1e-4, 0.5)] = 0.05,
    n: Annotated[int, Range(12, 1_000_000)] | None = None,
    seed: int = 0,
    batch: Batch = "auto",
) -> Prototypes:
    """What the decisions for each class usually rest on, so that unusual ones can be told, with a known rate of false alarms.

    A decision is the vector of the channels' shares in the chosen class's score at a layer: gradient x activation, or relevance
    (LRP), summed over places, divided by the sum of their magnitudes. A class's prototypes are the k means (k-means) of the
    decisions on one half of its pictures (dreyer2024pcx has Gaussian mixtures). The distance of a decision is the root mean
    square over channels of (shares - nearest prototype) / spread. `judge` gives p = (1 + held-out decisions of the class that
    are as far) / (1 + held-out decisions), the held-out ones being the other half: a decision like these has p <= level at most
    at the rate `level`, whatever the shape of the classes (vovk2005algorithmic). With fewer than 19 held out none can be called
    unusual at level .05; the notes say so. The rate is also measured, on thirds of the pictures from which neither prototypes
    nor p-values are made; so is the power, the share of the decisions for other classes that would be unusual for this one.
    Refused: pictures of which no class has 12 decisions, and models that choose no class.

    Args:
        source: ordinary pictures: a folder or another source, or images; their classes are those that the model chooses.
        layer: name of a layer with a map; None: the last that combines several places.
        k: prototypes of each class; fewer where it has few decisions.
        way: measure of a channel's share: gradient x activation, or relevance.
        level: rate of false alarms for each decision.
        n: pictures of the source, drawn at random; None: all.
        seed: random seed of the pictures, halves and means.

    Example:
        >>> print(tp.prototypes(model, images.repeat(12, 1, 1, 1)).judge(model, images))
    """
    checked_choice(way, ("gradient", "relevance"), "way")
    checked_range(k, 1, 20, "k")
    checked_range(level, 1e-4, 0.5, "level")
    with noting() as said, network_for(model, source) as network:
        pictures = picture_set(network, source, n, seed)
        name = layer_of(*first_score(network, pictures, None, batch), layer)
        with stage("decisions"):
            chosen, shares = decisions(network, pictures, name, way, batch)
        found = _found(network, pictures, chosen, shares, (name, way, k, level, seed))
    return replace(found, notes=tuple(said))


def decisions(model: VisionModel, pictures: PictureSet, layer: str, way: Way, batch: Batch) -> tuple[Tensor, Tensor]:
    """Returns the chosen class (n,) of each picture and the channels' shares (n, c) in its score."""
    chosen, shares = list[int](), list[Tensor]()
    for _, images in pictures.batches(model, batch, gradients=True):
        score = as_score(model, images)
        which = score.explains(len(images))
        if not all(isinstance(one, int) for one in which):
            raise MethodError(f"{model.name} chooses no classes, so no decision is usual for its class")
        chosen += which
        if way == "relevance":
            parts = relevance_at(score, images, layer, composites.composite("epsilon_plus"), batch=batch)
        else:
            activation, gradient = layer_gradient(score, images, layer, batch=batch)
            parts = activation * gradient
        shares.append(parts.sum((2, 3)).double().cpu())
    every = torch.cat(shares)
    return torch.tensor(chosen), every / every.abs().sum(1, keepdim=True).clamp(min=torch.finfo(every.dtype).tiny)


def _found(
    model: VisionModel, pictures: PictureSet, chosen: Tensor, shares: Tensor, settings: tuple[str, Way, int, float, int]
) -> Prototypes:
    (layer, way, k, level, seed), names = settings, pictures.ids
    generator = torch.Generator().manual_seed(seed)
    classes, skipped, alarms, tested = list[ClassPrototypes](), dict[str, int](), 0, 0
    for index in sorted(set(listed(chosen))):
        rows, label = (chosen == index).nonzero()[:, 0], index_name(model, index)
        if len(rows) < FEWEST:
            skipped[label] = len(rows)
            continue
        order = rows[torch.randperm(len(rows), generator=generator)]
        made, nearest, _ = of_class(index, label, names, shares, order, k, 2, seed)
        others, small = shares[chosen != index], torch.stack(thumbnails(model, pictures, nearest))
        power = float((made.p_values(made.distance(others)[0]) <= level).double().mean())
        classes.append(replace(made, photographs=small, power=power, level=level))
        for split in range(SPLITS if can_be_unusual(len(rows) // 3, level) else 0):
            order = rows[torch.randperm(len(rows), generator=generator)]
            one, _, left = of_class(index, label, names, shares, order, k, 3, seed + split)
            alarms += int((one.p_values(one.distance(shares[left])[0]) <= level).sum())
            tested += len(left)
    if not classes:
        raise MethodError(f"no class has {FEWEST} decisions or more among {len(names)} pictures: give more pictures")
    least = min(len(one.distances) for one in classes)
    if 1 / (1 + least) > level:
        most = 1 / (1 + least)
        note(f"with {least} held-out decisions p is at least {most:.2g}: some classes need more pictures for level {level:g}")
    return Prototypes(
        layer, tuple(classes), way, level, alarms / tested if tested else float("nan"), tested, skipped, model.name
    )


def of_class(
    index: int, label: str, names: Sequence[str], shares: Tensor, order: Tensor, k: int, parts: int, seed: int
) -> tuple[ClassPrototypes, list[int], Tensor]:
    """Makes the prototypes of one class from the first of 2 or 3 parts of its decisions; the second one is held out.

    Returns them without pictures, the rows of the nearest decisions, and the rows of the third part.
    """
    size = len(order) // parts
    learned, held, left = order[:size], order[size : 2 * size if parts == 3 else len(order)], order[2 * size :]
    values = shares[learned]
    centres, own = k_means(values, min(k, max(1, size // 4)), seed)
    spread = (values - centres[own]).square().mean(0).sqrt()
    spread = (spread.square() + spread.square().mean()).sqrt().clamp(min=torch.finfo(spread.dtype).tiny)
    nearest = [int(learned[int((values - centre).square().sum(1).argmin())]) for centre in centres]
    made = ClassPrototypes(
        index, label, centres, spread, torch.zeros(0), tuple(names[row] for row in nearest),
        tuple(listed(torch.bincount(own, minlength=len(centres)))), torch.zeros(len(centres), 3, 0, 0),
    )  # fmt: skip
    return replace(made, distances=made.distance(shares[held])[0]), nearest, left if parts == 3 else order[:0]


def k_means(values: Tensor, k: int, seed: int, steps: int = 50) -> tuple[Tensor, Tensor]:
    """Returns k means (k, c) of rows (n, c) and the mean of each row (n,), by Lloyd's steps from rows that lie far apart."""
    generator = torch.Generator().manual_seed(seed)
    first = int(torch.randint(len(values), (1,), generator=generator))
    centres = values[first : first + 1]
    while len(centres) < k:
        far = torch.cdist(values, centres).amin(1)
        centres = torch.cat([centres, values[int(far.argmax())][None]])
    own = torch.cdist(values, centres).argmin(1)
    for _ in range(steps):
        means = [values[own == i].mean(0) if bool((own == i).any()) else centres[i] for i in range(k)]
        centres = torch.stack(means)
        again = torch.cdist(values, centres).argmin(1)
        if torch.equal(again, own):
            break
        own = again
    return centres, own
