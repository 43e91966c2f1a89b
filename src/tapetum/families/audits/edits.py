"""Edits of a classifier's last layer that suppress a cue: projections, masks of units, rows; fitted to features alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

RIDGES = (1.0, 0.1, 10.0)
"""Shares of the features' mean variance that are added to each of their variances, for projections.

At 0 the reading is the best linear one of the cue as it was moved; a large one reads the whole direction, so that it finds the
cue in other forms, too, and takes more with it.
"""

KEPT = (0.1, 0.01, 0.001)
"""Weights of the penalty that keeps retrained rows near their old values: the first changes least."""

STEPS = 60


@dataclass(frozen=True)
class Head:
    """The rows of a last layer that answer for the classes of the data: weight (k, d), bias (k,), float64."""

    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class Seen:
    """Features (n, 3, d) of pictures as they are, with their own cue, with another's; labels, cues and weights of `Swapped`."""

    features: Tensor
    labels: Tensor
    cues: Tensor
    weight: Tensor
    own: Tensor

    def take(self, rows: Tensor) -> Seen:
        return replace(
            self, features=self.features[rows], labels=self.labels[rows], cues=self.cues[rows], weight=self.weight[rows]
        )

    @property
    def moved(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features (2 n, d) of the pictures with moved cues, their labels, cues, and weights that sum to 1."""
        features, cues = self.features[:, 1:].flatten(0, 1), self.cues[:, 1:].flatten()
        weight = torch.stack([torch.ones_like(self.weight), self.weight], 1).flatten().double()
        return features, self.labels.repeat_interleave(2), cues, weight / weight.sum()


Fit = Callable[[Head, Seen], Head]


@dataclass(frozen=True)
class Edit:
    """A way to change the last layer: `fit` computes the new one from features; `words` say what it does."""

    how: str
    name: str
    words: str
    fit: Fit


# --- projections


def project(head: Head, seen: Seen, ridge: float) -> Head:
    """Takes from the features what a linear reading finds of the cue, along the direction in which the cue moves them.

        x' = x - v u'(x - m) / u'v,    u = (S + ridge s I)^-1 v

    v: the mean difference between features of one picture with two cues; S: covariance of the features, s their mean variance;
    m: their mean without the cue. Without a ridge no linear map finds the cue in x' any more, and among all edits of which this
    is true it moves the features least, in units of their spread (Belrose et al. 2023); several cues are taken away together.
    """
    features, _, cues, weight = seen.moved
    found = _directions(seen)
    read = torch.linalg.solve(_covariance(features, weight, ridge), found)
    change = (head.weight @ found) @ torch.linalg.pinv(read.T @ found) @ read.T
    return Head(head.weight - change, head.bias + change @ _without(features, cues, weight))


def _directions(seen: Seen) -> Tensor:
    """Directions (d, r) in which each suspected class's cue moves the features of a picture, of length 1 or 0."""
    first, second = seen.cues[:, 1], seen.cues[:, 2]
    difference = seen.features[:, 2] - seen.features[:, 1]
    means = []
    for group in range(1, int(seen.cues.max()) + 1):
        sign = (second == group).double() - (first == group).double()
        means.append((difference * sign[:, None]).sum(0) / sign.abs().sum().clamp(min=1))
    found = torch.stack(means, 1)
    return found / found.norm(dim=0).clamp(min=1e-30)


def _covariance(features: Tensor, weight: Tensor, ridge: float) -> Tensor:
    centred = features - weight @ features
    found = (centred * weight[:, None]).T @ centred
    return found + ridge * found.diagonal().mean().clamp(min=1e-30) * torch.eye(len(found), dtype=found.dtype)


def _without(features: Tensor, cues: Tensor, weight: Tensor) -> Tensor:
    """Mean of the features with a cue of the classes that are not suspected; of all, where there are none."""
    rest = weight * (cues == 0)
    rest = rest if bool(rest.sum() > 0) else weight
    return rest @ features / rest.sum()


# --- units


def mask(head: Head, seen: Seen, units: int) -> Head:
    """Sets the units that carry most of the cue to their mean without it: their difference times the weights that read them."""
    features, _, cues, weight = seen.moved
    size = _directions(seen).abs().amax(1)
    read = (head.weight - head.weight.mean(0)).abs().amax(0)
    chosen = (size * read).topk(min(units, len(size))).indices
    kept = torch.ones_like(size)
    kept[chosen] = 0
    lost = head.weight * (1 - kept)
    return Head(head.weight * kept, head.bias + lost @ _without(features, cues, weight))


# --- rows


def retrain(head: Head, seen: Seen, kept: float, rows: Tensor | None = None) -> Head:
    """Trains rows (k,) bool of the layer, or all, until the classes are told apart with whatever cue.

    Cross-entropy over pictures with moved cues, and half as much over pictures as they are, plus `kept` times the squared
    change of the weights in units of the features' spread.
    """
    features, labels, _, weight = seen.moved
    plain = torch.full((len(seen.labels),), 0.5 / len(seen.labels), dtype=torch.float64)
    known = (seen.labels < len(head.weight)).double()
    table = torch.cat([features, seen.features[:, 0]])
    truth, each = torch.cat([labels, seen.labels]), torch.cat([weight, plain * known])
    spread = features.std(0)
    free = torch.ones(len(head.weight)).bool() if rows is None else rows
    chosen = free.double()[:, None]
    change = torch.zeros(len(head.weight), head.weight.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([change], max_iter=STEPS, line_search_fn="strong_wolfe")

    def changed() -> Head:
        step = change * chosen
        return Head(head.weight + step[:, :-1], head.bias + step[:, -1])

    def loss() -> Tensor:
        optimizer.zero_grad()
        wrong = F.cross_entropy(changed()(table), truth, reduction="none")
        total = (wrong * each).sum() + kept * (change[:, :-1] * chosen * spread).square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)  # pyright: ignore[reportArgumentType] (torch types the closure as one that returns a float)
    made = changed()
    return Head(made.weight.detach(), made.bias.detach())


# --- all of them


def edits(how: str, own: Tensor, d: int) -> Iterator[Edit]:
    """Yields the edits that are tried, those that leave most as it was first."""
    if how == "row":
        for kept in KEPT:
            words = f"the rows of the suspected classes are trained again (penalty {kept:g})"
            yield Edit("row", f"row, penalty {kept:g}", words, partial(retrain, kept=kept, rows=own))
    if how == "projection":
        many = int(own.sum())
        for ridge in RIDGES:
            first = "the direction of the cue" if many == 1 else f"the {many} directions of the cue"
            words = f"{first} in the last layer's input {_are(many)} projected out"
            yield Edit("projection", f"projection, ridge {ridge:g}", words, partial(project, ridge=ridge))
    if how == "units":
        count = 1
        while count <= d // 2:
            words = f"{count} of {d} units before the last layer {_are(count)} set to a constant"
            yield Edit("units", f"units, {count}", words, partial(mask, units=count))
            count *= 2
    if how == "last_layer":
        for kept in KEPT:
            words = f"the last layer is trained again (penalty {kept:g})"
            yield Edit("last_layer", f"last layer, penalty {kept:g}", words, partial(retrain, kept=kept))


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
