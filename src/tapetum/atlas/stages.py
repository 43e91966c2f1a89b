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
from tapetum.engines.scan.ledger import written
from tapetum.types import TapetumError

SCHEMA = 1
MANIFEST = "manifest.json"
STORE = "atlas.sqlite"
OURS = {MANIFEST, STORE, "scan", "embeddings", "pictures", "units", "maps", "site", ".lock"}
UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.part|\.tapetum-[0-9a-f]{16}")
"""What a build that was killed may leave behind."""


class Stages:
    """The manifest of an atlas's folder while it is built: a stage with the same key is not done again."""

    def __init__(self, folder: Path, *, resume: bool = True) -> None:
        self.folder = folder
        check_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if UNFINISHED.fullmatch(path.name):
                remove(path)
        earlier = read_manifest(folder) if resume and (folder / MANIFEST).is_file() else {}
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

    def tell(self, **about: Any) -> None:
        """What the manifest says besides."""
        self.about |= about

    def save(self) -> None:
        text = json.dumps({"schema": SCHEMA, **self.about, "stages": self.done}, indent=1, default=str)
        written(self.folder / MANIFEST, text.encode())


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """What a folder's atlas is; refused where there is none, or one of another version."""
    try:
        manifest = json.loads((Path(folder) / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TapetumError(f"{folder} holds no atlas ({type(error).__name__}); `tapetum atlas build` makes one") from error
    schema = manifest.get("schema") if isinstance(manifest, dict) and "stages" in manifest else None
    if schema != SCHEMA:
        raise TapetumError(f"{folder} holds no atlas of version {SCHEMA} (but {schema}): build it again with --no-resume")
    return manifest


def check_folder(folder: Path) -> None:
    """New, empty, or with an atlas, finished or not: nothing else is ever written over."""
    if folder.exists() and not folder.is_dir():
        raise TapetumError(f"{folder} is a file; give a folder for the atlas")
    strangers = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    for name in sorted(strangers):
        if name not in OURS and not UNFINISHED.fullmatch(name):
            raise TapetumError(f"{folder} holds other files ({name}); give a new or an empty folder")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Refuses a second build of the same folder at the same time; a killed one leaves nothing behind."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks on Windows
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise TapetumError(f"another build is at work in {folder}; wait for it, or give another folder") from error
        yield


def key_of(**facts: Any) -> str:
    """A hash of what decides a stage's files."""
    return hashlib.sha256(json.dumps({"schema": SCHEMA, **facts}, sort_keys=True, default=str).encode()).hexdigest()


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder that takes its name, in place of an earlier one, when the block has succeeded."""
    work = target.with_name(f".tapetum-{os.urandom(8).hex()}")
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
    with contextlib.suppress(OSError, ValueError):
        if json.loads(mark.read_text())["key"] == key:
            for path in folder.iterdir():
                if UNFINISHED.fullmatch(path.name):
                    remove(path)
            return folder
    remove(folder)
    folder.mkdir(parents=True)
    written(mark, json.dumps({"key": key}).encode())
    return folder


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
