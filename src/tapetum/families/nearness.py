"""Classes that a network hardly tells apart, by its own class weights or by its answers to given pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tapetum.border.subjects import border
from tapetum.data.labels import find_label
from tapetum.engines.scores import answer, as_score, gives_classes, probabilities
from tapetum.models.vision_model import VisionModel
from tapetum.types import ImagesLike, MethodError, ModelLike, Near, Prediction, TargetError

SPLIT = 0.6
"""Probability of the most probable class below which an answer counts as split among several."""

ALIKE = 0.15
"""Least likeness of class weights of classes that count as near: see `near_among`."""

SERIOUS = 0.1
"""Least probability of a near class, as a share of the most probable class, for it to join a union."""


def near_classes(model: ModelLike, index: int | str, k: int = 5, images: ImagesLike | None = None) -> list[Near]:
    """Returns the k classes that the network hardly tells apart from one class, most alike first.

    likeness, by the network's own class weights: the cosine of the two classes' rows in the last linear layer, after the mean
    row is subtracted, in [-1, 1]; two classes with equal rows have the same probability for every picture. With `images`, the
    answers to these pictures decide: sum of min(p of the class, p of the other) / sum of p of the class, in [0, 1], 1 where
    the other is always at least as probable.

    Args:
        index: class by its index or label.
        k: number of classes.
        images: pictures, such as those of the class in a validation set; None: the class weights.

    Example:
        >>> tp.near_classes(model, 1, k=2)[0].index
    """
    if k < 1:
        raise MethodError(f"k is a number of classes from 1 up, not {k}")
    with border(model, images, "images" if images is not None else "model") as (network, ready):
        blank = network.blank(1) if images is None else ready
        if not gives_classes(network, blank) or answer(network, blank).read.kind != "classes":
            raise TargetError(f"{network.name} does not choose one of several classes: near classes are those of a classifier")
        of = (
            find_label(network.labels or (), index)
            if isinstance(index, str)
            else as_score(network, blank, index).explains(1)[0]
        )
        likeness = _by_weights(network, blank, of) if images is None else _by_answers(network, ready, of)
    likeness[of] = -torch.inf
    order = likeness.argsort(descending=True, stable=True)[: min(k, len(likeness) - 1)].tolist()
    return [Near(one, None if network.labels is None else network.labels[one], float(likeness[one])) for one in order]


def near_among(model: VisionModel, found: Sequence[Prediction]) -> list[int]:
    """Returns the indices of the classes among which an answer is split: the most probable and near ones; [] if it is not.

    Near is a class with at least a tenth of the highest probability whose weights are like those of the most probable class
    (`ALIKE`); where the network has no class weights, probability alone decides.
    """
    if len(found) < 2 or found[0].probability >= SPLIT:
        return []
    serious = [one.index for one in found[1:] if one.probability >= SERIOUS * found[0].probability]
    try:
        likeness = _by_weights(model, model.blank(1), found[0].index)
        serious = [one for one in serious if likeness[one] >= ALIKE]
    except MethodError:
        pass
    return [found[0].index, *serious] if serious else []


def _by_weights(model: VisionModel, images: Tensor, of: int) -> Tensor:
    """Returns the cosine (classes,) of each class's centered weights with those of class `of`."""
    rows = class_weights(model, answer(model, images).classes or 0)
    centered = rows - rows.mean(0)
    return torch.nn.functional.cosine_similarity(centered, centered[of][None])


def class_weights(model: VisionModel, classes: int) -> Tensor:
    """Returns the weights (classes, features) of the last layer that has a row per class; refuses a network without one."""
    for layer in reversed(model.survey.layers):
        weight = getattr(model.module.get_submodule(layer.name), "weight", None)
        if isinstance(weight, Tensor) and len(weight) == classes and weight.ndim >= 2 and weight[0].numel() == weight.shape[1]:
            return weight.detach().flatten(1).double()
    raise MethodError(f"{model.name} has no linear layer with a row per class: give images, whose answers tell what is near")


def _by_answers(model: VisionModel, images: Tensor, of: int) -> Tensor:
    """Returns for each class (classes,) the share of the probability of class `of` that it has as well."""
    given = probabilities(model, images)
    assert given is not None  # a classifier
    own = given[:, of : of + 1].double()
    if not bool(own.sum() > 0):
        raise MethodError("the class has no probability on any of these images: give images of the class")
    return torch.minimum(given.double(), own).sum(0) / own.sum()
