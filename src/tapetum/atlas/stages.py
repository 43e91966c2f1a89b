"""A folder that is filled in stages: which are done, with what, and that nothing else lies there.

manifest.json   schema, what the atlas shows and was made with, and {stage: key} of what is finished
scan/           the scan's shards            embeddings/   all scores, float16
atlas.sqlite    units, examples, pictures    pictures/     what the model saw, in sheets
units/, maps/   rendered pictures            site/         the static pages
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapetum import progress
from tapetum.atlas.claims import MANIFEST, SCHEMA, manifest_in
from tapetum.engines.scan.ledger import writable, written
from tapetum.files import shown, table_in
from tapetum.types import DamagedError, TapetumError

STORE = "atlas.sqlite"
FOLDERS = {"scan", "embeddings", "pictures", "units", "maps", "site"}
OURS = {MANIFEST, STORE, ".lock", *FOLDERS}
UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part|\.tapetum-[0-9a-f]{16}")
"""What a build that was killed may leave behind."""


class Stages:
    """The manifest of an atlas's folder while it is built: a stage with the same key is not done again."""

    def __init__(self, folder: Path, *, resume: bool = True) -> None:
        self.folder = folder
        check_folder(folder)
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for path in folder.iterdir():
                if UNFINISHED.fullmatch(path.name):
                    remove(path)
        earlier, self.notes = _earlier(folder) if resume else ({}, ())
        self.about: dict[str, Any] = {key: value for key, value in earlier.items() if key not in ("schema", "stages")}
        self.done: dict[str, dict[str, Any]] = dict(earlier.get("stages", {}))

    def key(self, name: str) -> str | None:
        """The key with which a stage was finished."""
        return self.done.get(name, {}).get("key")

    def is_done(self, name: str, key: str) -> bool:
        return self.key(name) == key

    @contextmanager
    def stage(self, name: str, key: str) -> Iterator[None]:
        """A stage that is done when the block ends; until then it is not, nor what an earlier one of another key left."""
        if self.done.pop(name, None) is not None:
            self.save()
        begun = time.perf_counter()
        with progress.stage(name):
            yield
        self.done[name] = {"key": key, "seconds": round(time.perf_counter() - begun, 1)}
        self.save()

    def forget(self, *names: str) -> None:
        """These are to be done again."""
        for name in names:
            self.done.pop(name, None)
        self.save()

    def tell(self, **about: Any) -> None:
        """What the manifest says besides."""
        self.about |= about

    def save(self) -> None:
        text = json.dumps({"schema": SCHEMA, **self.about, "stages": self.done}, indent=1, default=str)
        written(self.folder / MANIFEST, text.encode())


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What a folder's atlas is; refused where there is none, one of another version, or one that is damaged."""
    if not os.path.lexists(Path(folder) / MANIFEST):
        raise TapetumError(f"{shown(folder)} holds no atlas (no {MANIFEST}); `tapetum atlas build` makes one")
    manifest = manifest_in(folder)
    schema = manifest.get("schema") if "stages" in manifest else None
    if schema != SCHEMA:
        raise TapetumError(
            f"{shown(folder)} holds no atlas of version {SCHEMA} (but {schema}): build it again with --no-resume"
        )
    return manifest


def _earlier(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a build before wrote, and a note; where it is damaged nothing, and all but the scan's shards is made again."""
    try:
        return (read_manifest(folder) if os.path.lexists(folder / MANIFEST) else {}), ()
    except DamagedError as error:
        return {}, (f"{error}: it was made again",)


def check_folder(folder: Path) -> None:
    """New, empty, or with an atlas, finished or not: nothing else is ever written over, and nothing outside of it."""
    named(folder)
    with writable(folder):
        if folder.exists() and not folder.is_dir():
            raise TapetumError(f"{shown(folder)} is a file; give a folder for the atlas")
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        strangers = [name for name in there if name not in OURS and not UNFINISHED.fullmatch(name)]
        strangers = strangers or [name for name in there if name in FOLDERS and not _is_begun(folder)]
        if strangers:
            raise TapetumError(f"{shown(folder)} holds other files ({shown(strangers[0])}); give a new or an empty folder")
        for name in there:
            _check_kind(folder / name, name)


def named(folder: Path) -> None:
    """Refuses a name that no folder can have."""
    try:
        with contextlib.suppress(OSError):
            os.lstat(folder)
    except ValueError as error:
        raise TapetumError(f"{shown(folder)} is no name that a folder can have; give another") from error


def _is_begun(folder: Path) -> bool:
    """Whether a build of ours was here: folders called pictures, maps or site are in many projects."""
    lock = folder / ".lock"
    if (lock.is_file() and not lock.stat().st_size) or (folder / "scan" / "plan.json").is_file():
        return True
    try:
        return "stages" in table_in(folder / MANIFEST)
    except DamagedError:
        return False


def _check_kind(path: Path, name: str) -> None:
    """Files where files should be, folders of their own where folders should be: a link would have others written over."""
    if name in FOLDERS and not (path.is_dir() and not path.is_symlink()):
        raise TapetumError(f"{shown(path)} is no folder of an atlas, but a file or a link; take it away, and the build goes on")
    if name in (MANIFEST, STORE, ".lock") and (path.is_symlink() or not path.is_file()):
        raise TapetumError(f"{shown(path)} is no file of an atlas, but a folder or a link; take it away, and the build goes on")
    if name in FOLDERS:
        for place, folders, _ in os.walk(path):
            if links := [one for one in folders if os.path.islink(os.path.join(place, one))]:
                raise TapetumError(f"{shown(os.path.join(place, links[0]))} is a link; an atlas has none: take it away")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuses a second build of the same folder at the same time; a killed one leaves nothing behind."""
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        yield
        return
    with writable(folder):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK  # nothing is emptied, no pipe is waited for
        handle = os.open(folder / ".lock", flags, 0o666)
    with os.fdopen(handle, "rb+", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TapetumError(f"another build is at work in {shown(folder)}; wait for it, or give another folder") from error
        yield


def key_of(**facts: Any) -> str:
    """A hash of what decides a stage's files."""
    return hashlib.sha256(json.dumps({"schema": SCHEMA, **facts}, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder that takes its name, in place of an earlier one, when the block has succeeded."""
    work = target.with_name(f".tapetum-{os.urandom(8).hex()}")
    with writable(target):
        work.mkdir(parents=True)
        try:
            yield work
            old = target.with_name(f".tapetum-{os.urandom(8).hex()}")
            if target.exists():
                os.replace(target, old)
            os.replace(work, target)
            remove(old)
        finally:
            remove(work)


def keyed_folder(folder: Path, key: str) -> Path:
    """A folder whose files belong to one key: those of another are removed before the first new one is written."""
    mark = folder / "key.json"
    with contextlib.suppress(DamagedError):
        if table_in(mark).get("key") == key:
            for path in folder.iterdir():
                if UNFINISHED.fullmatch(path.name):
                    remove(path)
            return folder
    with writable(folder):
        remove(folder)
        folder.mkdir(parents=True)
    written(mark, json.dumps({"key": key}).encode())
    return folder


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
