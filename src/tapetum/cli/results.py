"""Saves results in a folder one by one, so that a stopped run can be continued by the same command.

results/STEM/    a saved result with its provenance; it appears only when it is complete
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tapetum import store
from tapetum.cli.folders import SAVED
from tapetum.cli.terminal import remark
from tapetum.keeping.keyed import Key
from tapetum.types import Run, TapetumError

RESULTS = "results"
FREE = ("units", "frames", "batch")
"""Names of parameters that do not change a result."""

DECISIVE = ("tapetum", "torch", "torchvision", "timm")
"""Names of packages whose version may change a result."""


@dataclass(frozen=True, eq=False)
class Task:
    """One result to make: its subject, the `stem` of its file names, and the provenance that it will have (`wanted`)."""

    subject: tuple[str, ...]
    stem: str
    wanted: Mapping[str, Any]

    @property
    def title(self) -> str:
        return ", ".join(self.subject)


# --- saved earlier


def earlier_result(folder: Path, task: Task, kind: type) -> Run | None:
    """Returns a task's saved result; None if there is none of type `kind`, or it is damaged, which is printed."""
    place = folder / RESULTS / task.stem
    if not place.exists():
        return None
    try:
        run = store.open(place)
    except TapetumError as error:
        remark(f"{error}; it is made again")
        return None
    return run if isinstance(run, Run) and isinstance(run.value, kind) else None


def kept(folder: Path, task: Task, kind: type) -> Run | None:
    """Returns a task's saved result, or None; refuses one that was made with other settings."""
    run = earlier_result(folder, task, kind)
    if run is not None:
        check_same(task, asdict(run.provenance), f"{RESULTS}/{task.stem}", "result")
    return run


def check_same(task: Task, content: Mapping[str, Any], place: str, what: Literal["result", "picture"]) -> None:
    """Refuses to replace a result or picture whose provenance (`content`) has settings that differ from the task's."""
    if difference(task, content):
        raise TapetumError(Key(_settings(task.wanted)).refusal(place, what, _settings(content)))


def difference(task: Task, content: Mapping[str, Any]) -> str:
    """Returns the first setting that differs, in words; "" if all settings that determine the result are equal."""
    return Key(_settings(task.wanted)).difference(_settings(content))


def say_kept(there: int, of: int) -> None:
    if there:
        remark(f"{there} of {of} are there already with the same settings, and stay as they are")


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {name: value} of all settings in a provenance that a result depends on, as JSON types."""
    read = {key: content.get(key) for key in ("parameters", "versions", "subject", "files", "settings")}
    plain = json.loads(json.dumps(read, default=str))
    parameters = {key: value for key, value in _table(plain["parameters"]).items() if key not in FREE}
    versions = {key: _table(plain["versions"]).get(key) for key in DECISIVE}
    rest = {key: content.get(key) for key in ("method", "model", "weights", "weights_sha256", "dtype")}
    rest["settings"] = plain["settings"] or {}
    return {**rest, "subject": plain["subject"], **parameters, **versions, "files": plain["files"]}


def _table(value: Any) -> dict[str, Any]:
    """Returns the value if it is a dictionary, else {}: provenance read from a file may hold any type."""
    return value if isinstance(value, dict) else {}


# --- saved now


def keep(folder: Path, task: Task, run: Run) -> None:
    """Saves a task's result, replacing an earlier one of the same name."""
    saved = folder / RESULTS / task.stem
    save = store.save_again if is_result(saved) else store.save
    save(run, saved)


def is_result(path: Path) -> bool:
    """Returns whether a path is the folder of a saved result, finished or not: it holds no other files."""
    return path.is_dir() and not path.is_symlink() and {file.name for file in path.iterdir()} <= {*SAVED}


def kept_files(folder: Path) -> Iterator[Path]:
    """Yields the files of all saved results in a folder, finished or not."""
    results = folder / RESULTS
    if results.is_dir() and not results.is_symlink():
        yield from (file for saved in results.iterdir() if is_result(saved) for file in saved.iterdir())
