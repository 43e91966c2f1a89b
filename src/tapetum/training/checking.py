"""Checks a network's predictions on pictures with known classes: counts all, and keeps some to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tapetum.border.subjects import as_model
from tapetum.data.labels import find_label
from tapetum.engines.scores import probabilities
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.heads import n_outputs
from tapetum.progress import report
from tapetum.training.data import Subset, class_names, labelled, part, read_data, seeded
from tapetum.training.pictures import KEEP_BYTES, Photographs, batch_orders
from tapetum.types import ModelError, ModelLike, PredictionCheck, TrainingError

OTHER = "another class"
"""Name of the confusion matrix's column for predictions of classes that the data does not have."""


def check_predictions(
    model: ModelLike,
    data: Any,
    *,
    n: int = 16,
    shows: Literal["any", "wrong", "right"] = "any",
    of: Literal["validation", "train", "all"] = "validation",
    validation: Any = 0.2,
    seed: int = 0,
    batch: int = 64,
) -> PredictionCheck:
    """Returns pictures with the network's predictions and their probabilities, and the confusion matrix of all pictures.

    The confusion matrix counts all pictures of the chosen part, true classes in rows and predicted classes in columns. The
    predicted class is the most probable one, whether the network returns logits or probabilities. Refused: a network whose
    labels do not include the data's classes.

    Args:
        model: a name for `tp.load`, a module, or a VisionModel.
        data: as for `train`.
        n: number of pictures to show.
        shows: any (drawn by `seed`), wrong (the most confident mistakes first), or right (the least confident first).
        of: validation, the pictures that `train` holds out with the same `validation` and `seed`; train; or all.
        validation: the share of each class that is held out, or a data set of its own.
        seed: random seed of that draw, and of the pictures that are shown.
        batch: pictures per forward pass.

    Example:
        >>> history = tp.train("digits:test", epochs=1)
        >>> tp.check_predictions(history.model, "digits:test", shows="wrong").confusion
    """
    network = as_model(model)
    chosen, classes = _chosen(data, of, validation, seed)
    outputs = class_outputs(network, classes)
    photographs = Photographs(chosen, network.preprocessing, "none", seed, KEEP_BYTES)
    answers = _answers(network, photographs, outputs, batch)
    rows = _shown(answers, n, shows, seed)
    strange = bool((answers.predicted == len(classes)).any())
    k = len(classes) + strange
    places = answers.rows[rows]
    levels = [levels for _, levels in photographs.levels([places])]
    return PredictionCheck(
        network.name,
        (*classes, OTHER) if strange else classes,
        torch.bincount(answers.truth * k + answers.predicted, minlength=k * k).view(k, k),
        torch.cat(levels).float() / 255 if len(places) else torch.zeros(0, 3, 1, 1),
        tuple(chosen.id(row) for row in places.tolist()),
        answers.truth[rows],
        answers.predicted[rows],
        answers.probability[rows],
        shows,
        tuple(sorted(photographs.skipped.items())),
    )


@dataclass(frozen=True)
class Answers:
    """Row, true class, predicted class and its probability for each readable picture, (n,) each."""

    rows: Tensor
    truth: Tensor
    predicted: Tensor
    probability: Tensor


def _chosen(data: Any, of: str, validation: Any, seed: int) -> tuple[Subset, tuple[str, ...]]:
    if of == "all":
        source = labelled(data)
        classes = class_names(source)
        return part(source, [i for i, label in enumerate(source.labels) if label is not None], classes), classes
    if of not in ("validation", "train"):
        raise TrainingError(f"of is validation, train or all, not {of!r}")
    parts = read_data(data, validation, seed)
    return (parts.validation if of == "validation" else parts.train), parts.classes


def class_outputs(model: VisionModel, classes: Sequence[str]) -> list[int]:
    """Returns the index of the network's output for each class of the data: by name, or by order if outputs have no names."""
    count = n_outputs(model)
    if model.labels is None:
        if count != len(classes):
            raise ModelError(f"{model.name} gives {count} values without names, and the data has {len(classes)} classes")
        return list(range(count))
    return [find_label(model.labels, name) for name in classes]


def _answers(model: VisionModel, photographs: Photographs, outputs: Sequence[int], batch: int) -> Answers:
    photographs.place = lambda images: images.to(model.device, model.dtype)
    class_of = torch.full((max(n_outputs(model), len(model.labels or ())),), len(outputs))
    class_of[torch.tensor(outputs)] = torch.arange(len(outputs))
    truth, predicted, sure, total = [], [], [], len(photographs.labels)
    for images, labels in photographs.batches(batch_orders(total, batch), None):
        with torch.no_grad():
            table = probabilities(model, images)
        if table is None:
            raise ModelError(f"{model.name} gives numbers, no classes, so no answer is right or wrong")
        best = table.max(1)
        truth.append(labels)
        predicted.append(class_of[best.indices.cpu()])
        sure.append(best.values.float().cpu())
        report(sum(map(len, truth)), total, "pictures")
    if not truth:
        raise TrainingError("none of the pictures could be read")
    return Answers(photographs.readable, torch.cat(truth), torch.cat(predicted), torch.cat(sure))


def _shown(answers: Answers, n: int, shows: str, seed: int) -> Tensor:
    """Returns the indices of the pictures to show, up to n."""
    right = answers.predicted == answers.truth
    if shows == "any":
        return torch.randperm(len(right), generator=seeded(seed, "shown"))[:n]
    if shows not in ("wrong", "right"):
        raise TrainingError(f"shows is any, wrong or right, not {shows!r}")
    wanted = (right if shows == "right" else ~right).nonzero()[:, 0]
    order = answers.probability[wanted].argsort(descending=shows == "wrong", stable=True)
    return wanted[order][:n]
