"""Arguments and options that several commands have, and their help."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

from tapetum.cli.options import IMAGES_HELP, argument, out_option, plain_option

REQUIRED = inspect.Parameter.empty

TARGET_HELP = (
    'Target: a class (index or name), "tabby rather than tiger cat", "probability of tabby", "output 0", "dog@x1,y1,x2,y2" (a '
    'box of a detector or a segmentation network, in px of the cut that it sees), "similarity to a photo of a cat", or a unit '
    '"layer:channel"; by default the answer of the model.'
)
"""The forms that `engines.scores.texts` reads."""

DATA_HELP = "Data set: a folder of pictures, .tar shards, imagenette, or hf:NAME."
RAY_HELP = "Ray cluster to scan on: auto, local, or an address."

Command = Callable[..., None]
IMAGES = argument("images", "IMAGE...", IMAGES_HELP)
DATA = argument("data", "DATA", DATA_HELP, str)
TARGET = plain_option("target", str | None, None, TARGET_HELP)
OUT = out_option(Path("tapetum-run"), "an earlier report")
