"""Writes the picture files of a report, PNG with provenance inside, and makes safe file names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath

from tapetum.figures import picture
from tapetum.reports.provenance import of_file, write_picture
from tapetum.types.explanations import Explanation

NAME_LENGTH = 60  # in characters: at most 240 bytes, where file systems allow 255
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(1, 10))}

Names = tuple[tuple[str, ...], ...]
"""File names of one explanation, aligned with its questions and their maps."""


def pictures(folder: Path, explanations: Iterable[Explanation], stems: Iterable[str]) -> tuple[Names, ...]:
    """Saves every map over its photo as a PNG with its provenance; returns the file names relative to `folder`.

    The names are aligned with the explanations, their questions and their maps: `names[0][1][2]` is the first image's
    second question's third map. The pictures of each explanation lie in a subfolder named by its stem.
    """
    found: list[Names] = []
    for explanation, stem in zip(explanations, stems, strict=True):
        taken: set[str] = set()
        names: list[tuple[str, ...]] = []
        for question in explanation.questions:
            titles = [safe_name(f"{question.role}-{judged.attribution.method}") for judged in question.maps]
            names.append(tuple(f"{stem}/{unique(title, taken)}.png" for title in titles))
            for judged, name in zip(question.maps, names[-1], strict=True):
                (folder / stem).mkdir(parents=True, exist_ok=True)
                pixels = picture(judged.attribution, explanation.pixels[0])
                write_picture(folder / name, pixels, of_file(judged.provenance, explanation.file), row=0)
        found.append(tuple(names))
    return tuple(found)


def stems(files: Iterable[str]) -> list[str]:
    """Returns a name for each file, from its name without suffix: safe on every file system, and unique also without case."""
    taken = {"results"}  # the name of the folder of saved results
    return [unique(safe_name(PurePath(file.replace("\\", "/")).stem), taken) for file in files]


def safe_name(name: str) -> str:
    """Returns a name with only letters and digits of any alphabet, "_" and "-"; all other characters become "-"."""
    plain = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", name)).strip("-_")[:NAME_LENGTH].rstrip("-_")
    return f"{plain}-image" if plain.lower() in RESERVED else plain or "image"


def unique(name: str, taken: set[str]) -> str:
    """Returns the name, or the first of name-2, name-3, ... that is not in `taken`, and adds it there."""
    candidate, number = name, 2
    while candidate.casefold() in taken:
        candidate, number = f"{name}-{number}", number + 1
    taken.add(candidate.casefold())
    return candidate
