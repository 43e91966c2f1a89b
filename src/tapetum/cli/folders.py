"""Output folders (`--out`): checked before the work and filled after it; files of other origin are never touched."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapetum.files import inside, opened, shown, table_in
from tapetum.keeping.locks import LOCK, alone
from tapetum.keeping.places import ELSEWHERE, made
from tapetum.keeping.whole import LEFTOVER, clear_leftovers, move_contents, take_place, work_folder
from tapetum.types import DamagedError, TapetumError, UnwritableError

CONTENT = ("report.json", "audit.json", "circuit.json")
"""Names of the file that holds a report's content and names all its files; which one depends on the command."""

REPORT = ("report.html", "circuit.html", *CONTENT)
SAVED = ("arrays.npz", "manifest.json")


def checked_folder(out: str | Path, ours: Callable[[Path], set[Path]] | None = None) -> Path:
    """Returns the path of an output folder that is new, empty, or an earlier report; refuses any other.

    Args:
        ours: returns the files in a folder that may be replaced; None: those that an earlier report names.
    """
    folder = placed(out)
    with writing(out):
        if folder.is_dir():
            _check_contents(folder, out, (ours or report_files)(folder))
        elif folder.exists():
            raise TapetumError(f"--out {shown(out)} is a file; give a folder")
        inner = (path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())
        clear_leftovers(_existing(folder), folder, *inner)
        with work_folder(_existing(folder)):
            pass  # writing is the only sure test that one can write
    return folder


LONGEST = 255
"""Largest length of a file or folder name in bytes that every file system accepts."""


def placed(out: str | Path) -> Path:
    """Returns the real path of a folder; refuses impossible names early, before any parent folder is created."""
    if "\0" in str(out):
        raise TapetumError(f"--out {shown(out)} is no name of a folder")
    with writing(out):
        folder = Path(os.path.realpath(out))
    if any(len(os.fsencode(part)) > LONGEST for part in folder.parts):
        raise TapetumError(f"--out {shown(out)} cannot be written (File name too long); choose another place")
    return folder


@contextmanager
def writing(out: str | Path, then: str = ELSEWHERE) -> Iterator[None]:
    """Replaces system errors about a folder inside the block by a one-line error; its end, `then`, says what to do."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, sqlite3.OperationalError, UnwritableError) as error:
        cause = error.__cause__ if isinstance(error, UnwritableError) else error
        why = getattr(cause, "strerror", None) or shown(cause)
        raise UnwritableError(f"--out {shown(out)} cannot be written ({why}); {then}") from error


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _check_contents(folder: Path, out: str | Path, ours: set[Path]) -> None:
    """Refuses a folder with files outside `ours`, or with any link, since writing through a link would write elsewhere."""
    for path in folder.rglob("*"):
        if any(map(LEFTOVER.fullmatch, path.relative_to(folder).parts)) or path == folder / LOCK:
            continue
        if path.is_symlink() or not (path in ours or path.is_dir()):
            raise TapetumError(f"--out {shown(out)} holds other files ({shown(path.name)}); give a new or an empty folder")
    for name in REPORT:
        if (folder / name).is_dir():
            raise TapetumError(f"--out {shown(out)} holds a folder named {name}; give a new or an empty folder")


# --- an earlier report


def earlier_report(folder: Path, name: str = "report.json") -> dict[str, Any]:
    """Returns the content of a folder's report.json or audit.json; {} if it is missing or not by tapetum."""
    try:
        return table_in(folder / name)
    except TapetumError:
        return {}


def file_named(folder: Path, name: Any) -> Path | None:
    """Returns the path of a file that a report names as "a.png" or "a/b.png"; None for names that lead outside."""
    try:
        return inside(folder, *name.split("/")) if isinstance(name, str) else None
    except DamagedError:
        return None


def report_files(folder: Path) -> set[Path]:
    """Returns the files of an earlier report that its report.json or audit.json names; an empty set if that is not ours."""
    found = {path for name in CONTENT for path in files_named(folder, earlier_report(folder, name), name)}
    return {path for path in found if path.name in (*REPORT, *SAVED) or is_picture(path) or _is_patch(path)}


def files_named(folder: Path, content: Mapping[str, Any], own: str = "report.json") -> set[Path]:
    """Returns the paths inside `folder` that the content of a report.json, or of the file called `own`, names."""
    images = content.get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        return set()
    names: list[Any] = ["report.html", own, content.get("page"), content.get("patch")]
    for image in images:
        maps = image.get("attributions")
        names += [one.get("file") for one in (maps if isinstance(maps, list) else ()) if isinstance(one, dict)]
        names += [image.get("picture"), image.get("attacked"), *(f"{image.get('result')}/{name}" for name in SAVED)]
    return {path for path in (file_named(folder, name) for name in names) if path is not None}


def _is_patch(path: Path) -> bool:
    from tapetum.models.patches import is_patch  # imports torch, for which `tapetum --help` should not wait

    return path.suffix == ".safetensors" and not path.is_symlink() and is_patch(path)


def is_picture(path: Path) -> bool:
    """Returns whether a file is a PNG with tapetum's provenance inside; links are not followed and count as no."""
    from PIL import Image

    from tapetum.reports.provenance import PROVENANCE_KEY  # imports torch, for which `tapetum --help` should not wait

    if path.is_symlink():  # tapetum writes no links; their targets are not read
        return False
    try:
        with opened(path) as file, Image.open(file, formats=["PNG"]) as picture:
            return PROVENANCE_KEY in picture.info
    except Exception:  # an unreadable file is not by tapetum
        return False


def take_away(folder: Path, files: set[Path]) -> None:
    """Deletes files, report.json last since it names the others, and then the folders that are empty."""
    for path in sorted(files, key=lambda one: (one.name in REPORT, one)):
        path.unlink(missing_ok=True)
    for place in sorted({place for path in files for place in path.parents if folder in place.parents}, reverse=True):
        with contextlib.suppress(OSError):
            place.rmdir()


# --- a folder that is filled when all is done


@contextmanager
def complete(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder whose files are moved into `folder` only when the block has succeeded.

    A new folder appears in one step. An existing one, which may be a mount or a working directory, stays: an earlier report
    in it is deleted, and report.html and report.json are moved last.
    """
    with writing(folder), made(folder.parent), work_folder(folder if folder.is_dir() else folder.parent) as work:
        yield work
        if not folder.is_dir():
            take_place(work, folder)
            return
        _check_contents(folder, folder, report_files(folder))
        with alone(folder):
            take_away(folder, report_files(folder))
            move_contents(work, folder, last=REPORT)
