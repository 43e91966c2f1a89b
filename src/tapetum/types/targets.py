"""Targets of explanations: a class, a contrast, a raw output, a box, a region, a similarity, a unit, a concept,
on a chosen scale.

Every target is a small frozen dataclass whose `str` describes it in words; `as_score` also accepts these words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias

import torch
from torch import Tensor

from tapetum.types.refusals import TargetError
from tapetum.types.results import saved

Scale: TypeAlias = Literal["logit", "probability", "log_probability"]
"""Score of a class target: its logit, its probability, or the logarithm of that."""

Number: TypeAlias = int | float

WORDS: dict[str, Scale] = {"logit": "logit", "probability": "probability", "log-probability": "log_probability"}
"""Scales by the words that texts use for them."""

Outputs: TypeAlias = Literal["auto", "logits", "probabilities", "log_probabilities", "sigmoid", "numbers"]
"""Meaning of the numbers in a model's output: logits of classes that exclude each other (softmax); probabilities in [0, 1], as
they are; their logarithms; logits of labels of which several may be true (sigmoid each); numbers that are not probabilities, as
in regression. "auto" finds out."""


@saved
@dataclass(frozen=True)
class Output:
    """One of the model's output numbers, unchanged and never turned into a probability: the target for regression.

    index   of the model's outputs (n,), (n, k); or its name, where the head has labels
    head    which of several outputs: the key or the attribute of a tensor in the model's answer, or its place in a tuple

    Inside `probability`, `contrast` and `union`, an `Output` stands for a class of that head.
    """

    index: int | str = 0
    head: int | str | None = None

    def __str__(self) -> str:
        return f"output {self.index}" if self.head is None else f"output {self.index} of {self.head}"


Class: TypeAlias = int | str | Output
"""A class by its index or its name; of one of several heads, an `Output`."""


@saved
@dataclass(frozen=True)
class Contrast:
    """The target "a rather than b": logit(a) - logit(b), whichever numbers the network gives.

    If the network ends in a softmax, the contrast is computed as log p(a) - log p(b), which is the same number.
    """

    a: Class
    b: Class

    def __str__(self) -> str:
        return f"{self.a} - {self.b}"


def contrast(a: Class, b: Class) -> Contrast:
    """Returns the target "why a rather than b?": the difference of the two logits."""
    return Contrast(a, b)


@saved
@dataclass(frozen=True)
class AnyOf:
    """The target "any of these classes": the log-sum-exp of their logits; its probability is the sum of theirs.

    Where several labels may be true at once, it is the probability that at least one is: 1 - product of (1 - p).
    """

    of: tuple[Class, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.of))


def union(*classes: Class) -> AnyOf:
    """Returns the target "why any of these classes?", such as all breeds of dogs."""
    if len(classes) == 1 and isinstance(classes[0], (list, tuple)):
        classes = tuple(classes[0])
    if len(set(classes)) < 2:
        raise TargetError("a union has at least two classes: tp.union(281, 282)")
    return AnyOf(tuple(dict.fromkeys(classes)))


@saved
@dataclass(frozen=True)
class Scaled:
    """A class, contrast or union on a chosen scale, in place of the method's own scale; None means the predicted class.

    Probabilities are those of the model's answer: the softmax over all classes, a sigmoid each, or the model's numbers as
    they are (`wrap(outputs=...)`). The probability of a contrast is that of `a`, given that exactly one of `a` and `b` is true:
    sigmoid(logit a - logit b).
    """

    of: Class | Contrast | AnyOf | None = None
    scale: Scale = "logit"

    def __str__(self) -> str:
        return f"{self.scale.replace('_', '-')} of {'the predicted class' if self.of is None else self.of}"


def logit(of: Class | Contrast | AnyOf | None = None) -> Scaled:
    """Returns the target's logit as a target, also for methods whose own scale is the probability."""
    return Scaled(of, "logit")


def probability(of: Class | Contrast | AnyOf | None = None) -> Scaled:
    """Returns the target's probability as a target; for a contrast, the probability of `a` against `b`."""
    return Scaled(of, "probability")


def log_probability(of: Class | Contrast | AnyOf | None = None) -> Scaled:
    """Returns the log of the target's probability as a target; its gradient does not vanish where the model is sure."""
    return Scaled(of, "log_probability")


@saved
@dataclass(frozen=True)
class Box:
    """A detection: score = max over detections d of the label of IoU(box, d) * score(d), in [0, 1].

    Corners in px of the model-ready image, x to the right, y down. Without corners: the model's most confident detection of
    that label, found once in the image before anything is hidden. The similarity is that of D-RISE for one label.
    """

    label: int | str
    x1: Number | None = None
    y1: Number | None = None
    x2: Number | None = None
    y2: Number | None = None

    def __post_init__(self) -> None:
        given = [corner is not None for corner in self._corners]
        for name, corner in zip(("x1", "y1", "x2", "y2"), self._corners, strict=True):
            object.__setattr__(self, name, None if corner is None else float(corner))  # a detector's corners may be tensors
        if any(given) and not all(given):
            raise TargetError("a box has four corners x1, y1, x2, y2 in px, or none for the surest detection of its label")
        if self.corners is not None and not (self.corners[0] < self.corners[2] and self.corners[1] < self.corners[3]):
            raise TargetError(f"box {_px(self.corners)} is empty: it needs x1 < x2 and y1 < y2")

    @property
    def corners(self) -> tuple[float, float, float, float] | None:
        """Corners (x1, y1, x2, y2) of the box in px; None without corners."""
        x1, y1, x2, y2 = self._corners
        return None if x1 is None or y1 is None or x2 is None or y2 is None else (x1, y1, x2, y2)

    @property
    def _corners(self) -> tuple[Number | None, ...]:
        return self.x1, self.y1, self.x2, self.y2

    def __str__(self) -> str:
        return f"{self.label}" if self.corners is None else f"{self.label}@{_px(self.corners)}"


@saved
@dataclass(frozen=True, eq=False)
class Region:
    """A class in a segmentation: the mean over a region of the class's logit, or on the probability scale of its softmax.

    mask   bool (h, w) of the model-ready image's size; (x1, y1, x2, y2) in px; or None: the places where the model
           itself predicts that class in the image, found once, before anything is hidden
    """

    label: int | str
    mask: Tensor | tuple[Number, Number, Number, Number] | None = None

    def __post_init__(self) -> None:
        if self.mask is not None and not isinstance(self.mask, Tensor):
            object.__setattr__(self, "mask", tuple(map(float, self.mask)))

    def __str__(self) -> str:
        if isinstance(self.mask, Tensor):
            return f"{self.label} in {int(self.mask.sum())} of {self.mask.numel()} px"
        return f"{self.label}" if self.mask is None else f"{self.label}@{_px(self.mask)}"


@saved
@dataclass(frozen=True, eq=False)
class Similarity:
    """Cosine similarity, in [-1, 1], between the model's embedding (n, d) of the image and another embedding.

    to     a text (models with a text tower, such as open_clip's); another image: a model-ready tensor (1, c, h, w) or
           (c, h, w), or what `read_image` takes except text (a `Path`, a picture); or an embedding (d,)
    name   for captions
    """

    to: Any
    name: str | None = None

    def __str__(self) -> str:
        return f"similarity to {self.name or (self.to if isinstance(self.to, str) else 'the given embedding')}"


@saved
@dataclass(frozen=True)
class Unit:
    """A channel of a layer, or one position of it: "layer4.1.conv2:97", "mixed4a:476@7,7" (row, column)."""

    layer: str
    channel: int
    position: tuple[int, int] | None = None

    _pattern = re.compile(r"(?P<layer>[^:@]+):(?P<channel>\d+)(@(?P<row>\d+),(?P<column>\d+))?")

    def __str__(self) -> str:
        where = "" if self.position is None else "@{},{}".format(*self.position)
        return f"{self.layer}:{self.channel}{where}"

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Reads the text that `str(unit)` writes; a `TargetError` quotes a text that is not a unit."""
        match = cls._pattern.fullmatch(text.strip())
        if match is None:
            raise TargetError(f'"{text}" is no unit; write layer:channel or layer:channel@row,column')
        position = None if match["row"] is None else (int(match["row"]), int(match["column"]))
        return cls(match["layer"], int(match["channel"]), position)


@saved
@dataclass(frozen=True, eq=False)
class Concept:
    """A direction in a layer's channels: the mean over the map of (a . v) / |v|, or that number at one position.

    With v = 1 for one channel and 0 for all others, it is the `Unit` of that channel.

    direction  v (c,): one number a channel, or for a layer that gives vectors (n, c) one an entry; its length does not matter
    name       for captions
    position   (row, column) in the layer's map
    """

    layer: str
    direction: Tensor
    name: str = ""
    position: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        given: Any = self.direction
        if not isinstance(given, Tensor) or given.ndim != 1 or given.dtype == torch.bool or given.is_complex():
            shape = f"{tuple(given.shape)} {given.dtype}" if isinstance(given, Tensor) else type(given).__name__
            raise TargetError(f"a concept's direction is a tensor (c,) of one number a channel, not {shape}")
        v = given.detach().clone() if given.is_floating_point() else given.detach().double()
        if not bool(v.isfinite().all()) or not bool(v.any()):
            raise TargetError("a concept's direction holds finite numbers that are not all zero")
        object.__setattr__(self, "direction", v)

    @property
    def unit_vector(self) -> Tensor:
        """The direction with length 1, (c,) float64."""
        v = self.direction.double()
        v = v / v.abs().max()  # the squares of tiny or huge numbers have no float64
        return v / v.square().sum().sqrt()

    def __str__(self) -> str:
        where = "" if self.position is None else "@{},{}".format(*self.position)
        return f"{self.name or f'direction in {self.layer}'}{where}"


def _px(corners: Sequence[float]) -> str:
    """Writes corners, rounded to a tenth of a pixel, separated by commas."""
    return ",".join(f"{round(float(corner), 1):g}" for corner in corners)


TargetLike: TypeAlias = (
    int | SupportsIndex | str | Contrast | AnyOf | Scaled | Output | Box | Region | Similarity | Unit | Concept
    | Callable[[Any], Any] | Sequence[Any] | Tensor | None
)  # fmt: skip
"""Values that a method's `target` takes: one for all images, or a sequence of one each; None: the predicted class."""
