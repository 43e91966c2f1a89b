"""Folders of pictures that several runs can fill: finds tapetum's files in them, and pictures that exist already.

blocks-3-0-5.png     a picture, its provenance inside      results/blocks-3-0-5/   the same as arrays
sheet.png            all pictures on a page                report.json             what was made, and what was refused
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from PIL import Image

from tapetum.cli.folders import checked_folder, earlier_report, file_named, is_picture
from tapetum.cli.results import Task, check_same, difference, earlier_result, keep, kept_files
from tapetum.figures.film import MARK, WRITERS
from tapetum.figures.tiles import finished, is_mosaic
from tapetum.files import opened as opened_file
from tapetum.reports.provenance import carried, write_picture
from tapetum.types import Rendering, Run, TapetumError


def resumable_folder(out: str | Path) -> Path:
    """Returns the path of an output folder; refuses one with files other than those of earlier rendering runs."""
    return checked_folder(out, lambda place: set(_ours(place)))


def _ours(folder: Path) -> Iterator[Path]:
    yield from kept_files(folder)
    yield from (path for path in folder.iterdir() if path.is_file() and is_ours(path))


def is_ours(path: Path) -> bool:
    """Returns whether a file's contents show that tapetum wrote it."""
    if path.is_symlink():  # tapetum writes no links; their targets are not read
        return False
    with contextlib.suppress(Exception):  # an unreadable file is not by tapetum
        if path.suffix == ".png":
            return is_picture(path)
        if path.suffix in (".gif", ".webp"):
            with opened_file(path) as file, Image.open(file, formats=["GIF", "WEBP"]) as film:
                return bytes(film.info.get("comment") or film.info.get("xmp") or b"").startswith(MARK.encode())
        if path.suffix == ".html":
            with opened_file(path) as file:
                return f'<meta name="generator" content="{MARK}">'.encode() in file.read(1000)
        if path.name == "report.json":
            return {"method", "pictures", "refused"} <= set(earlier_report(path.parent))
    return False


# --- pictures of earlier runs


def names(task: Task, made: Rendering) -> list[tuple[str, int | None]]:
    """Returns (file name, row in the rendering) of each picture of a task; a mosaic is one file with row None."""
    if is_mosaic(made):
        return [(f"{task.stem}.png", None)]
    if len(made) == 1:
        return [(f"{task.stem}.png", 0)]
    return [(f"{task.stem}.{row + 1}.png", row) for row in range(len(made))]


def earlier(folder: Path, task: Task) -> Run | None:
    """Returns a task's result of an earlier run, or None if incomplete; refuses changed pictures and other settings."""
    run = earlier_result(folder, task, Rendering)
    files = _files(folder, task) if run is None else [folder / name for name, _ in names(task, run.value)]
    for file in files:
        if not file.is_file():
            continue
        content = carried(file)
        if content is None:
            raise TapetumError(f"{file.name} was changed since it was made; move it away, or --no-resume to replace it")
        check_same(task, content, file.name, "picture")
    if run is None or not all(file.is_file() for file in files) or difference(task, asdict(run.provenance)):
        return None
    return run if _has_frames(run, task.wanted) else None


def _files(folder: Path, task: Task) -> list[Path]:
    return [path for path in folder.glob("*.png") if re.fullmatch(rf"{re.escape(task.stem)}(\.\d+)?\.png", path.name)]


def _has_frames(run: Run, wanted: Mapping[str, Any]) -> bool:
    """Returns whether the earlier run kept the intermediate frames that are requested now."""
    asked = wanted["parameters"].get("frames")
    return not asked or run.provenance.parameters.get("frames") == asked


# --- pictures of this run


def write(folder: Path, task: Task, run: Run) -> list[str]:
    """Saves a task's result, then its pictures, each file completely or not at all; returns the names of the picture files."""
    films = [folder / f"{task.stem}{suffix}" for suffix in WRITERS]  # also deletes animations made with other settings
    for file in (*_files(folder, task), *films):
        if file.is_file() and is_ours(file):
            file.unlink()
    keep(folder, task, run)
    named = names(task, run.value)
    for name, row in named:
        write_picture(folder / name, finished(run.value, row), run.provenance, row=row)
    return [name for name, _ in named]


def clear_figures(folder: Path) -> None:
    """Deletes the sheets and other figures of an earlier run, which may have had more than this one."""
    figures = earlier_report(folder).get("figures")
    for file in filter(None, (file_named(folder, name) for name in (figures if isinstance(figures, list) else ()))):
        if file.is_file() and is_ours(file):
            file.unlink()


def parts(run: Run, tasks: Sequence[Task]) -> list[Run]:
    """Splits a run that made the pictures of several tasks into one run per task, in the order of the tasks."""
    if len(tasks) == 1:
        return [run]
    each = len(run.value) // len(tasks)
    found: list[Run] = []
    for i, task in enumerate(tasks):
        value = run.value[i * each : (i + 1) * each]
        parameters = {**run.provenance.parameters, "units": list(task.subject)}
        about = replace(run.provenance, subject=task.subject, target=value.objectives, parameters=parameters)
        found.append(Run(value, about))
    return found
