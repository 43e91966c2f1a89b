"""Commands in processes of their own that can be killed, and what lies in a folder, but for its times."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import safe_open

import tapetum as tp
from tapetum.files import arrays_in, parsed, table_in

TIMES = {"seconds", "started", "sha256", "resumed", "images_per_s", "made", "was_there", "seal"}
"""What differs between two runs: when they were, how long they took, how often they were stopped, and checksums of that."""

SPENT = re.compile(r'(data-value="[\d.e-]+">|<dd>)(&lt; )?[\d.]+ m?s<')
"""What a report's page says of seconds."""


def command(place: str, words: Sequence[str], most: int = 0) -> None:
    """A command line in a folder; `most`: files can have no more bytes, as on a disk that is full."""
    import torch

    from tapetum.cli import main

    os.chdir(place)
    torch.set_num_threads(1)
    for number, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    if most:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    sys.argv = ["tapetum", *words]
    main()


def ended(
    context: ForkServerContext, place: Path, words: Sequence[str], after_s: float = math.inf, **more: Any
) -> tuple[int, float]:
    """Runs a command, and kills it so many seconds after its begin; its exit status, and the seconds it took."""
    by = more.pop("by", signal.SIGKILL)
    process = context.Process(target=command, args=(str(place), list(words)), kwargs=more)
    process.start()
    begun = time.monotonic()
    process.join(min(after_s, 120))
    if process.is_alive():
        os.kill(process.pid or 0, by)
        process.join(60)
    return process.exitcode if process.exitcode is not None else 999, time.monotonic() - begun


def whole(folder: Path) -> dict[str, Any]:
    """{file: what it holds, but for times} of all files under a final name; each must open, and be all there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_hidden(path.relative_to(folder)))
    return {path.relative_to(folder).as_posix(): READERS[path.suffix](path) for path in files}


def strays(folder: Path) -> list[str]:
    """What lies under a hidden name."""
    return [path.name for path in folder.rglob(".*") if path.name != ".lock"]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(part) for key, part in value.items() if key not in TIMES}
    if isinstance(value, list):
        return [_timeless(part) for part in value]
    return str(value) if isinstance(value, float) else value  # NaN is NaN


def _picture(path: Path) -> Any:
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
        text = getattr(picture, "text", {}).get("tapetum")
    return pixels.shape, pixels.tobytes(), _timeless(json.loads(text)) if text else None


def _arrays(path: Path) -> Any:
    arrays = arrays_in(path)
    about = _timeless(json.loads(arrays.pop("about").tobytes())) if "about" in arrays else None
    return about, {name: array.tobytes() for name, array in arrays.items()}


def _table(path: Path) -> Any:
    """A saved result opens, which compares its checksums."""
    if path.name == "manifest.json" and (path.parent / "arrays.npz").exists():
        tp.open(path.parent)
    return _timeless(table_in(path))


def _tensors(path: Path) -> Any:
    with safe_open(path, framework="np") as file:
        about = {key: json.loads(text) if text[:1] in "{[" else text for key, text in file.metadata().items()}
        return _timeless(about), {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118 (no mapping)


def _page(path: Path) -> str:
    text = path.read_text("utf-8")
    assert text.rstrip().endswith("</html>")
    return SPENT.sub("", text)


def _script(path: Path) -> Any:
    """A call with JSON in it, or code."""
    text = path.read_text("utf-8")
    found = re.fullmatch(r"atlas\((.*)\);\n", text, re.DOTALL)
    return _timeless(parsed(f"[{found[1]}]", path.name)) if found else text


def _database(path: Path) -> list[str]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
        assert store.execute("pragma integrity_check").fetchone() == ("ok",)
        return list(store.iterdump())


def _lines(path: Path) -> int:
    """Each line is appended at once; the last may have been cut off."""
    *lines, _ = path.read_text().split("\n")
    for line in lines:
        json.loads(line)
    return 0


READERS: dict[str, Any] = {
    **dict.fromkeys((".png", ".webp", ".jpg"), _picture),
    **dict.fromkeys((".npz",), _arrays),
    **dict.fromkeys((".css", ".svg", ".ico", ".npy", ".bin", ".f16", ".parquet", ""), Path.read_bytes),
    ".json": _table,
    ".jsonl": _lines,
    ".safetensors": _tensors,
    ".html": _page,
    ".js": _script,
    ".sqlite": _database,
}
