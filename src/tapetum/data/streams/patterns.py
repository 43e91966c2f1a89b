"""Expands patterns of paths as a shell does: brace ranges (x-{000..009}.tar, {train,val}), and * ? []."""

from __future__ import annotations

import glob
import os
import re

from tapetum.files import shown
from tapetum.types import ImageError

MOST = 100_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def is_pattern(text: str) -> bool:
    """Returns whether a text is a pattern; a text that is the name of an existing file or folder is not."""
    return not os.path.exists(text) and (_BRACES.search(text) is not None or glob.has_magic(text))


def paths_of(pattern: str) -> list[str]:
    """Expands a pattern to paths, each once, in a shell's order; paths from braces alone need not exist.

    Numbers of a range keep the leading zeros of its first end. `**` means any folders. Refuses * ? [] without a match.
    """
    found: dict[str, None] = {}
    for one in _expanded(pattern):
        matches = sorted(glob.glob(one, recursive=True)) if glob.has_magic(one) and not os.path.exists(one) else [one]
        if not matches:
            raise ImageError(f"{shown(one)}: no file is called like that; looked in {shown(os.path.abspath(os.curdir))}")
        found.update(dict.fromkeys(matches))
    return list(found)


def _expanded(pattern: str) -> list[str]:
    """Expands the braces of a pattern from left to right, in a shell's order."""
    done, todo = [], [pattern]
    while todo:
        text = todo.pop()
        found = _BRACES.search(text)
        if found is None:
            done.append(text)
        else:
            options = _options(found[1], pattern)
            todo += [text[: found.start()] + one + text[found.end() :] for one in reversed(options)]
        if len(done) + len(todo) > MOST:
            raise ImageError(f"{shown(pattern)}: means more than {MOST} files; give a folder, or a part at a time")
    return done


def _options(inside: str, pattern: str) -> list[str]:
    """Expands the inside of a brace: 000..009 to 000, 001, ...; a,b to a, b."""
    ends = _RANGE.fullmatch(inside)
    if ends is None:
        return inside.split(",")
    first, last = int(ends[1]), int(ends[2])
    if abs(last - first) >= MOST:
        raise ImageError(f"{shown(pattern)}: means more than {MOST} files; give a folder, or a part at a time")
    step = 1 if last >= first else -1
    return [str(number).zfill(len(ends[1])) for number in range(first, last + step, step)]
