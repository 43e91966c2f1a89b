"""Null of other seeds: how far the maps of networks agree that differ by nothing but chance, and the bar that this sets.

Given networks: checkpoints of the same recipe with other seeds. Where the user has none, twins are made here: last layers
trained anew where b has a's features, else networks of a's architecture from random weights, on one half of the pictures;
agreement is then that of pairs of twins on the other half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median
from typing import Literal

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.data.streams import Source
from tapetum.engines.student import next_probability, next_value
from tapetum.families.comparing.features import pooled_at
from tapetum.families.comparing.groups import places
from tapetum.families.comparing.looks import Maker, agreement, answers, class_targets
from tapetum.families.comparing.pictures import Deck
from tapetum.models.untrained import reset
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import find_head
from tapetum.notes import note
from tapetum.progress import stage, track
from tapetum.training.training import fine_tune
from tapetum.types import Batch, MethodError, ModelError, ModelLike, TrainingError
from tapetum.types.checks import listed
from tapetum.types.comparing import SeedNull

FEWEST = 3
"""Least number of other seeds: a spread of fewer says nothing."""

TWINS = 12
"""Networks that are made where none are given: six pairs."""

EPOCHS = 30

LEARNED = 0.7
"""Least share of the other half on which the median twin gives a's answer: twins that did not learn the task are no null."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network of another seed adds: its maps of the classes that a predicts, and places of pictures in its features."""

    name: str
    maps: Tensor
    places: Tensor


def seen(model: ModelLike, pictures: Deck, named: Sequence[str], maker: Maker, layer: str | None, batch: Batch) -> Seen:
    """Makes the maps of one network of another seed, and reads its deepest features."""
    with border(model, None, "model") as (network, _):
        own = answers(network, pictures.take([0]), batch)
        known = maker.layer in {one.name for one in network.survey.layers}  # a network of another make chooses its own
        here = maker if known else replace(maker, layer=None)
        maps, _ = here.maps(network, pictures, class_targets(named, own, network))
        found = pooled_at(network, pictures, layer, batch)
        return Seen(network.name, maps, places(found))


def given_null(maps: Sequence[Tensor], names: Sequence[str], of_b: Tensor, level: float) -> SeedNull:
    """Returns the null of the reference and its other seeds: the mean agreement of each with the others, beside that of b.

    The values share their pairs, which shrinks their spread by 1 - 1 / (number of others): this is made up for.
    """
    each = [[mean_of(one, other) for j, other in enumerate(maps) if j != i] for i, one in enumerate(maps)]
    values = tuple(map(fmean, each))
    measured = fmean(mean_of(of_b, one) for one in maps)
    shrunk = 1 - 1 / (len(maps) - 1)
    bar, p = next_value(values, level, shrunk), next_probability(values, measured, shrunk)
    return SeedNull("given", tuple(names), values, measured, bar, p, level)


def mean_of(a: Tensor, b: Tensor) -> float:
    return float(agreement(a, b).nanmean())


# --- twins


@dataclass(frozen=True, eq=False)
class Relabelled:
    """A source with other labels, such as the answers of a network."""

    source: Source
    labels: Sequence[str | None]

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def ids(self) -> Sequence[str]:
        return self.source.ids

    def fingerprint(self) -> str:
        return self.source.fingerprint()

    def read(self, sample: int) -> Tensor:
        return self.source.read(sample)


def twin_null(
    a: VisionModel, b: VisionModel, pictures: Deck, named: Sequence[str], maker: Maker, level: float, seed: int, batch: Batch
) -> SeedNull:
    """Trains twins on one half of the pictures, by a's answers to them; returns the null of their pairs on the other half."""
    if len(set(named)) < 2:
        raise MethodError("a bar from twins takes pictures of at least two classes; give networks of other seeds (null=...)")
    kind: Literal["heads", "trained"] = "heads" if same_features(a, b) else "trained"
    order: list[int] = listed(torch.randperm(len(pictures), generator=torch.Generator().manual_seed(seed)))
    half = len(order) // 2
    learned, held = sorted(order[:half]), sorted(order[half:])
    test, test_names = pictures.take(held), [named[row] for row in held]
    maps, shares = list[Tensor](), list[float]()
    words = "last layers" if kind == "heads" else "networks"
    with stage(f"{TWINS} {words} are trained on {half} pictures"):
        for number in track(range(TWINS), TWINS, "twins"):
            twin = _twin(a, kind, pictures, learned, named, seed * TWINS + number)
            with border(twin, None, "model") as (network, _):
                own = answers(network, test, batch)
                shares.append(fmean(x == y for x, y in zip(own.names, test_names, strict=True)))
                maps.append(maker.maps(network, test, class_targets(test_names, own, network))[0])
    if median(shares) < LEARNED:
        raise MethodError(
            f"networks trained on {half} of these pictures give {a.name}'s answer on {median(shares):.0%} of the others, too "
            "few for a null: give more pictures, or networks of the same recipe with other seeds (null=[...], --null FILE)"
        )
    values = tuple(mean_of(maps[i], maps[i + 1]) for i in range(0, TWINS, 2))
    with border(a, None, "model") as (one, _), border(b, None, "model") as (two, _):
        both = [
            maker.maps(net, test, class_targets(test_names, answers(net, test.take([0]), batch), net))[0] for net in (one, two)
        ]
    measured = mean_of(both[0], both[1])
    note(f"the bar comes from twins trained on {half} pictures: networks that learned from more agree better, so it is mild")
    names = tuple(f"twin {i + 1}" for i in range(TWINS))
    bar, p = next_value(values, level), next_probability(values, measured)
    return SeedNull(kind, names, values, measured, bar, p, level)


def _twin(a: VisionModel, kind: str, pictures: Deck, rows: Sequence[int], named: Sequence[str], seed: int) -> VisionModel:
    """Trains one twin: of a resample of the pictures with the same last layer or all layers new."""
    data = Relabelled(pictures.take(rows).chosen(), [named[row] for row in rows])
    start, freeze = (a, "features") if kind == "heads" else (reset(a, seed)[0], None)
    rate = 1e-2 if kind == "heads" else 2e-3
    try:
        made = fine_tune(start, data, freeze=freeze, epochs=EPOCHS, batch=32, learning_rate=rate, seed=seed, validation=0.05)
    except (TrainingError, ModelError) as error:
        raise MethodError(f"no twin of {a.name} can be trained ({error}): give networks of other seeds (null=...)") from error
    return made.model


def same_features(a: VisionModel, b: VisionModel) -> bool:
    """Whether all weights but those of the last layer are equal."""
    first, second = a.module.state_dict(), b.module.state_dict()
    try:
        heads = (find_head(a), find_head(b))
    except ModelError:
        return False
    inner = [
        {name for name in state if not name.startswith(f"{head}.")} for state, head in zip((first, second), heads, strict=True)
    ]
    if inner[0] != inner[1] or heads[0] != heads[1]:
        return False
    return all(first[name].shape == second[name].shape and torch.equal(first[name], second[name]) for name in inner[0])
