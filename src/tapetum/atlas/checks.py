"""Compares the pictures of an atlas's units with the photographs that drive the units most: do both use the same channels?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tapetum import progress
from tapetum.atlas.claims import is_checks
from tapetum.atlas.painting import Painted
from tapetum.data.streams import Source
from tapetum.families.checking import Photographs, checked, reader
from tapetum.files import shown, table_in
from tapetum.keeping.keyed import Kept
from tapetum.models.vision_model import VisionModel
from tapetum.types import Cancelled, DamagedError, PathCheck, TapetumError, UnwritableError

AT_ONCE = 16
"""Number of pictures whose checks are saved together."""

Checks = Mapping[str, Any]
"""{"said": the whole in a sentence, "units": [[channel, sentence, whether its picture is flagged], ...]}."""


def known_photographs(model: VisionModel, source: Source, layer: str, folder: Path, file: str) -> Photographs:
    """Returns the photographs of a data set as a scan has seen them, by its scores in FOLDER/FILE.npy (n, channels)."""
    try:
        table, samples = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in (file, "samples"))
    except (OSError, ValueError, EOFError) as error:
        raise DamagedError(f"{shown(folder)} is damaged: build the atlas again with --no-resume") from error
    return Photographs({layer: torch.from_numpy(table.astype(np.float32))}, reader(model, source, samples.tolist()))


def check_units(
    model: VisionModel, layer: str, channels: Sequence[int], painted: Painted, photographs: Photographs, kept: Kept
) -> Checks:
    """Compares pictures (n, h, w, 3) of a layer's units with photographs and keeps finished parts; says why if it cannot."""
    rows = [row for row, status in enumerate(painted.status) if status == "ok"]
    try:
        with progress.stage(f"checking {layer}"):
            found = _found(model, layer, channels, painted, photographs, kept, rows)
    except (Cancelled, UnwritableError):
        raise
    except TapetumError as error:
        return {"said": f"The pictures of its units are not compared with photographs: {error}", "units": []}
    flagged = sum(flag for _, _, flag in found)
    return {"said": said(flagged, len(found)), "units": found}


def said(flagged: int, total: int) -> str:
    """Returns the sentence on a layer's pictures."""
    whole = f"{total} optimised pictures drive their units through"
    if not flagged:
        return f"All {whole} the same channels as photographs do, as far as the check can tell."
    return f"{flagged} of {whole} other channels than photographs do (\u26a0): do not read them as what the units look for."


def _found(
    model: VisionModel,
    layer: str,
    channels: Sequence[int],
    painted: Painted,
    photographs: Photographs,
    kept: Kept,
    rows: Sequence[int],
) -> list[list[Any]]:
    found: list[list[Any]] = []
    for start in range(0, len(rows), AT_ONCE):
        progress.report(start, len(rows), "pictures")
        some = rows[start : start + AT_ONCE]
        name, mine = f"checks-{start:06d}.json", [channels[row] for row in some]
        earlier = kept.read(name, partial(_read, channels=mine))
        if earlier is None:
            pixels = torch.from_numpy(painted.pixels[some]).movedim(-1, 1).float() / 255
            made = checked(model, layer, mine, model.preprocessing.normalize(pixels), photographs)
            earlier = [_row(channel, one) for channel, one in zip(mine, made, strict=True)]
            kept.write(name, json.dumps({"said": "", "units": earlier}).encode())
        found += earlier
    progress.report(len(rows), len(rows), "pictures")
    return found


def _row(channel: int, check: PathCheck) -> list[Any]:
    return [channel, f"{check.said}.", check.flagged]


def _read(file: Path, channels: Sequence[int]) -> list[list[Any]]:
    """Reads the checks of some channels; a `DamagedError` if they are not those."""
    table = table_in(file)
    if not is_checks(table) or [row[0] for row in table["units"]] != list(channels):
        raise DamagedError(f"{file.name} holds other checks")
    return table["units"]


def by_unit(checks: Checks | None) -> dict[int, list[Any]]:
    """Returns {channel: [sentence, whether its picture is flagged]}."""
    return {channel: rest for channel, *rest in (checks or {"units": []})["units"]}
