"""`tapetum lesson`: the list of lessons, or one of them on the learner's own model and picture."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, fail, one_line, say
from tapetum.course.page import write_lesson
from tapetum.course.playing import play
from tapetum.course.scripts import Lesson, lesson, lessons
from tapetum.progress import watching
from tapetum.types import TapetumError


def list_lessons() -> int:
    """Prints number, title and minutes of each lesson."""
    there = lessons()
    if not there:
        fail("no lessons are installed here; they come with the package, and with a clone in its folder lessons/")
        return 2
    for one in there:
        minutes = f"  (about {one.minutes} minutes)" if one.minutes else ""
        say(f"{one.number:>3}  {one.title}{minutes}")
    return 0


def run_lesson(number: int, *, model: ModelChoice | None, image: str | None, data: str | None, quick: bool, out: Path) -> int:
    """Runs one lesson, prints its checks and the path of its page; returns 1 if a cell failed, where the page ends, else 0."""
    chosen = lesson(number)
    own = {"--model": model and model.name, "--image": image, "--data": data}
    _check_used(chosen, own)
    about = {} if model is None else {"model": model.name, "weights": model.weights, "settings": model.settings}
    with bar(f"lesson {number}") as watcher, watching(watcher):
        played = play(chosen, **about, image=image, data=data, fast=quick, said=say)
    given = {**own, "--weights": model and model.weights}
    words = [word for name, value in given.items() if value is not None for word in (name, value)]
    words += ["--quick"] * quick + (model.words if model else [])
    command = shlex.join(["tapetum", "lesson", str(number), *words])
    say(str(write_lesson(out / f"{chosen.slug}.html", chosen, played, command=command)))
    if played[-1].error:
        fail(f"lesson {number} stopped in the cell at line {played[-1].cell.line}: {one_line(played[-1].error)}")
        return 1
    return 0


USES = {"--model": "here.model(", "--image": "here.picture(", "--data": "here.data("}
"""{option: call in a lesson's script that uses its value}."""


def _check_used(chosen: Lesson, given: Mapping[str, str | None]) -> None:
    """Refuses options with a value that the lesson's script does not use."""
    code = "\n".join(cell.text for cell in chosen.cells if cell.kind == "code")
    takes = [name for name, call in USES.items() if call in code]
    for name, value in given.items():
        if value is not None and name not in takes:
            others = f"it takes {' and '.join(takes)}" if takes else "it takes nothing of your own"
            raise TapetumError(f"lesson {chosen.number} has no use for {name}; {others}")
