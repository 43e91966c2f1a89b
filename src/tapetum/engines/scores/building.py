"""`as_score`: checks targets, and completes from the images what the model decides, such as the predicted class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tapetum.data.labels import find_label
from tapetum.data.preprocessing import size_of
from tapetum.engines.scores.base import ModelScore, index_name
from tapetum.engines.scores.classes import CLASSES, ClassScore, OutputScore, heads_in
from tapetum.engines.scores.embeddings import SimilarityScore, embedded
from tapetum.engines.scores.inside import CallableScore, UnitScore, checked_concept, checked_unit
from tapetum.engines.scores.outputs import (
    Answer,
    answer,
    answer_in,
    asked,
    detections,
    finite,
    forward_logits,
    head_answer,
    maps_of,
    no_classes,
    table_of,
)
from tapetum.engines.scores.places import (
    BoxScore,
    RegionScore,
    best_box,
    check_corners,
    check_mask,
    predicted_region,
    seen_box,
    seen_region,
)
from tapetum.engines.scores.plain import plain_row, plain_target
from tapetum.engines.scores.readings import Reading
from tapetum.engines.scores.texts import FORMS, read_text
from tapetum.models.vision_model import Head, VisionModel
from tapetum.notes import note
from tapetum.types import (
    AnyOf,
    Box,
    Concept,
    Contrast,
    Output,
    Region,
    Scale,
    Scaled,
    Similarity,
    TargetError,
    TargetLike,
    Unit,
)

_ALIKE: dict[type, Any] = {**dict.fromkeys((int, Contrast, AnyOf, Scaled), "class"), Concept: Unit}
"""{type of a target: what it counts as, where targets of one call may differ in type}."""


@dataclass(frozen=True, eq=False)
class PredictedScore(ModelScore):
    """Logit of the class that the model predicts for each image, found in the first pass over the image.

    Saves a pass for methods that evaluate the score only on the given images.
    """

    reading: Reading
    head: Head
    found: dict[int, int] = field(default_factory=dict)
    part: str | None = field(default=CLASSES, init=False)

    def read(self, output: Any) -> Tensor:
        """Returns the score (n,) of each image, read from the model's output."""
        table = finite(table_of(output, self.head, self.model.name), self.model)
        scores = self.reading.on("logit", table)
        for row, target in zip(self.rows or (), scores.argmax(1).tolist(), strict=True):
            self.found.setdefault(row, target)
        return scores[list(range(len(scores))), list(self.explains(0))]

    def explains(self, n: int) -> tuple[int, ...]:
        return tuple(self.found[row] for row in self.rows or ())

    def describe(self, n: int) -> tuple[str, ...]:
        return tuple(index_name(self.model, target) for target in self.explains(n))


def predicted_score(model: VisionModel, images: Tensor) -> ModelScore:
    """Builds the score of what the model predicts for each image, for methods that evaluate it only on these images."""
    if model.encode_text is not None:
        raise no_classes(model)
    given = answer(model, images)
    if given.reading is None or given.kind != "table":
        return as_score(model, images)
    if given.reading.numbers != "logits":
        _refuse_measurements(model, given)
        _say(model, given)
    return PredictedScore(model, given.reading, given.head, rows=tuple(range(len(images))))


def as_score(model: VisionModel, images: Tensor, target: TargetLike = None, scale: Scale = "logit") -> ModelScore:
    """Checks the targets and builds their score; None means what the model predicts for each image.

    The prediction is a class, the most confident detection of a detector, or the largest region of a segmentation network.
    """
    return _score_built(model, images, target, scale).take(range(len(images)))


def _score_built(model: VisionModel, images: Tensor, target: TargetLike, scale: Scale) -> ModelScore:
    if callable(target):
        return CallableScore(model, target)
    many = check_target(model, images, target)
    if all(one is None for one in many):
        many = predicted(model, asked(model, images), size_of(images))
    answers = answers_for(model, images, many)
    probable = scale != "logit" or any(isinstance(one, Scaled) and one.scale != "logit" for one in many)
    for one in answers.values():
        _say(model, one, probable=probable)
    return score_of(model, _seen(model, images, many), answers, scale)


def answers_for(model: VisionModel, images: Tensor, targets: Sequence[Any]) -> dict[Head, Answer]:
    """Returns {head: answer} for the heads that the targets read: first the head of plain indices, then others.

    The dictionary is empty if no target reads the model's answer.
    """
    asking = [one for one in targets if isinstance(one, (int, Contrast, AnyOf, Scaled, Region))]
    plain = [one for one in targets if isinstance(one, Output)]
    if not asking and all(one.head is not None for one in plain):
        return {}
    inside = dict.fromkeys(head for one in asking for head in heads_in(one))
    found: dict[Head, Answer] = {}
    if None in inside or plain or not inside:
        main = answer(model, images)
        found[main.head] = main
    for head in inside:
        if head is not None and head not in found:
            found[head] = head_answer(model, images, head)
    return found


def _say(model: VisionModel, given: Answer, *, probable: bool = False) -> None:
    """Tells the user how the outputs are read; logits, the usual case, are mentioned only if probabilities are needed."""
    if given.reading is not None and given.reading.why and (probable or given.reading.numbers != "logits"):
        note(f"{model.name} gives {given.reading.words}")


def check_target(model: VisionModel, images: Tensor, target: TargetLike = None) -> tuple[Any, ...]:
    """Returns one checked target per image, as far as that is possible before the model sees the images.

    Labels become indices, and texts the targets that they spell; a box may still lack corners, and a region a mask.
    """
    if callable(target):
        return (target,) * len(images)
    many = [read_text(model, one) if isinstance(one, str) else one for one in _one_per_image(target, len(images))]
    checked = tuple(_checked(model, images, one) for one in many)
    if len({_ALIKE.get(type(one), type(one)) for one in checked}) > 1:
        raise TargetError("the targets of one call are of one kind: all classes, or all boxes, units, ...")
    return checked


def _one_per_image(target: TargetLike, n: int) -> list[Any]:
    target = plain_target(target)
    many = [plain_row(one) for one in target] if isinstance(target, (list, tuple)) else [target] * n
    if len(many) != n:
        raise TargetError(f"{len(many)} targets were given for {n} images: one per image, or one for all")
    return many


# --- checks that need no images


def _checked(model: VisionModel, images: Tensor, target: Any) -> Any:
    if target is None or isinstance(target, Similarity):
        return target
    if isinstance(target, Unit):
        return checked_unit(model, target)
    if isinstance(target, Concept):
        return checked_concept(model, target)
    if isinstance(target, Output):
        return _checked_output(model, images, target)
    if model.encode_text is not None:
        raise TargetError(
            f"{model.name} gives embeddings, no classes: give a text or tp.Similarity(text or image), or tp.Output(i)"
        )
    if isinstance(target, (Contrast, AnyOf, Scaled)) and None not in heads_in(target):
        return _checked_class(model, images, target, Answer("table", None))
    given = answer(model, images)
    if given.kind == "detections" and not isinstance(target, (Contrast, Scaled, Region)):
        return _checked_box(model, images, target, given)
    if given.kind == "maps" and not isinstance(target, (Contrast, Scaled)):
        return _checked_region(model, images, target, given)
    return _checked_class(model, images, target, given)


def _checked_output(model: VisionModel, images: Tensor, target: Output) -> Output:
    """Returns an `Output` with its name replaced by the index."""
    if isinstance(target.index, str):
        labels = model.labels if target.head is None else model.labels_of(target.head)
        if labels is None:
            of = "" if target.head is None else f" of {target.head}"
            raise TargetError(f"{model.name} has no names for its outputs{of}: give an index")
        return dataclasses.replace(target, index=find_label(labels, target.index))
    if isinstance(target.index, bool) or not hasattr(target.index, "__index__") or target.index < 0:
        raise TargetError(f"an output has an index from 0 up, not {target.index!r}")
    return dataclasses.replace(target, index=int(target.index))


def _checked_box(model: VisionModel, images: Tensor, target: Any, given: Answer) -> Box:
    box = target if isinstance(target, Box) else Box(target)
    if box.corners is not None:
        check_corners([*box.corners], size_of(images))
    return dataclasses.replace(box, label=_class_index(model, box.label, given))


def _checked_region(model: VisionModel, images: Tensor, target: Any, given: Answer) -> Region:
    region = Region(target.label, target.corners) if isinstance(target, Box) else target
    region = region if isinstance(region, Region) else Region(region)
    if isinstance(region.mask, Tensor):
        region = dataclasses.replace(region, mask=check_mask(region.mask, size_of(images)))
    elif region.mask is not None:
        check_corners([*region.mask], size_of(images), whole_pixels=True)
    return dataclasses.replace(region, label=_class_index(model, region.label, given))


def _checked_class(model: VisionModel, images: Tensor, target: Any, given: Answer) -> Any:
    if given.kind != "table":
        of = "detectors" if given.kind == "detections" else "segmentation networks"
        raise TargetError(
            f"{target} is no target for {of}: give a label{' with a box' if of == 'detectors' else ' or a Region'}"
        )
    if isinstance(target, (Box, Region)):
        kind = "box" if isinstance(target, Box) else "region"
        of = "a detector" if kind == "box" else "a segmentation network"
        raise TargetError(f"{model.name} is not {of}: a {kind} is no target for it; give a class")
    if isinstance(target, Scaled):
        of = None if target.of is None else _checked_class(model, images, target.of, given)
        return _checked_scale(model, images, dataclasses.replace(target, of=of), given)
    if isinstance(target, Contrast):
        return Contrast(*(_checked_class(model, images, one, given) for one in (target.a, target.b)))
    if isinstance(target, AnyOf):
        return _checked_union(model, images, target, given)
    return _class_of_head(model, images, target) if isinstance(target, Output) else _class_index(model, target, given)


def _class_of_head(model: VisionModel, images: Tensor, target: Output) -> int | Output:
    """Returns a checked class of a head: an index if the head is the model's answer, else an `Output`."""
    found = _checked_output(model, images, target)
    there = answer(model, images) if found.head is None else head_answer(model, images, found.head)
    assert isinstance(found.index, int)  # names have been replaced by indices
    _class_index(model, found.index, there)
    return found.index if found.head is None else found


def _checked_scale(model: VisionModel, images: Tensor, target: Scaled, given: Answer) -> Scaled:
    """Returns the target; refuses a probability of outputs that are measurements, not classes."""
    heads = heads_in(target)
    readings = [given.read if head is None else head_answer(model, images, head).read for head in heads]
    if target.scale != "logit" and any(reading.measured for reading in readings):
        raise TargetError(
            f"{model.name} gives numbers that are no probabilities ({readings[0].words}): give tp.Output(index), or say"
            " wrap(outputs=...) if they are"
        )
    return target


def _checked_union(model: VisionModel, images: Tensor, target: AnyOf, given: Answer) -> AnyOf:
    found = AnyOf(tuple(dict.fromkeys(_checked_class(model, images, one, given) for one in target.of)))
    heads = heads_in(found)
    if len(heads) > 1:
        raise TargetError(f"a union is of classes of one head, not of {', '.join(map(str, heads))}")
    reading = given.read if heads[0] is None else head_answer(model, images, heads[0]).read
    if reading.measured:
        raise TargetError(f"{model.name} gives numbers, no classes, so there is no union of them: give tp.Output(index)")
    return found


def _class_index(model: VisionModel, target: Any, given: Answer) -> int:
    if isinstance(target, str):
        if model.labels is None:
            raise TargetError(f"{model.name} has no class names: give an index{_to(given)}, not '{target}'")
        return find_label(model.labels, target)
    if isinstance(target, bool) or not hasattr(target, "__index__"):
        raise TargetError(f"{target!r} is no target: give {FORMS}, or a callable")
    index = target.__index__()
    if index < 0 or (given.classes is not None and index >= given.classes):
        raise TargetError(f"class {index} does not exist: {model.name} has {given.classes or 'its'} classes{_to(given)}")
    return index


def _to(given: Answer) -> str:
    return " from 0 up" if given.classes is None else f", 0 to {given.classes - 1}"


# --- what the model finds in the images


def predicted(model: VisionModel, output: Any, size: tuple[int, int]) -> tuple[Any, ...]:
    """Returns what the output predicts per image: a class, the most confident box, or the largest region."""
    if model.encode_text is not None:
        raise no_classes(model)
    given = answer_in(model, output, size)
    if given.kind == "detections":
        return tuple(best_box(model, found) for found in detections(output, model.name))
    if given.kind == "maps":
        maps = given.read.on("logit", maps_of(output, given.head, model.name).detach())
        return tuple(predicted_region(model, given.read, one, size) for one in maps)
    table = finite(table_of(output, given.head, model.name), model)
    _refuse_measurements(model, given)
    return tuple(given.read.on("logit", table).argmax(1).tolist())


def _refuse_measurements(model: VisionModel, given: Answer) -> None:
    """Refuses to name a prediction where the answer is several measurements."""
    if given.read.measured and given.read.columns > 1:
        raise TargetError(
            f"{model.name} gives {given.read.columns} numbers, none of which is its answer: give a target, tp.Output(index)"
        )


def _seen(model: VisionModel, images: Tensor, targets: Sequence[Any]) -> tuple[Any, ...]:
    """Completes targets by what the model gives for the images: corners of boxes, masks of regions, embeddings, predicted
    classes.
    """
    predicted_class: list[int | None] = [None] * len(targets)
    if any(isinstance(one, Scaled) and one.of is None for one in targets):
        predicted_class = forward_logits(model, images).argmax(1).tolist()
    seen = []
    for row, target in enumerate(targets):
        with model.at_rows([row]):
            seen.append(_seen_in(model, images[row : row + 1], target, predicted_class[row]))
    return tuple(seen)


def _seen_in(model: VisionModel, image: Tensor, target: Any, predicted_class: int | None) -> Any:
    if isinstance(target, Box):
        return seen_box(model, image, target)
    if isinstance(target, Region):
        return seen_region(model, image, target)
    if isinstance(target, Similarity):
        return embedded(model, target)
    if isinstance(target, Scaled) and target.of is None:
        return dataclasses.replace(target, of=predicted_class)
    return target


def score_of(model: VisionModel, targets: tuple[Any, ...], answers: dict[Head, Answer], scale: Scale = "logit") -> ModelScore:
    """Builds the score of checked and complete targets of one kind; `answers` come from `answers_for`."""
    first = targets[0]
    if isinstance(first, (Unit, Concept)):
        return UnitScore(model, targets)
    if isinstance(first, Output):
        return OutputScore(model, targets, next(iter(answers), None))
    if isinstance(first, Box):
        return BoxScore(model, targets)
    if isinstance(first, Region):
        (given,) = answers.values()
        return RegionScore(model, targets, given, scale)
    if isinstance(first, Similarity):
        return SimilarityScore(model, targets)
    return ClassScore(model, targets, answers, scale)


def n_classes(model: VisionModel, images: Tensor) -> int:
    """Returns the number of classes of the model, found in one pass and cached until the model's structure changes."""
    return answer(model, images).classes or forward_logits(model, images[:1]).shape[1]
