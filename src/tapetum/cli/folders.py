"""The folder of `--out`: checked before the work, filled when the work is done; other files in it are never touched."""

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

REPORT = ("report.html", "report.json")
SAVED = ("arrays.npz", "manifest.json")


def checked_folder(out: str | Path, ours: Callable[[Path], set[Path]] | None = None) -> Path:
    """A folder that is new, empty, or an earlier report: nothing else is ever replaced.

    Args:
        ours: which of a folder's files are ours; without it those that an earlier report names.
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
            pass  # the only sure way to know that it can be written
    return folder


LONGEST = 255
"""Bytes of a name, on every file system."""


def placed(out: str | Path) -> Path:
    """Returns the real path of a folder; refuses names that no folder can have, so that not even its parents are made."""
    if "\0" in str(out):
        raise TapetumError(f"--out {shown(out)} is no name of a folder")
    with writing(out):
        folder = Path(os.path.realpath(out))
    if any(len(os.fsencode(part)) > LONGEST for part in folder.parts):
        raise TapetumError(f"--out {shown(out)} cannot be written (File name too long); choose another place")
    return folder


@contextmanager
def writing(out: str | Path, then: str = ELSEWHERE) -> Iterator[None]:
    """Turns errors of the system about a folder into one line: `then` says what to do."""
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
    """Refuses files that are not ours, and all links, since writing through a link would write elsewhere."""
    for path in folder.rglob("*"):
        if any(map(LEFTOVER.fullmatch, path.relative_to(folder).parts)) or path == folder / LOCK:
            continue
        if path.is_symlink() or not (path in ours or path.is_dir()):
            raise TapetumError(f"--out {shown(out)} holds other files ({shown(path.name)}); give a new or an empty folder")
    for name in REPORT:
        if (folder / name).is_dir():
            raise TapetumError(f"--out {shown(out)} holds a folder named {name}; give a new or an empty folder")


# --- an earlier report


def earlier_report(folder: Path) -> dict[str, Any]:
    """Contents of report.json; empty if it is missing or none of ours."""
    try:
        return table_in(folder / "report.json")
    except TapetumError:
        return {}


def named(folder: Path, name: Any) -> Path | None:
    """The file that a report names, as "a.png" or "a/b.png"; None where the name leads anywhere else."""
    try:
        return inside(folder, *name.split("/")) if isinstance(name, str) else None
    except DamagedError:
        return None


def report_files(folder: Path) -> set[Path]:
    """The files of an earlier report, as its report.json names them; none if that is not one of ours."""
    found = files_named(folder, earlier_report(folder))
    return {path for path in found if path.name in (*REPORT, *SAVED) or is_picture(path)}


def files_named(folder: Path, content: Mapping[str, Any]) -> set[Path]:
    """The files that the content of a report.json names inside the folder."""
    images = content.get("images")
    if not isinstance(images, list) or not all(isinstance(image, dict) for image in images):
        return set()
    names: list[Any] = [*REPORT]
    for image in images:
        maps = image.get("attributions")
        names += [one.get("file") for one in (maps if isinstance(maps, list) else ()) if isinstance(one, dict)]
        names += [image.get("picture"), *(f"{image.get('result')}/{name}" for name in SAVED)]
    return {path for path in (named(folder, name) for name in names) if path is not None}


def is_picture(path: Path) -> bool:
    """Whether a file is a PNG with our provenance inside: a foreign report.json may name any file."""
    from PIL import Image

    from tapetum.reports.provenance import PROVENANCE_KEY  # with torch: `tapetum --help` should not wait for it

    if path.is_symlink():  # ours are none; what it leads to is not looked at
        return False
    try:
        with opened(path) as file, Image.open(file, formats=["PNG"]) as picture:
            return PROVENANCE_KEY in picture.info
    except Exception:  # whatever it is, it is not ours
        return False


def take_away(folder: Path, files: set[Path]) -> None:
    """Deletes files, report.json last since it names the others, and then folders without files."""
    for path in sorted(files, key=lambda one: (one.name in REPORT, one)):
        path.unlink(missing_ok=True)
    for place in sorted({place for path in files for place in path.parents if folder in place.parents}, reverse=True):
        with contextlib.suppress(OSError):
            place.rmdir()


# --- a folder that is filled when all is done


@contextmanager
def complete(folder: Path) -> Iterator[Path]:
    """A temporary folder whose contents take their final names only when the block has succeeded.

    A new folder appears at once. One that is there already may be a mount or somebody's working directory: it stays, an
    earlier report in it is taken away, and report.html and report.json come last.
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
