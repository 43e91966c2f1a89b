"""Results that are saved in a folder one by one, so that a stopped run goes on with the same command.

results/STEM/    a saved result that says with what it was made: complete, or not there
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tapetum import store
from tapetum.cli.folders import SAVED
from tapetum.cli.terminal import note
from tapetum.keeping.keyed import Key
from tapetum.types import Run, TapetumError

RESULTS = "results"
FREE = ("units", "frames", "batch")
"""Parameters that do not change a result."""

DECISIVE = ("tapetum", "torch", "torchvision", "timm")
"""Versions that may."""


@dataclass(frozen=True, eq=False)
class Task:
    """Subject of a result, the name that its files begin with, and the provenance it will have."""

    subject: tuple[str, ...]
    stem: str
    wanted: Mapping[str, Any]

    @property
    def title(self) -> str:
        return ", ".join(self.subject)


# --- what is there


def opened(folder: Path, task: Task, kind: type) -> Run | None:
    """Returns the kept result of a task if it is of that kind; a damaged one is noted, and made again."""
    place = folder / RESULTS / task.stem
    if not place.exists():
        return None
    try:
        run = store.open(place)
    except TapetumError as error:
        note(f"{error}; it is made again")
        return None
    return run if isinstance(run, Run) and isinstance(run.value, kind) else None


def kept(folder: Path, task: Task, kind: type) -> Run | None:
    """The task's result if it has the same settings; refuses one with other settings."""
    run = opened(folder, task, kind)
    if run is not None:
        check_same(task, asdict(run.provenance), f"{RESULTS}/{task.stem}", "result")
    return run


def check_same(task: Task, content: Mapping[str, Any], place: str, what: Literal["result", "picture"]) -> None:
    """Refuses to replace a result or picture of other settings."""
    if difference(task, content):
        raise TapetumError(Key(_settings(task.wanted)).refusal(place, what, _settings(content)))


def difference(task: Task, content: Mapping[str, Any]) -> str:
    """The first setting that was another one, in words; empty if all decisive ones are the same."""
    return Key(_settings(task.wanted)).difference(_settings(content))


def say_kept(there: int, of: int) -> None:
    if there:
        note(f"{there} of {of} are there already with the same settings, and stay as they are")


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """{name: value} of everything that a result depends on, as JSON returns it."""
    plain = json.loads(
        json.dumps({key: content.get(key) for key in ("parameters", "versions", "subject", "files", "settings")}, default=str)
    )
    parameters = {key: value for key, value in _table(plain["parameters"]).items() if key not in FREE}
    versions = {key: _table(plain["versions"]).get(key) for key in DECISIVE}
    rest = {key: content.get(key) for key in ("method", "model", "weights", "weights_sha256", "dtype")}
    rest["settings"] = plain["settings"] or {}
    return {**rest, "subject": plain["subject"], **parameters, **versions, "files": plain["files"]}


def _table(value: Any) -> dict[str, Any]:
    """Returns a table, or an empty one: a picture's provenance may hold any type."""
    return value if isinstance(value, dict) else {}


# --- what is written


def keep(folder: Path, task: Task, run: Run) -> None:
    """Saves a result in place of an earlier one of its name."""
    saved = folder / RESULTS / task.stem
    save = store.save_again if is_result(saved) else store.save
    save(run, saved)


def is_result(path: Path) -> bool:
    """A saved result, or one that was not finished."""
    return path.is_dir() and not path.is_symlink() and {file.name for file in path.iterdir()} <= {*SAVED}


def kept_files(folder: Path) -> Iterator[Path]:
    """The files of all results, finished or not."""
    results = folder / RESULTS
    if results.is_dir() and not results.is_symlink():
        yield from (file for saved in results.iterdir() if is_result(saved) for file in saved.iterdir())
