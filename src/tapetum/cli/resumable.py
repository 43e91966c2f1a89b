"""A folder of pictures that can be filled in several goes: which of its files are ours, and which pictures are there already.

blocks-3-0-5.png     a picture, its provenance inside      results/blocks-3-0-5/   the same as arrays
sheet.png            all of them on a page                 report.json             what was made, and what was refused
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from tapetum import store
from tapetum.cli.folders import checked_folder
from tapetum.figures.film import MARK, WRITERS
from tapetum.figures.tiles import finished, is_mosaic
from tapetum.reports.provenance import PROVENANCE_KEY, carried, write_picture
from tapetum.types import Rendering, Run, TapetumError

RESULTS = "results"
SAVED = {"arrays.npz", "manifest.json"}
UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part")
"""What a run that was killed may leave behind."""

FREE = ("units", "frames", "batch")
"""Parameters that do not change a picture."""

DECISIVE = ("tapetum", "torch", "torchvision", "timm")
"""Versions that may."""


@dataclass(frozen=True, eq=False)
class Task:
    """What one or more pictures are made of, the name that their files begin with, and the provenance they will have."""

    subject: tuple[str, ...]
    stem: str
    wanted: Mapping[str, Any]

    @property
    def title(self) -> str:
        return ", ".join(self.subject)


def resumable_folder(out: str | Path) -> Path:
    """A folder that is new, empty, or holds nothing but what such runs write; what they left unfinished is cleared away."""
    folder = checked_folder(out, lambda place: set(_ours(place)))
    if folder.is_dir():
        for path in folder.glob(".*"):
            if UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)
        for path in (folder / RESULTS).glob(".*-*"):
            shutil.rmtree(path, ignore_errors=True)
    return folder


def _ours(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_dir() and path.name == RESULTS:
            yield from (file for saved in path.iterdir() if _is_result(saved) for file in saved.iterdir())
        elif path.is_file() and _is_ours(path):
            yield path


def _is_result(path: Path) -> bool:
    """A saved result, or one that was not finished."""
    return path.is_dir() and {file.name for file in path.iterdir()} <= SAVED


def _is_ours(path: Path) -> bool:
    """Whether a file says itself that it is."""
    if UNFINISHED.fullmatch(path.name):
        return True
    with contextlib.suppress(Exception):  # whatever it is, it is not ours
        if path.suffix == ".png":
            with Image.open(path, formats=["PNG"]) as picture:
                return PROVENANCE_KEY in picture.info
        if path.suffix in (".gif", ".webp"):
            with Image.open(path, formats=["GIF", "WEBP"]) as film:
                return bytes(film.info.get("comment") or film.info.get("xmp") or b"").startswith(MARK.encode())
        if path.suffix == ".html":
            return f'<meta name="generator" content="{MARK}">' in path.read_text("utf-8")[:1000]
        if path.name == "report.json":
            content = json.loads(path.read_text("utf-8"))
            return {"method", "pictures", "refused"} <= set(content)
    return False


# --- what is there


def names(task: Task, made: Rendering) -> list[tuple[str, int | None]]:
    """The files of a task's pictures, each with its row; a mosaic is one picture."""
    if is_mosaic(made):
        return [(f"{task.stem}.png", None)]
    if len(made) == 1:
        return [(f"{task.stem}.png", 0)]
    return [(f"{task.stem}.{row + 1}.png", row) for row in range(len(made))]


def earlier(folder: Path, task: Task) -> Run | None:
    """The task's result if it is there, whole, and made with the same settings; refused where the settings were others."""
    run = _opened(folder / RESULTS / task.stem)
    files = _files(folder, task) if run is None else [folder / name for name, _ in names(task, run.value)]
    for file in files:
        if not file.is_file():
            continue
        content = carried(file)
        if content is None:
            raise TapetumError(f"{file.name} was changed since it was made; move it away, or --no-resume to replace it")
        differs = difference(task.wanted, content)
        if differs:
            other = "give another folder, or --no-resume to replace it"
            raise TapetumError(f"{file.name} is there already, made with other settings ({differs}); {other}")
    if run is None or not all(file.is_file() for file in files) or difference(task.wanted, asdict(run.provenance)):
        return None
    return run if _has_frames(run, task.wanted) else None


def _files(folder: Path, task: Task) -> list[Path]:
    return [path for path in folder.glob("*.png") if re.fullmatch(rf"{re.escape(task.stem)}(\.\d+)?\.png", path.name)]


def _opened(folder: Path) -> Run | None:
    try:
        run = store.open(folder)
    except TapetumError:
        return None
    return run if isinstance(run, Run) and isinstance(run.value, Rendering) else None


def _has_frames(run: Run, wanted: Mapping[str, Any]) -> bool:
    """Frames that are asked for now were kept then."""
    asked = wanted["parameters"].get("frames")
    return not asked or run.provenance.parameters.get("frames") == asked


def difference(wanted: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The first setting that was another one, in words; nothing where all decisive ones are the same."""
    now, then = _settings(wanted), _settings(content)
    return next((f"{key} was {then.get(key)}, is {now[key]}" for key in now if now[key] != then.get(key)), "")


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """{name: value} of what decides a picture, in the form in which JSON gives it back."""
    plain = json.loads(
        json.dumps({key: content.get(key) for key in ("parameters", "versions", "subject", "files", "settings")}, default=str)
    )
    parameters = {key: value for key, value in (plain["parameters"] or {}).items() if key not in FREE}
    versions = {key: (plain["versions"] or {}).get(key) for key in DECISIVE}
    rest = {key: content.get(key) for key in ("method", "model", "weights", "weights_sha256", "dtype")}
    rest["settings"] = plain["settings"] or {}
    return {**rest, "subject": plain["subject"], **parameters, **versions, "files": plain["files"]}


# --- what is written


def write(folder: Path, task: Task, run: Run) -> list[str]:
    """The arrays, then each picture, each complete or not at all; returns the pictures' names."""
    films = [folder / f"{task.stem}{suffix}" for suffix in WRITERS]  # those of other settings must not stay
    for file in (*_files(folder, task), *films):
        if file.is_file() and _is_ours(file):
            file.unlink()
    saved = folder / RESULTS / task.stem
    if saved.is_dir() and _is_result(saved):
        shutil.rmtree(saved)
    store.save(run, saved)
    named = names(task, run.value)
    for name, row in named:
        write_picture(folder / name, finished(run.value, row), run.provenance, row=row)
    return [name for name, _ in named]


def clear_figures(folder: Path) -> None:
    """Takes away the sheets of an earlier run, which may have been more."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        for name in json.loads((folder / "report.json").read_text("utf-8"))["figures"]:
            file = folder / Path(name).name
            if _is_ours(file):
                file.unlink()


def parts(run: Run, tasks: Sequence[Task]) -> list[Run]:
    """One result for each task of a run that made the pictures of several, in their order."""
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
