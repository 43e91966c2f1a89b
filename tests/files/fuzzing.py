"""Runs readers over many changed files, each in a process that watches itself: `fuzzing.py SEED FOLDER READER:COUNT ...`.

Each case is a fresh copy of the reader's files with one change. Python's own audit events say what is opened, written,
imported, started and connected to; the kernel says how much memory the case took. On standard output a line of JSON when a
case begins, and one when it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mutating import BAIT, mutated
from readers import FOLLOWED, READERS, REFUSED, REMADE, SEEDS, check_words

from tapetum.types import TapetumError

SECONDS, BYTES = 20, 2_000_000_000

CODE = f"""
from pathlib import Path
Path({{mark!r}}).touch()

def build():
    raise SystemExit("{BAIT}")
"""


BAITED = {"atlas": ("atlas",), "models": ("simple_cnn", "test_resnet")}
"""Folders of a reader's files in which code lies, too; elsewhere it would be refused as a stranger before anything is read."""

STARTS = (
    "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pickle.find_class",
)  # fmt: skip
"""Audit events of programs, code and connections that are begun."""


class Watch:
    """What the process does while a case runs that reading a file never needs."""

    def __init__(self, root: Path, follows: bool, serves: bool) -> None:
        self.serves = serves
        self.root = str(root)
        self.case = ""
        self.seen: list[str] = []
        sources = Path(__file__).resolve().parents[2]
        self.known = tuple(
            os.path.realpath(place)
            for place in (
                sys.prefix,
                sys.base_prefix,
                sources,
                "/usr",
                "/lib",
                "/etc",
                "/proc",
                "/sys",
                "/dev/null",
                "/dev/urandom",
            )
        )
        self.known += (f"{root}/outside/secret.txt",) if follows else ()
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.case:
            return
        if event == "open":
            self._opened(*arguments)
        elif event in ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod"):
            for path in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
                self._changed(event, path)
        elif event in STARTS and not (event == "socket.connect" and arguments[1][0] == "127.0.0.1" and self.serves):
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "import" and BAIT in str(arguments[0]):
            self.seen.append(f"import {arguments[0]}")
        elif event == "exec" and BAIT in getattr(arguments[0], "co_filename", ""):
            self.seen.append(f"exec {arguments[0]}")

    def _opened(self, path: Any, mode: Any, flags: int) -> None:
        if isinstance(path, int):
            return
        if (mode is not None and set(mode) & set("wax+")) or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._changed("write", path)
        real = os.path.realpath(os.fspath(path))
        if not real.startswith((self.case, f"{self.root}/given", f"{self.root}/temporary", *self.known)):
            self.seen.append(f"open {real!r:.200}")

    def _changed(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        named = os.path.abspath(os.fspath(path))
        real = os.path.realpath(os.path.dirname(named))
        if named != self.case and not real.startswith((self.case, f"{self.root}/given/hf", f"{self.root}/temporary", "/dev")):
            self.seen.append(f"{event} {path!r:.200}")


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """A `TimeoutError` after so many seconds."""

    def late(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _peak(reset: bool = False) -> int:
    """Bytes: the most memory that the process held since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _prepared(reader: str, root: Path) -> tuple[Path, Path]:
    """The reader's own files, and what lies outside of every case: a secret, and code that must not run."""
    seed, outside = root / "seed", root / "outside"
    for place in (seed, outside, root / "given"):
        place.mkdir(parents=True, exist_ok=True)
    (outside / "secret.txt").write_text("a secret")
    (outside / f"{BAIT}.py").write_text(CODE.format(mark=str(outside / "ran")))
    SEEDS[reader](seed)
    (root / "temporary").mkdir()
    tempfile.tempdir = str(root / "temporary")
    return seed, outside


def _baited(case: Path, outside: Path, beside: Sequence[str]) -> None:
    """Code and a model's folder that names it, where a name in a file may lead to: here, in a folder, and in the file's own."""
    code = CODE.format(mark=str(outside / "ran"))
    (case / BAIT).mkdir()
    about = {"schema": 2, "sha256": "", "name": BAIT, "classes": ["a"], "preprocessing": {}}
    architecture = {"kind": "named", "source": f"{BAIT}.py:build", "head": None, "settings": {}}
    (case / BAIT / "model.json").write_text(json.dumps({**about, "architecture": architecture}))
    for folder in (case, case / BAIT, *(case / name for name in beside)):
        if folder.is_dir():
            (folder / f"{BAIT}.py").write_text(code)


def run(reader: str, seed: int, count: int, root: Path) -> None:
    """All cases of one reader, in this process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    source, outside = _prepared(reader, root)
    case = root / "case"
    shutil.copytree(source, case, symlinks=True)
    os.chdir(case)
    expected = READERS[reader](case)  # what is made once in a process, is made now
    os.chdir(root)
    assert not REFUSED, f"of unchanged files: {REFUSED}"
    watch = Watch(root, reader in FOLLOWED, reader == "requests")
    for number in range(count):
        chance = random.Random(f"{reader} {seed} {number}")
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(source, case, symlinks=True)
        change = mutated(case, chance, outside)
        _baited(case, outside, BAITED.get(reader, ()))
        print(json.dumps({"reader": reader, "begun": number, "what": change.what}), flush=True)
        found = _case(reader, case, watch, expected if change.blind and reader in REMADE else None)
        print(json.dumps({"reader": reader, "ended": number, **found}), flush=True)


def _case(reader: str, case: Path, watch: Watch, expected: Any) -> dict[str, Any]:
    outside = case.parent / "outside"
    os.chdir(case)
    fault, watch.seen = "", []
    _peak(reset=True)
    before, begun = _peak(), time.perf_counter()
    watch.case = str(case)
    try:
        with at_most(SECONDS):
            found = READERS[reader](case)
        if expected is not None and found != expected:
            fault = f"another result: {found!r:.300}, not {expected!r:.300}"
    except TapetumError as error:
        try:
            check_words(str(error))
        except AssertionError as wrong:
            fault = str(wrong)
    except BaseException as error:
        fault = "".join(traceback.format_exception(error))[-2500:]
    finally:
        watch.case = ""
        os.chdir(case.parent)
    seconds, most = time.perf_counter() - begun, _peak()
    faults = [fault, *sorted(set(watch.seen))]
    faults += [f"{outside / 'ran'} was touched: code ran"] if (outside / "ran").exists() else []
    faults += [f"outside of the folder: {sorted(os.listdir(outside))}"] if len(os.listdir(outside)) > 2 else []
    faults += [f"{most / 1e9:.2f} GB, {before / 1e9:.2f} before"] if most > BYTES else []
    faults += [f"{seconds:.1f} s"] if seconds > SECONDS else []
    (outside / "ran").unlink(missing_ok=True)
    return {"seconds": round(seconds, 3), "bytes": most, "faults": [one for one in faults if one]}


def each(jobs: Sequence[str], seed: int, root: Path) -> None:
    """A process for each reader, forked from this one, which has imported everything."""
    for job in jobs:
        reader, _, count = job.partition(":")
        child = os.fork()
        if not child:
            status = 1
            try:
                run(reader, seed, int(count), root / reader)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        print(json.dumps({"reader": reader, "status": os.waitstatus_to_exitcode(ended)}), flush=True)


if __name__ == "__main__":
    each(sys.argv[3:], int(sys.argv[1]), Path(sys.argv[2]).resolve())
