"""Makers of the commands of methods: attributions, inspections, renderings."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Literal

import tapetum
from tapetum.cli.makers.shared import IMAGES, OUT, TARGET, Command
from tapetum.cli.options import IMAGES_HELP, argument, command_for, out_option, plain_option
from tapetum.registry import keywords
from tapetum.types import Method


def attribution(method: Method) -> Command:
    """Makes the command of an attribution method: one map per image."""
    from tapetum.cli.running import run_files

    background = "Background of the map: the crop that the model saw, or the whole photograph."
    on = plain_option("on", Literal["crop", "photo"], "crop", background)
    return command_for(method.function, partial(run_files, method.name), IMAGES, TARGET, on, OUT)


def inspection(method: Method) -> Command:
    """Makes the command of an inspection: one figure of all images, and its numbers in words."""
    from tapetum.cli.inspecting import inspect_files

    images = [] if method.takes == "model" else [IMAGES]
    target = [TARGET] if "target" in inspect.signature(method.function).parameters else []
    return command_for(method.function, partial(inspect_files, method.name), *images, *target, OUT)


def rendering(method: Method) -> Command:
    """Makes the command of a rendering: saves each picture when it is done; run again, it makes only missing ones."""
    from tapetum.cli.rendering import render_subjects

    units = (
        'Units: "layer:5", "layer:5@row,column", "layer:0-15", "layer:*"; classes, by index or name; or "layer:5 + layer:9".'
    )
    subject = ("UNIT...", units) if method.takes == "units" else ("IMAGE...", IMAGES_HELP)
    around = [
        argument("subjects", *subject),
        out_option(Path("tapetum-pictures"), "with earlier pictures"),
        plain_option("resume", bool, True, "Keep pictures that were made with the same settings, or make all of them again."),
        plain_option("animate", str | None, None, "Animation of the steps: gif, webp, html, or several with commas between."),
    ]
    if any(one.name == "frames" for one in keywords(method.function)):
        around.append(plain_option("frames", int, 0, "Number of intermediate pictures to keep; 25 with --animate."))
    return command_for(method.function, partial(render_subjects, method.name), *around, without=("frames",))


MAKERS = {"attribution": attribution, "inspection": inspection, "rendering": rendering}
"""{kind: maker of the command} of the methods that make pictures."""


def of_method(name: str) -> Command:
    method = tapetum.lookup(name)
    return MAKERS[method.kind](method)
