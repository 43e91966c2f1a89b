"""The folder that `--out` names: checked before the work, filled only when the work is done, never at others' cost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tapetum.types import TapetumError

REPORT = ("report.html", "report.json")


def checked_folder(out: str | Path, ours: Callable[[Path], set[Path]] | None = None) -> Path:
    """A folder that is new, empty, or an earlier report: nothing else is ever replaced.

    Args:
        ours: which of a folder's files are ours; without it those that an earlier report names.
    """
    folder = Path(os.path.realpath(out))
    try:
        if folder.is_dir():
            _check_contents(folder, out, (ours or _report_files)(folder))
        elif folder.exists():
            raise TapetumError(f"--out {out} is a file; give a folder")
        with tempfile.TemporaryDirectory(prefix=".tapetum-", dir=_existing(folder)):
            pass  # the only sure way to know that it can be written
    except OSError as error:
        raise TapetumError(f"--out {out} cannot be written ({error.strerror}); choose another place") from error
    return folder


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _check_contents(folder: Path, out: str | Path, ours: set[Path]) -> None:
    strangers = (path for path in folder.rglob("*") if path not in ours and not path.is_dir())
    if stranger := next(strangers, None):
        raise TapetumError(f"--out {out} holds other files ({stranger.name}); give a new or an empty folder")


def _report_files(folder: Path) -> set[Path]:
    """The files of an earlier report, as its report.json names them; none if that is not one of ours."""
    try:
        images = json.loads((folder / "report.json").read_text("utf-8"))["images"]
        maps = [attribution["file"] for image in images for attribution in image.get("attributions", [])]
        runs = [image for image in images if "result" in image]
        results = [f"{image['result']}/{name}" for image in runs for name in ("arrays.npz", "manifest.json")]
        return {folder / name for name in (*REPORT, *maps, *results, *(image["picture"] for image in runs))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return set()


@contextmanager
def complete(folder: Path) -> Iterator[Path]:
    """A temporary folder whose contents take their final names only when the block has succeeded.

    A new folder appears at once. One that is there already may be a mount or somebody's working directory: it stays, an
    earlier report in it is taken away, and report.html and report.json come last.
    """
    made = _made_parents(folder)
    work = None
    try:
        into = folder if folder.is_dir() else folder.parent
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=into))
        yield work
        work.chmod(0o777 & ~_umask())
        if into == folder:
            _moved_into(folder, work)
        else:
            work.replace(folder)
    except BaseException as error:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise TapetumError(f"--out {folder} cannot be written ({error.strerror}); choose another place") from error
        raise


def _made_parents(folder: Path) -> Sequence[Path]:
    """The parents that had to be made, innermost first."""
    made = [parent for parent in folder.parents if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    return made


def _moved_into(folder: Path, work: Path) -> None:
    earlier = _report_files(folder)
    for path in earlier:
        path.unlink(missing_ok=True)
    for emptied in {path.parent for path in earlier} - {folder}:
        with contextlib.suppress(OSError):
            emptied.rmdir()
    for path in sorted(work.iterdir(), key=lambda one: (one.name in REPORT, one.name)):
        path.replace(folder / path.name)
    work.rmdir()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
