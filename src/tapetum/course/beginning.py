"""`start`: the one call at the top of every lesson."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import skimage.data
from torch import Tensor

from tapetum.data.images import read_image
from tapetum.engines.render.sizes import takes
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.loading import loaded
from tapetum.runners.allocator import keep_large_blocks
from tapetum.types import ImageError, TapetumError

T = TypeVar("T")

PICTURES = {
    "astronaut": "Eileen Collins (NASA, public domain)",
    "cat": "Chelsea the cat (Stefan van der Walt, CC0)",
    "coffee": "a cup of coffee (Rachel Michetti, CC0)",
    "rocket": "the launch of a Falcon 9 (SpaceX, CC0)",
}
"""Free photographs that come with scikit-image."""

FUNCTIONS = {"cat": "chelsea"}

MODEL, WEIGHTS, IMAGE, FAST = "LESSON_MODEL", "LESSON_WEIGHTS", "LESSON_IMAGE", "LESSON_FAST"
SETTINGS = "LESSON_SETTINGS"
DATA = "LESSON_DATA"


class LessonError(AssertionError):
    """What a lesson says is not so."""


@dataclass
class Here:
    """One run of a lesson.

    number    of the lesson
    own       what is the learner's own, in words: a model, a picture; empty: the lesson as it was written
    fast      the quick setting: smaller numbers, the same claims
    folder    a temporary folder, removed at the end
    """

    number: int
    fast: bool
    own_model: str | None = None
    own_weights: str | None = None
    own_image: str | None = None
    own_data: str | None = None
    own_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    _main: str | None = field(default=None, repr=False)

    @property
    def own(self) -> tuple[str, ...]:
        return tuple(one for one in (self.own_model, self.own_image, self.own_data) if one is not None)

    def model(self, usual: str = "efficientnet_lite0", weights: str | None = None) -> VisionModel:
        """The learner's own model, else the lesson's usual one."""
        if self.own_model is not None:
            usual, weights = self.own_model, self.own_weights
        told = self.own_settings if self.own_model is not None else {}
        return loaded(usual, "default" if weights is None else weights, told)

    def picture(self, name: str) -> Tensor:
        """Pixels (1, 3, H, W) in [0, 1] of one of PICTURES; the first that a lesson asks for is its main one, which the
        learner's own picture replaces."""
        if self._main is None:
            self._main = name
        if self.own_image is not None and name == self._main:
            return read_image(self.own_image)
        if name not in PICTURES:
            raise ImageError(f"no picture '{name}'; there are {', '.join(PICTURES)}")
        return read_image(getattr(skimage.data, FUNCTIONS.get(name, name))())

    def data(self, usual: T) -> T | str:
        """The learner's own folder of class folders, else the lesson's usual pictures."""
        return usual if self.own_data is None else self.own_data

    def quick(self, small: T, *, full: T) -> T:
        """The small setting in a quick run, else the full one."""
        return small if self.fast else full

    def side(self, model: VisionModel, px: int) -> int:
        """How large pictures are made: `px` a side, or the model's own size where it takes no other."""
        return px if takes(model, (px, px)) else min(model.preprocessing.size)

    def holds(self, claim: bool, sentence: str) -> None:
        """What must be so for every model and every picture: the lesson stops if it is not."""
        if not claim:
            raise LessonError(f"lesson {self.number}: this should hold and does not: {sentence}")
        print(f"\N{CHECK MARK} holds: {sentence}")

    def see(self, claim: bool, sentence: str) -> None:
        """What is so with the lesson's own model and picture; with the learner's it is told whether it is so there."""
        if claim:
            print(f"\N{CHECK MARK} {sentence}")
        elif self.own:
            print(f"\N{BALLOT X} not so with {' and '.join(self.own)}: {sentence}")
        else:
            raise LessonError(f"lesson {self.number}: you should see this, and it is not so: {sentence}")

    @functools.cached_property
    def folder(self) -> Path:
        """A temporary folder, removed when the program ends."""
        made = Path(tempfile.mkdtemp(prefix="tapetum-lesson-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return made


def start(number: int) -> Here:
    """Begins a lesson: reads from the environment whether it is a quick run, and what is the learner's own."""
    keep_large_blocks()
    fast = os.environ.get(FAST, "") not in ("", "0")
    image = os.environ.get(IMAGE) or None
    if image is not None and "://" not in image and not os.path.isfile(image):
        raise TapetumError(f"{IMAGE}: no file {image}")
    model, weights, data = (os.environ.get(name) or None for name in (MODEL, WEIGHTS, DATA))
    return Here(number, fast, model, weights, image, data, json.loads(os.environ.get(SETTINGS) or "{}"))
