"""Provenance inside a PNG file: JSON in a text chunk, with checksums that reveal changes of pixels or provenance.

{...the fields of `Provenance`, "row": 0, "pixels_sha256": ..., "sha256": of all the rest}
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tapetum.border.running import network_and_versions
from tapetum.data.images import to_uint8, write_png
from tapetum.data.pillow import check_size, strict_pillow
from tapetum.files import opened, parsed, shown
from tapetum.keeping.provenance import hashed_files, machine
from tapetum.models.vision_model import VisionModel
from tapetum.types import Provenance, TapetumError

PROVENANCE_KEY = "tapetum"
"""The keyword of the PNG text chunk that holds the provenance as JSON."""

MAX_BYTES, MAX_PIXELS = 200_000_000, 32_000_000
"""Limits of size for a PNG that is read, since three copies of its pixels are in memory for a moment."""


def of_model(model: VisionModel) -> dict[str, Any]:
    """Returns the provenance fields that describe the model, the software versions and the machine."""
    return {**network_and_versions(model), "device": str(model.device), "machine": machine()}


def of_file(provenance: Provenance, file: str) -> Provenance:
    """Returns the provenance of a run on an image tensor, completed with the file that the image was read from."""
    lost = tuple(name for name in provenance.lost if name != "images")
    return replace(provenance, subject=(file,), files={**hashed_files([file]), **provenance.files}, lost=lost)


def write_picture(path: Path, pixels: Tensor, provenance: Provenance, **more: Any) -> None:
    """Writes pixels (3 | 4, h, w) as a PNG with its provenance inside; a failure leaves no partial file."""
    _write(path, pixels, {**asdict(provenance), **more})


def write_figure(path: Path, figure: Any, content: Mapping[str, Any]) -> None:
    """Writes a figure as a PNG with a description of its content inside; a failure leaves no partial file."""
    from tapetum.figures.page import figure_png

    with Image.open(io.BytesIO(figure_png(figure))) as drawn:
        levels = np.array(drawn.convert("RGB"))
    _write(path, torch.from_numpy(levels).permute(2, 0, 1) / 255, content)


def _write(path: Path, pixels: Tensor, content: Mapping[str, Any]) -> None:
    text = with_checksum({**content, "pixels_sha256": pixels_sha256(pixels)})
    write_png(path, pixels, {PROVENANCE_KEY: text})


def with_checksum(content: Mapping[str, Any]) -> str:
    """Returns the fields as JSON, with their checksum as a further field; values of other types become text."""
    plain = json.loads(json.dumps(content, default=_plain))
    return json.dumps({**plain, "sha256": content_sha256(plain)})


def content_sha256(content: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the fields, whatever their order, without the checksum field."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def pixels_sha256(pixels: Tensor | np.ndarray) -> str:
    """Returns the SHA-256 of the 8-bit pixels (h, w, 3 | 4) as a PNG stores them."""
    levels = to_uint8(pixels) if isinstance(pixels, Tensor) else pixels
    return hashlib.sha256(f"{levels.shape} ".encode() + levels.tobytes()).hexdigest()


def carried(file: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Returns the provenance inside a PNG; None for any other file, or if pixels or provenance were changed."""
    try:
        return read_picture(file)[0]
    except TapetumError:
        return None


def read_picture(file: str | os.PathLike[str]) -> tuple[dict[str, Any], np.ndarray]:
    """Returns the provenance inside a PNG and its pixels (h, w, 3 | 4) uint8; refuses a file where either was changed."""
    name = shown(file)
    text, levels = _opened(file)
    if text is None:
        raise TapetumError(f"{name} carries no provenance: only PNG files that tapetum wrote do, and other programs drop it")
    content = parsed(text, f"{name}: its provenance", TapetumError)
    if not isinstance(content, dict) or "sha256" not in content:
        raise TapetumError(f"{name}: its provenance has no checksum, an earlier version wrote it; make the picture again")
    if content["sha256"] != content_sha256(content):
        raise TapetumError(f"{name}: its provenance was changed after it was written (the checksum differs)")
    if "pixels_sha256" in content and content["pixels_sha256"] != pixels_sha256(levels):
        raise TapetumError(f"{name}: its pixels were changed after it was written (the checksum differs)")
    return content, levels


def _opened(file: str | os.PathLike[str]) -> tuple[str | None, np.ndarray]:
    with opened(file, TapetumError, "a PNG file") as content, strict_pillow():
        if os.fstat(content.fileno()).st_size > MAX_BYTES:
            raise TapetumError(f"{shown(file)} is larger than {MAX_BYTES // 1_000_000} MB")
        try:
            with Image.open(content, formats=["PNG"]) as picture:
                check_size(*picture.size, shown(file), MAX_PIXELS)
                levels = np.asarray(picture)
                return getattr(picture, "text", {}).get(PROVENANCE_KEY), levels
        except TapetumError:
            raise
        except Exception as error:  # any error of Pillow, for files that are not PNGs or incomplete
            raise TapetumError(f"{shown(file)} is no PNG file that can be read ({type(error).__name__})") from error


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else dict(value) if hasattr(value, "keys") else str(value)
