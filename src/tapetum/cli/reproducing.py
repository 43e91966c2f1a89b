"""`tapetum reproduce FILE`: makes a saved picture again from the provenance in it, and compares the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tapetum.cli.models import ModelChoice
from tapetum.cli.terminal import bar, one_line, say
from tapetum.reports.reproducing import reproduce, settings_of_picture


def reproduce_file(
    file: str, *, model: ModelChoice | None, out: Path | None, image: Sequence[str] | None, keywords: Mapping[str, Any]
) -> int:
    """Makes a picture again; returns the exit status: 0 for the same pixels, 1 for others."""
    with bar(Path(file).name) as watcher:
        network = None if model is None else model.load(settings_of_picture(file, model.settings))
        again = reproduce(file, out, model=network, images=image or None, progress=watcher, **keywords)
    say(f"{one_line(file)}: {again.words}")
    return 0 if again.same else 1
