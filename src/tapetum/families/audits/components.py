"""Parts of a class's logit, found in its own pictures, and whether they rest on the object or on its surroundings."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tapetum.families.audits.cues import Move, move_background
from tapetum.families.audits.following import pairs
from tapetum.families.audits.heads import features_of
from tapetum.families.audits.material import Material
from tapetum.families.audits.pictures import BATCH, Audited
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import find_head
from tapetum.notes import note
from tapetum.progress import report, stage
from tapetum.types import ClassComponent, ModelError

KEPT = 3
"""Components of each class."""

SHOWN, RESAMPLES = 6, 500


def components(model: VisionModel, read: Audited, made: Material, seed: int) -> tuple[ClassComponent, ...]:
    """The strongest components of each class, those that rest most on the surroundings first.

    A picture's contributions are the features before the last layer, each times its weight in the class's logit; the
    components are the principal ones of the contributions over the class's pictures (Neuhaus et al. 2023). Each one's part of
    the logit is then measured again with another class's object in the picture, and with another class's surroundings.
    """
    try:
        name = find_head(model)
        weight = _weight(model.replica.get_submodule(name))[list(read.outputs)]
        to, given = pairs(len(read.labels), 1, seed)
        every = torch.arange(len(read.labels))
        with stage("parts of each class's logit"):
            own = _features(model, name, made, move_background, every, every)
            moved = _features(model, name, made, move_background, to, given)
    except ModelError as error:
        note(f"classes are not taken apart: {error}")
        return ()
    usable = made.has_object[to] & (read.labels[to] != read.labels[given])
    found = [
        one
        for index in range(len(read.classes))
        for one in _of_class(read, own, moved, to, given, usable & made.has_object[given], weight[index], index, seed)
    ]
    return tuple(sorted(found, key=lambda one: one.of_object - one.of_surroundings))


def _weight(head: nn.Module) -> Tensor:
    assert isinstance(head, (nn.Linear, nn.Conv2d))
    return head.weight.detach().flatten(1).double().cpu()


def _features(model: VisionModel, name: str, made: Material, move: Move, to: Tensor, given: Tensor) -> Tensor:
    """What the last layer takes (m, d), for pictures after a move."""
    found: list[Tensor] = []
    for some, others in zip(to.split(BATCH), given.split(BATCH), strict=True):
        found.append(features_of(model, name, move(made, some, others))[0])
        report(sum(map(len, found)), len(to), "pictures")
    return torch.cat(found)


def _of_class(
    read: Audited,
    own: Tensor,
    moved: Tensor,
    to: Tensor,
    given: Tensor,
    usable: Tensor,
    weight: Tensor,
    index: int,
    seed: int,
) -> list[ClassComponent]:
    """Returns the components of one class, with the parts of the logit that object and surroundings carry."""
    rows = (read.labels == index).nonzero()[:, 0]
    values = own[rows] * weight
    mean = values.mean(0)
    _, spread, directions = torch.linalg.svd(values - mean, full_matrices=False)
    shares = spread.square() / spread.square().sum().clamp(min=1e-12)
    without_object = usable & (read.labels[given] == index)
    without_ground = usable & (read.labels[to] == index)
    made: list[ClassComponent] = []
    for direction, share in zip(directions[:KEPT], shares[:KEPT].tolist(), strict=False):
        part = _part(direction, weight)
        lost_object = part(own[given[without_object]]) - part(moved[without_object])
        lost_ground = part(own[to[without_ground]]) - part(moved[without_ground])
        if len(lost_object) and len(lost_ground):
            best = rows[part(own[rows]).argsort(descending=True, stable=True)[:SHOWN]]
            made.append(
                ClassComponent(
                    read.classes[index],
                    share,
                    float(part(own[rows]).mean()),
                    float(lost_object.mean()),
                    float(lost_ground.mean()),
                    _interval(lost_object, lost_ground, seed),
                    tuple(read.names[row] for row in best.tolist()),
                    read.pixels[best],
                )
            )
    return made


def _part(direction: Tensor, weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Part of the logit along a direction of the contributions: <direction, contributions> times the direction's sum."""
    return lambda features: ((features * weight) @ direction) * direction.sum()


def _interval(one: Tensor, other: Tensor, seed: int) -> tuple[float, float]:
    """Interval of 95 % of the difference of two means, by resampling each."""
    generator = torch.Generator().manual_seed(seed)
    means = [x[torch.randint(len(x), (RESAMPLES, len(x)), generator=generator)].mean(1) for x in (one, other)]
    low, high = (means[0] - means[1]).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high
