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
"""Free photographs from scikit-image."""

FUNCTIONS = {"cat": "chelsea"}

MODEL, WEIGHTS, IMAGE, FAST = "LESSON_MODEL", "LESSON_WEIGHTS", "LESSON_IMAGE", "LESSON_FAST"
SETTINGS = "LESSON_SETTINGS"
DATA = "LESSON_DATA"


class LessonError(AssertionError):
    """Raised when a claim of a lesson does not hold."""


@dataclass
class Here:
    """One run of a lesson.

    number    of the lesson
    own       what the learner replaced, in words: a model, a picture; empty: the lesson as written
    fast      the quick setting: smaller sizes, the same claims
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
        """Loads the learner's own model; if there is none, `usual` with `weights`."""
        if self.own_model is not None:
            usual, weights = self.own_model, self.own_weights
        told = self.own_settings if self.own_model is not None else {}
        return loaded(usual, "default" if weights is None else weights, told)

    def picture(self, name: str) -> Tensor:
        """Returns pixels (1, 3, H, W) in [0, 1] of one of PICTURES; the learner's own picture replaces the first that a lesson
        uses."""
        if self._main is None:
            self._main = name
        if self.own_image is not None and name == self._main:
            return read_image(self.own_image)
        if name not in PICTURES:
            raise ImageError(f"no picture '{name}'; there are {', '.join(PICTURES)}")
        return read_image(getattr(skimage.data, FUNCTIONS.get(name, name))())

    def data(self, usual: T) -> T | str:
        """Returns the learner's own folder, with one subfolder per class; if there is none, `usual`."""
        return usual if self.own_data is None else self.own_data

    def quick(self, small: T, *, full: T) -> T:
        """Returns `small` in a quick run, else `full`."""
        return small if self.fast else full

    def side(self, model: VisionModel, px: int) -> int:
        """Returns the side of rendered pictures in px: `px`, or the model's input size if the model takes no other."""
        return px if takes(model, (px, px)) else min(model.preprocessing.size)

    def holds(self, claim: bool, sentence: str) -> None:
        """Checks a claim that should hold for every model and picture; the lesson stops if it fails."""
        if not claim:
            raise LessonError(f"lesson {self.number}: this should hold and does not: {sentence}")
        print(f"\N{CHECK MARK} holds: {sentence}")

    def see(self, claim: bool, sentence: str) -> None:
        """Checks a claim about the lesson's model and picture; with the learner's own, prints whether it holds."""
        if claim:
            print(f"\N{CHECK MARK} {sentence}")
        elif self.own:
            print(f"\N{BALLOT X} not so with {' and '.join(self.own)}: {sentence}")
        else:
            raise LessonError(f"lesson {self.number}: you should see this, and it is not so: {sentence}")

    @functools.cached_property
    def folder(self) -> Path:
        """Returns a temporary folder that is removed when the program ends."""
        made = Path(tempfile.mkdtemp(prefix="tapetum-lesson-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return made


def start(number: int) -> Here:
    """Starts a lesson: reads from the environment whether to run quickly, and the learner's own model and data."""
    keep_large_blocks()
    fast = os.environ.get(FAST, "") not in ("", "0")
    image = os.environ.get(IMAGE) or None
    if image is not None and "://" not in image and not os.path.isfile(image):
        raise TapetumError(f"{IMAGE}: no file {image}")
    model, weights, data = (os.environ.get(name) or None for name in (MODEL, WEIGHTS, DATA))
    return Here(number, fast, model, weights, image, data, json.loads(os.environ.get(SETTINGS) or "{}"))
