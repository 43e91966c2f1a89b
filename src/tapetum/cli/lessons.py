"""`tapetum lesson`: the list of lessons, or one of them on the learner's own model and picture."""

from __future__ import annotations

import shlex
from pathlib import Path

from tapetum.cli.terminal import bar, fail, one_line, say
from tapetum.lessons.page import write_lesson
from tapetum.lessons.playing import play
from tapetum.lessons.scripts import lesson, lessons
from tapetum.progress import watching


def list_lessons() -> int:
    """A line for each lesson: number, title, minutes."""
    there = lessons()
    if not there:
        fail("no lessons are installed here; they come with the package, and with a clone in its folder lessons/")
        return 2
    for one in there:
        minutes = f"  (about {one.minutes} minutes)" if one.minutes else ""
        say(f"{one.number:>3}  {one.title}{minutes}")
    return 0


def run_lesson(number: int, *, model: str | None, weights: str | None, image: str | None, quick: bool, out: Path) -> int:
    """Runs one lesson, prints its checks and the path of its page; 1 if a cell failed, where the page ends."""
    chosen = lesson(number)
    with bar(f"lesson {number}") as watcher, watching(watcher):
        played = play(chosen, model=model, weights=weights, image=image, fast=quick, said=say)
    given = {"--model": model, "--weights": weights, "--image": image, "--quick": "" if quick else None}
    words = [word for name, value in given.items() if value is not None for word in (name, value) if word]
    command = shlex.join(["tapetum", "lesson", str(number), *words])
    say(str(write_lesson(out / f"{chosen.slug}.html", chosen, played, command=command)))
    if played[-1].error:
        fail(f"lesson {number} stopped in the cell at line {played[-1].cell.line}: {one_line(played[-1].error)}")
        return 1
    return 0
