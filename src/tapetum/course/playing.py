"""Runs a lesson cell by cell without Jupyter, on the learner's own model and picture, and keeps its outputs."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tapetum.course.beginning import DATA, FAST, IMAGE, MODEL, SETTINGS, WEIGHTS
from tapetum.course.scripts import Cell, Lesson
from tapetum.figures import has_figure, show
from tapetum.progress import report, stage
from tapetum.types import Cancelled

MARKS = ("\N{CHECK MARK}", "\N{BALLOT X}")
"""First characters of the lines that a lesson's checks print."""


@dataclass(frozen=True)
class Played:
    """An executed cell: its printed text, the picture or text of its last expression, and the error that stopped it, if any."""

    cell: Cell
    printed: str = ""
    picture: tuple[bytes, str, int] | None = None
    text: str = ""
    error: str = ""

    @property
    def checks(self) -> tuple[str, ...]:
        """Returns the printed lines that report checks of the lesson's claims."""
        return tuple(line for line in self.printed.splitlines() if line.startswith(MARKS))


def play(
    lesson: Lesson,
    *,
    model: str | None = None,
    weights: str | None = None,
    settings: Mapping[str, Any] | None = None,
    image: str | None = None,
    data: str | None = None,
    fast: bool = False,
    said: Callable[[str], None] = lambda _: None,
) -> list[Played]:
    """Runs a lesson's cells up to the first that fails; calls `said` with the printed line of each check."""
    told = json.dumps(dict(settings)) if settings else None
    chosen = {MODEL: model, WEIGHTS: weights, SETTINGS: told, IMAGE: image, DATA: data, FAST: "1" if fast else None}
    names: dict[str, Any] = {"__name__": "__main__"}
    done: list[Played] = []
    with _environment(chosen):
        for i, cell in enumerate(lesson.cells, 1):
            report(i - 1, len(lesson.cells), "cells")
            with stage(f"cell {i} of {len(lesson.cells)}"):
                done.append(_played(cell, names, str(lesson.file)) if cell.kind == "code" else Played(cell))
            for line in done[-1].checks:
                said(line)
            if done[-1].error:
                break
    return done


@contextlib.contextmanager
def _environment(chosen: Mapping[str, str | None]) -> Iterator[None]:
    """Sets the environment variables that `start` reads during a lesson, then restores them."""
    before = {name: os.environ.pop(name, None) for name in chosen}
    os.environ.update({name: value for name, value in chosen.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _played(cell: Cell, names: dict[str, Any], file: str) -> Played:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            value = _run(cell, names, file)
            picture = _picture(value)
    except Cancelled:
        raise
    except Exception as error:
        return Played(cell, printed.getvalue(), error=str(error) or type(error).__name__)
    text = "" if value is None or picture is not None else repr(value)
    return Played(cell, printed.getvalue(), picture, text)


def _run(cell: Cell, names: dict[str, Any], file: str) -> Any:
    """Executes a cell as a notebook does; returns the value of its last expression, or None if it ends in ";" or has none."""
    tree = ast.parse(cell.text, file)
    ast.increment_lineno(tree, cell.line - 1)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, ast.Expr) or cell.text.rstrip().endswith(";"):
        exec(compile(tree, file, "exec"), names)
        return None
    exec(compile(ast.Module(tree.body[:-1], []), file, "exec"), names)
    return eval(compile(ast.Expression(last.value), file, "eval"), names)


def _picture(value: Any) -> tuple[bytes, str, int] | None:
    """Renders a figure, or a result that has one, as (PNG bytes, title, width on a page in px); None for other values."""
    figure: Any = value
    if not hasattr(value, "_repr_png_"):
        if not has_figure(value):
            return None
        figure = show(value)
    png, size = figure._repr_png_()
    return png, str(getattr(figure, "title", "")), int(size["width"])
