"""Keeps an atlas's folder during its build: records finished stages and their keys, and refuses folders with other files.

manifest.json   schema, description and provenance of the atlas, and the keys of finished stages
scan/           the scan's shards            embeddings/   all scores, float16
atlas.sqlite    units, examples, pictures    pictures/     the crops that the model saw, in sheets
units/, maps/   rendered pictures            site/         the static pages
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tapetum import progress
from tapetum.atlas.claims import MANIFEST, SCHEMA, manifest_in
from tapetum.files import shown, table_in
from tapetum.keeping.keyed import Key
from tapetum.keeping.locks import LOCK
from tapetum.keeping.places import writable
from tapetum.keeping.whole import LEFTOVER, clear_leftovers, write_whole
from tapetum.types import DamagedError, TapetumError

STORE = "atlas.sqlite"
FOLDERS = {"scan", "embeddings", "pictures", "units", "maps", "site"}
OURS = {MANIFEST, STORE, LOCK, *FOLDERS}


class BuildStages:
    """Manifest of an atlas during its build: a finished stage with an unchanged key is not repeated."""

    def __init__(self, folder: Path, *, resume: bool = True) -> None:
        self.folder = folder
        check_folder(folder)
        with writable(folder):
            folder.mkdir(parents=True, exist_ok=True)
            clear_leftovers(folder)
        earlier, self.notes = _earlier(folder) if resume else ({}, ())
        self.about: dict[str, Any] = {key: value for key, value in earlier.items() if key not in ("schema", "stages")}
        self.done: dict[str, dict[str, Any]] = dict(earlier.get("stages", {}))

    def is_done(self, name: str, key: Key) -> bool:
        """Checks whether a stage was finished with this key."""
        return self.done.get(name, {}).get("key") == key.hash

    @contextmanager
    def stage(self, name: str, key: Key) -> Iterator[None]:
        """Runs a stage: marks it as not done, and as done with this key when the block succeeds."""
        if self.done.pop(name, None) is not None:
            self.save()
        begun = time.perf_counter()
        with progress.stage(name):
            yield
        self.done[name] = {"key": key.hash, "seconds": round(time.perf_counter() - begun, 1)}
        self.save()

    def forget(self, *names: str) -> None:
        """Marks stages as not done."""
        for name in names:
            self.done.pop(name, None)
        self.save()

    def tell(self, **about: Any) -> None:
        """Adds facts to the manifest in memory; `save` writes it."""
        self.about |= about

    def save(self) -> None:
        text = json.dumps({"schema": SCHEMA, **self.about, "stages": self.done}, indent=1, default=str)
        write_whole(self.folder / MANIFEST, text.encode())


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """Returns the manifest of an atlas; refuses a folder without one, and a manifest that is damaged or of another version."""
    if not os.path.lexists(Path(folder) / MANIFEST):
        raise TapetumError(f"{shown(folder)} holds no atlas (no {MANIFEST}); `tapetum atlas build` makes one")
    manifest = manifest_in(folder)
    schema = manifest.get("schema") if "stages" in manifest else None
    if schema != SCHEMA:
        raise TapetumError(f"{shown(folder)} holds no atlas of version {SCHEMA} (but {schema}): build again with --no-resume")
    return manifest


def _earlier(folder: Path) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns the manifest of an earlier build, and notes; a damaged manifest is made again, which is noted."""
    try:
        return (read_manifest(folder) if os.path.lexists(folder / MANIFEST) else {}), ()
    except DamagedError as error:
        return {}, (f"{error}: it was made again",)


def check_folder(folder: Path) -> None:
    """Refuses a folder that is neither new, empty nor an atlas, so that no other files are overwritten."""
    check_name(folder)
    with writable(folder):
        if folder.exists() and not folder.is_dir():
            raise TapetumError(f"{shown(folder)} is a file; give a folder for the atlas")
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        strangers = [name for name in there if name not in OURS and not LEFTOVER.fullmatch(name)]
        strangers = strangers or [name for name in there if name in FOLDERS and not _is_begun(folder)]
        if strangers:
            raise TapetumError(f"{shown(folder)} holds other files ({shown(strangers[0])}); give a new or an empty folder")
        for name in there:
            _check_kind(folder / name, name)


def check_name(folder: Path) -> None:
    """Refuses a path that no folder can have on this system."""
    try:
        with contextlib.suppress(OSError):
            os.lstat(folder)
    except ValueError as error:
        raise TapetumError(f"{shown(folder)} is no name that a folder can have; give another") from error


def _is_begun(folder: Path) -> bool:
    """Checks whether an earlier build began in a folder; a subfolder named `site`, say, does not prove that."""
    lock = folder / LOCK
    if (lock.is_file() and not lock.stat().st_size) or (folder / "scan" / "plan.json").is_file():
        return True
    if not any(path.is_file() for name in FOLDERS for path in (folder / name).rglob("*")):
        return True  # a build that could not write its first file
    try:
        return "stages" in table_in(folder / MANIFEST)
    except DamagedError:
        return False


def _check_kind(path: Path, name: str) -> None:
    """Refuses links, files in place of folders and the reverse: writing through a link would overwrite other files."""
    if name not in OURS:
        return
    kind, other, fits = ("folder", "file", path.is_dir()) if name in FOLDERS else ("file", "folder", path.is_file())
    if path.is_symlink() or not fits:
        words = f"is no {kind} of an atlas, but a {other} or a link; take it away, and the build goes on"
        raise TapetumError(f"{shown(path)} {words}")
    if kind == "folder":
        for place, folders, _ in os.walk(path):
            if links := [one for one in folders if os.path.islink(os.path.join(place, one))]:
                raise TapetumError(f"{shown(os.path.join(place, links[0]))} is a link; an atlas has none: take it away")
