"""Results that are kept in a folder as they are made, so that a run that was stopped goes on with the same command.

results/STEM/    a saved result that says with what it was made: complete, or not there
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tapetum import store
from tapetum.cli.terminal import note
from tapetum.types import Run, TapetumError

RESULTS = "results"
SAVED = {"arrays.npz", "manifest.json"}
UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part")
"""What a run that was killed may leave behind."""

FREE = ("units", "frames", "batch")
"""Parameters that do not change a result."""

DECISIVE = ("tapetum", "torch", "torchvision", "timm")
"""Versions that may."""


@dataclass(frozen=True, eq=False)
class Task:
    """What a result is made of, the name that its files begin with, and the provenance it will have."""

    subject: tuple[str, ...]
    stem: str
    wanted: Mapping[str, Any]

    @property
    def title(self) -> str:
        return ", ".join(self.subject)


# --- what is there


def opened(folder: Path, task: Task, kind: type) -> Run | None:
    """The result of that kind that is kept under the task's name; one that is damaged is said, and made again."""
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
    """The task's result, if it was made with the same settings; refused where they were others."""
    run = opened(folder, task, kind)
    if run is not None and (differs := difference(task.wanted, asdict(run.provenance))):
        raise made_otherwise(f"{RESULTS}/{task.stem}", differs)
    return run


def made_otherwise(name: str, differs: str) -> TapetumError:
    """The refusal to replace what is there."""
    other = "give another folder, or --no-resume to replace it"
    return TapetumError(f"{name} is there already, made with other settings ({differs}); {other}")


def say_kept(there: int, of: int) -> None:
    if there:
        note(f"{there} of {of} are there already with the same settings, and stay as they are")


def difference(wanted: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    """The first setting that was another one, in words; nothing where all decisive ones are the same."""
    now, then = _settings(wanted), _settings(content)
    return next((f"{key} was {then.get(key)}, is {now[key]}" for key in now if now[key] != then.get(key)), "")


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """{name: value} of what decides a result, in the form in which JSON gives it back."""
    plain = json.loads(
        json.dumps({key: content.get(key) for key in ("parameters", "versions", "subject", "files", "settings")}, default=str)
    )
    parameters = {key: value for key, value in _table(plain["parameters"]).items() if key not in FREE}
    versions = {key: _table(plain["versions"]).get(key) for key in DECISIVE}
    rest = {key: content.get(key) for key in ("method", "model", "weights", "weights_sha256", "dtype")}
    rest["settings"] = plain["settings"] or {}
    return {**rest, "subject": plain["subject"], **parameters, **versions, "files": plain["files"]}


def _table(value: Any) -> dict[str, Any]:
    """What a picture says of itself may be of any type."""
    return value if isinstance(value, dict) else {}


# --- what is written


def keep(folder: Path, task: Task, run: Run) -> None:
    """Saves a result in place of an earlier one of its name."""
    saved = folder / RESULTS / task.stem
    if is_result(saved):
        shutil.rmtree(saved)
    store.save(run, saved)


def is_result(path: Path) -> bool:
    """A saved result, or one that was not finished."""
    return path.is_dir() and not path.is_symlink() and {file.name for file in path.iterdir()} <= SAVED


def kept_files(folder: Path) -> Iterator[Path]:
    """The files of all results, finished or not."""
    results = folder / RESULTS
    if results.is_dir() and not results.is_symlink():
        yield from (file for saved in results.iterdir() if is_result(saved) for file in saved.iterdir())


def unfinished(folder: Path) -> Iterator[Path]:
    """Files that killed runs had begun to write, in the folder and in those inside it."""
    inner = (path for path in folder.glob("*") if path.is_dir() and not path.is_symlink())
    yield from (path for place in (folder, *inner) for path in place.glob(".*.part") if UNFINISHED.fullmatch(path.name))


def clear_unfinished(folder: Path) -> None:
    """Takes away what killed runs had begun to write in a folder that was checked."""
    for path in unfinished(folder):
        path.unlink(missing_ok=True)
    for path in (folder / RESULTS).glob(".*-*"):
        if is_result(path):
            shutil.rmtree(path, ignore_errors=True)
