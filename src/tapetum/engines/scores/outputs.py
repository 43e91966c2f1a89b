"""Reading a model's answer, whatever its type: a table of logits, maps of logits, detections, an embedding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tapetum.engines.scores.base import ANSWER
from tapetum.models.vision_model import VisionModel
from tapetum.types import Scale, TargetError

Detections = Mapping[str, Tensor]
"""What torchvision's detectors give for one image: boxes (d, 4) in px, labels (d,), scores (d,)."""


@dataclass(frozen=True)
class Answer:
    """What a model gives: a table of logits (n, k), maps of logits (n, k, h, w), or detections; `classes` None: unknown."""

    kind: Literal["table", "maps", "detections"]
    classes: int | None


def answer(model: VisionModel, images: Tensor) -> Answer:
    """What kind of answer the model gives; one pass the first time, kept on the model until its structure changes."""
    return model.remember(ANSWER, lambda: answer_in(model, asked(model, images[:1])))


def answer_in(model: VisionModel, output: Any) -> Answer:
    """What kind of answer an output is."""
    if are_detections(output):
        return Answer("detections", None if model.labels is None else len(model.labels))
    first = _first_tensor(output)
    if isinstance(first, Tensor) and first.ndim == 4:
        return Answer("maps", first.shape[1])
    return Answer("table", finite(logits(output, model.name), model).shape[1])


def asked(model: VisionModel, images: Tensor) -> Any:
    """The model's output without gradients."""
    with torch.no_grad():
        return model(images)


def logits(output: Any, name: str = "the model") -> Tensor:
    """The table (n, k) in a model's output: a tensor, the first of a tuple, `.logits`, or a dict's "logits" or "out"."""
    table = _first_tensor(output)
    if isinstance(table, Tensor) and table.ndim == 1:
        table = table[:, None]
    if isinstance(table, Tensor) and table.ndim == 2:
        return table
    if are_detections(output):
        raise TargetError(f"{name} gives detections, no classes of the image: give a label or tp.Box(label, x1, y1, x2, y2)")
    if isinstance(table, Tensor) and table.ndim == 4:
        raise TargetError(f"{name} gives maps of classes {tuple(table.shape)}: give a label or tp.Region(label, mask)")
    shape = tuple(table.shape) if isinstance(table, Tensor) else type(output).__name__
    raise TargetError(f"{name} gives no table of logits (n, classes) but {shape}; pass target=callable(output) -> (n,)")


def map_logits(output: Any, name: str) -> Tensor:
    """The maps of logits (n, k, h, w) of a segmentation network."""
    maps = _first_tensor(output)
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise TargetError(f"{name} gives no maps of classes (n, classes, h, w): a region is a target for segmentation networks")
    return maps


def are_detections(output: Any) -> bool:
    """A list of {"boxes", "labels", "scores"}, one an image, as torchvision's detectors give it."""
    wanted = {"boxes", "labels", "scores"}
    many = isinstance(output, (list, tuple)) and len(output) > 0
    return many and all(isinstance(one, Mapping) and wanted <= set(one) for one in output)


def detections(output: Any, name: str) -> Sequence[Detections]:
    """One table of detections an image."""
    if not are_detections(output):
        raise TargetError(f'{name} gives no detections ("boxes", "labels", "scores" an image): a box is a target for detectors')
    return output


EMBEDDINGS = ("image_embeds", "embedding", "embeddings", "pooler_output")
"""Where Hugging Face's image encoders keep one vector an image."""


def embedding(output: Any, name: str) -> Tensor:
    """One vector an image (n, d): `image_embeds` or `pooler_output` where there is one, else the table of the output."""
    for key in EMBEDDINGS:
        found = output.get(key) if isinstance(output, Mapping) else getattr(output, key, None)
        if isinstance(found, Tensor) and found.ndim == 2:
            return found
    table = _first_tensor(output)
    if not isinstance(table, Tensor) or table.ndim != 2:
        raise TargetError(f"{name} gives no embedding (n, d) to compare; wrap(..., call=...) can choose one from its output")
    return table


def head_of(output: Any, head: int | str | None, name: str) -> Tensor:
    """The tensor (n, k) of one head of an answer that has several."""
    if head is None:
        return logits(output, name)
    try:
        found = output[head] if isinstance(output, Mapping) or isinstance(head, int) else getattr(output, head)
    except (KeyError, IndexError, TypeError, AttributeError):
        raise TargetError(f"{name} gives no output {head!r}: {_heads(output)}") from None
    return logits(found, name)


def _heads(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"it gives {', '.join(map(str, output))}"
    return f"it gives {len(output)} of them" if isinstance(output, (tuple, list)) else f"it gives one {type(output).__name__}"


def _first_tensor(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        return next((output[key] for key in ("logits", "out") if key in output), next(iter(output.values()), None))
    if hasattr(output, "logits"):
        return output.logits
    return output[0] if isinstance(output, (tuple, list)) and output else None


def forward_logits(model: VisionModel, images: Tensor) -> Tensor:
    """(n, k) without gradients; NaN or infinity is refused, since every explanation of it would be made up."""
    if model.encode_text is not None:
        raise TargetError(f"{model.name} gives embeddings, no classes: give a text or tp.Similarity(text or image)")
    return finite(logits(asked(model, images), model.name), model)


def finite(table: Tensor, model: VisionModel) -> Tensor:
    """The same, or a refusal."""
    if not torch.isfinite(table).all():
        raise TargetError(f"{model.name} answers with NaN or infinity: its weights or the images are broken")
    return table


def on_scale(table: Tensor, scale: Scale, dim: int = 1) -> Tensor:
    """Logits of all classes along `dim` as logits, probabilities or their logarithms; one class alone: by the sigmoid."""
    if scale == "logit":
        return table
    if scale == "probability":
        return table.sigmoid() if table.shape[dim] == 1 else table.softmax(dim)
    return torch.nn.functional.logsigmoid(table) if table.shape[dim] == 1 else table.log_softmax(dim)
