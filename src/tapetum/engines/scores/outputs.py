"""Reads a model's answer of any type: a table of classes, maps of classes, detections, an embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tapetum.data.preprocessing import size_of
from tapetum.engines.scores.endings import ends_in_sigmoid
from tapetum.engines.scores.readings import Reading, read_as
from tapetum.models.vision_model import Head, VisionModel
from tapetum.types import TargetError

Detections = Mapping[str, Tensor]
"""Output of torchvision's detectors for one image: boxes (d, 4) in px, labels (d,), scores (d,)."""

NAMES = ("logits", "out")
"""Usual names of the answer in a model's output with several named parts."""


@dataclass(frozen=True)
class Answer:
    """Description of a model's answer: the part of its output that predicts classes or numbers.

    kind      "table" (n, k), "maps" of classes (n, k, h, w), or "detections"
    classes   number of possible targets, None if unknown
    reading   meaning of the numbers, None for detections
    head      which part of the output the answer is, None if there is only one
    """

    kind: Literal["table", "maps", "detections"]
    classes: int | None
    reading: Reading | None = None
    head: Head = None

    @property
    def read(self) -> Reading:
        """Reading of the numbers, for answers that are a table or maps."""
        assert self.reading is not None, "detections are not read as numbers"
        return self.reading


def answer(model: VisionModel, images: Tensor) -> Answer:
    """Finds the kind of the model's answer in one pass, and caches it until the model's structure changes."""
    return model.remember(fact_of(model), lambda: _answer_in(model, asked(model, images[:1]), size_of(images)))


def answer_in(model: VisionModel, output: Any, size: tuple[int, int]) -> Answer:
    """Finds the kind of answer in a given output for images of `size` (h, w); the result is cached."""
    return model.remember(fact_of(model), lambda: _answer_in(model, output, size))


def head_answer(model: VisionModel, images: Tensor, head: Head) -> Answer:
    """Describes one head of a network with several, in one pass; the result is cached."""
    return model.remember(
        f"{fact_of(model)} at {head!r}", lambda: _answer_at(model, asked(model, images[:1]), head, size_of(images))
    )


def fact_of(model: VisionModel) -> str:
    """Returns the cache key of the answer, which changes with the model's labels, head and `outputs` setting."""
    return f"answer {model.outputs} {model.head!r} {hash(model.labels)} {hash(tuple(model.head_labels.items()))}"


def _answer_in(model: VisionModel, output: Any, size: tuple[int, int]) -> Answer:
    if are_detections(output):
        return Answer("detections", None if model.labels is None else len(model.labels))
    head = _which(model, output)
    labels = model.head_labels.get(head, model.labels)
    found = finite(_flat(_at(output, head, model.name)), model)
    _check_scores(model, found, head)
    if found.ndim == 4:
        _check_maps(model, found, head, size, labels is not None)
    reading = _reading(model, found, head, size, labels)
    return Answer("maps" if found.ndim == 4 else "table", reading.classes, reading, head)


def _check_scores(model: VisionModel, found: Tensor, head: Head) -> None:
    """Refuses integers, such as the result of argmax: a decision does not grow with the evidence for a class."""
    if not found.is_floating_point() and model.outputs_of(head) == "auto":
        raise TargetError(
            f"{model.name} answers with {str(found.dtype).removeprefix('torch.')} numbers, as argmax gives them, and a "
            "decision has no score to explain: let it give the scores before that, or say wrap(outputs='numbers') of counts"
        )


def _answer_at(model: VisionModel, output: Any, head: Head, size: tuple[int, int]) -> Answer:
    found = finite(table_of(output, head, model.name), model)
    reading = _reading(model, found, head, size, model.labels_of(head))
    return Answer("table", reading.classes, reading, head)


def _reading(model: VisionModel, found: Tensor, head: Head, size: tuple[int, int], labels: Sequence[str] | None) -> Reading:
    outputs = model.outputs_of(head)
    traced, seen = False, found.detach()
    if outputs in ("auto", "sigmoid") and _in_unit(found):
        traced = ends_in_sigmoid(model, size, lambda output: _at(output, head, model.name))
    if outputs == "auto" and _in_unit(found):  # one picture may lie in [0, 1] by chance
        seen = torch.cat([seen, _flat(_at(asked(model, model.noise(1, size=size)), head, model.name))])
    reading = read_as(outputs, seen, None if labels is None else len(labels), model.name, traced)
    check_labels(model, labels, reading)
    return reading


def _in_unit(found: Tensor) -> bool:
    return bool(((found >= 0) & (found <= 1)).all())


def check_labels(model: VisionModel, labels: Sequence[str] | None, reading: Reading) -> None:
    """Refuses labels unless there is one per class."""
    if labels is None or len(labels) == reading.classes:
        return
    background = " (is one of them the background?)" if len(labels) + 1 == reading.classes else ""
    two = "; one logit has two names, or one" if reading.columns == 1 else ""
    raise TargetError(
        f"{len(labels)} labels were given for the {reading.columns} outputs of {model.name}{background}: "
        f"give one name per output, in their order{two}"
    )


def _check_maps(model: VisionModel, maps: Tensor, head: Head, size: tuple[int, int], labeled: bool) -> None:
    """Refuses maps (n, k, h, w) unless something shows that they are of classes: labels, `outputs`,
    their name or their shape.
    """
    named = labeled or model.outputs_of(head) != "auto" or head in NAMES
    picture = tuple(maps.shape[-2:]) == size and maps.shape[1] == model.channels
    if not named and (picture or tuple(maps.shape[-2:]) != size):
        what = "a picture, as an autoencoder does," if picture else "maps of features,"
        shape = " x ".join(map(str, maps.shape[1:]))
        raise TargetError(
            f"{model.name} gives {what} {shape}: nothing says that they are classes. Give a function of the output or a "
            "tp.Unit as target; or say wrap(labels=...) or wrap(outputs='logits') if they are classes"
        )


def asked(model: VisionModel, images: Tensor) -> Any:
    """Runs the model without gradients."""
    with torch.no_grad():
        return model(images)


# --- several outputs


def output_parts(output: Any) -> dict[Any, Any]:
    """Returns the parts of an output by key, attribute or index; {None: output} for one tensor."""
    if isinstance(output, Mapping):
        return dict(output)
    names: Any = getattr(output, "_fields", None)
    if isinstance(output, tuple) and names is not None:
        return dict(zip(names, output, strict=True))
    if isinstance(output, (tuple, list)):
        return dict(enumerate(output))
    if is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in fields(output)}
    logits = None if isinstance(output, Tensor) else getattr(output, "logits", None)
    return {None: output} if logits is None else {"logits": logits}


def _which(model: VisionModel, output: Any) -> Head:
    """Returns the key of the answer among the parts of an output; refuses an output for which this is ambiguous."""
    parts = output_parts(output)
    if model.head is not None:
        _at(output, model.head, model.name)
        return model.head
    able = {key: part for key, part in parts.items() if isinstance(part, Tensor) and part.ndim in (1, 2, 4)}
    able = {key: part for key, part in able.items() if part.is_floating_point()} or able  # drops decisions (integers)
    if len(able) == 1:
        return next(iter(able))
    if not able:
        shape = tuple(output.shape) if isinstance(output, Tensor) else _listed(parts) or type(output).__name__
        raise TargetError(
            f"{model.name} gives no table of classes (n, classes) but {shape}; give a function of the output as target, or "
            "wrap(call=...) that chooses one"
        )
    return next((name for name in NAMES if name in able), None) or _by_shape(model, able)


def _by_shape(model: VisionModel, able: Mapping[Any, Tensor]) -> Head:
    labels = model.labels
    if labels is not None:
        wide = [key for key, part in able.items() if _columns(part) == len(labels)]
        wide = wide or [key for key, part in able.items() if len(labels) == 2 and _columns(part) == 1]
        if len(wide) == 1:
            return wide[0]
        able = {key: able[key] for key in wide} or able
    tables = [key for key, part in able.items() if part.ndim == 2]
    if labels is None and len(tables) == 1 and all(part.ndim == 4 for key, part in able.items() if key not in tables):
        return tables[0]  # a table beside the maps from which it was computed
    raise TargetError(
        f"{model.name} gives {len(able)} outputs, and nothing says which is the answer: {_listed(able)}. Say wrap(head="
        f"{next(iter(able))!r}), or give a target in one of them, tp.Output(0, {next(iter(able))!r})"
    )


def _columns(part: Tensor) -> int:
    return 1 if part.ndim == 1 else int(part.shape[1])


def _listed(parts: Mapping[Any, Any]) -> str:
    """Returns a text that lists the parts of an output with their shapes for one image."""
    shapes = {key: " x ".join(map(str, part.shape[1:])) or "1" for key, part in parts.items() if isinstance(part, Tensor)}
    return ", ".join(f"{key!r} ({shape})" for key, shape in shapes.items())


def _at(output: Any, head: Head, name: str) -> Tensor:
    """Returns the tensor of one head, (n,), (n, k) or (n, k, h, w); refuses other shapes."""
    parts = output_parts(output)
    if head not in parts:
        raise TargetError(f"{name} gives no output {head!r}: {_heads(output)}")
    found = parts[head]
    if not isinstance(found, Tensor) or found.ndim not in (1, 2, 4):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise TargetError(f"{name} gives no table of classes (n, classes) but {shape}; give a function of the output as target")
    return found


def _flat(found: Tensor) -> Tensor:
    """Reshapes (n,) to (n, 1), and maps (n, k, 1, 1) to a table (n, k)."""
    if found.ndim == 1:
        return found[:, None]
    return found.flatten(1) if found.ndim == 4 and found.shape[-2:] == (1, 1) else found


def table_of(output: Any, head: Head, name: str) -> Tensor:
    """Returns the table (n, k) of one head; refuses detections and maps."""
    if head is None and isinstance(output, Tensor) and output.ndim == 2:
        return output
    if are_detections(output):
        raise TargetError(f"{name} gives detections, no classes of the image: give a label or tp.Box(label, x1, y1, x2, y2)")
    found = _flat(_at(output, head, name))
    if found.ndim == 4:
        raise TargetError(f"{name} gives maps of classes {tuple(found.shape)}: give a label or tp.Region(label, mask)")
    return found


def maps_of(output: Any, head: Head, name: str) -> Tensor:
    """Returns the maps of classes (n, k, h, w) of one head; refuses any other output."""
    maps = output_parts(output).get(head)
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise TargetError(f"{name} gives no maps of classes (n, classes, h, w): a region is a target for segmentation networks")
    return maps


def _heads(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"it gives {', '.join(map(str, output))}"
    return f"it gives {len(output)} of them" if isinstance(output, (tuple, list)) else f"it gives one {type(output).__name__}"


# --- detections and embeddings


def are_detections(output: Any) -> bool:
    """Checks whether an output is that of a torchvision detector: a list of {"boxes", "labels", "scores"}, one per image."""
    wanted = {"boxes", "labels", "scores"}
    many = isinstance(output, (list, tuple)) and len(output) > 0
    return many and all(isinstance(one, Mapping) and wanted <= set(one) for one in output)


def detections(output: Any, name: str) -> Sequence[Detections]:
    """Returns the detections of each image; refuses any other output."""
    if not are_detections(output):
        raise TargetError(
            f'{name} gives no detections ("boxes", "labels", "scores" per image): a box is a target for detectors'
        )
    return output


def embedding(output: Any, name: str) -> Tensor:
    """Finds the embeddings (n, d) in an output: `image_embeds`, `embedding` or `pooler_output` if present, else the first
    table.
    """
    parts = output_parts(output)
    for key in ("image_embeds", "embedding", "embeddings", "pooler_output", None, *NAMES, *parts):
        found = parts.get(key)
        if isinstance(found, Tensor) and found.ndim == 2:
            return found
    raise TargetError(f"{name} gives no embedding (n, d) to compare; wrap(..., call=...) can choose one from its output")


# --- tables


def forward_table(model: VisionModel, images: Tensor) -> tuple[Tensor, Reading]:
    """Returns the network's answer as a table (n, k), without gradients, and its reading; refuses NaN and infinity."""
    if model.encode_text is not None:
        raise no_classes(model)
    output = asked(model, images)
    found = answer_in(model, output, size_of(images))
    return finite(table_of(output, found.head, model.name), model), found.read


def no_classes(model: VisionModel) -> TargetError:
    """Returns the refusal of a prediction of a network that gives embeddings."""
    return TargetError(f"{model.name} gives embeddings, no classes: give a text or tp.Similarity(text or image)")


def forward_logits(model: VisionModel, images: Tensor) -> Tensor:
    """Returns the score of every class on the logit scale (n, classes), without gradients; refuses NaN and infinity."""
    table, reading = forward_table(model, images)
    return reading.on("logit", table)


def finite(table: Tensor, model: VisionModel) -> Tensor:
    """Returns the table itself; refuses one that holds NaN or infinity."""
    if not torch.isfinite(table).all():
        raise TargetError(f"{model.name} answers with NaN or infinity: its weights or the images are broken")
    return table
