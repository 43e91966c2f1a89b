"""Properties of picture files: size, proportions, and how strongly they are compressed."""

from __future__ import annotations

import io
from collections.abc import Mapping

import torch
from torch import Tensor

from tapetum.data.pillow import opened_picture
from tapetum.data.streams import Source

FILE_PROPERTIES: Mapping[str, str] = {
    "width": "px of the file",
    "height": "px of the file",
    "proportions": "width by height of the file",
    "bytes per pixel": "size of the file by its pixels",
    "JPEG quantisation": "mean of the table of luminance, 0 for other formats: larger is coarser",
}
"""{name: unit}"""


def file_properties(source: Source, samples: Tensor) -> Tensor:
    """Properties (n, 5) of the chosen pictures' files, in the order of `FILE_PROPERTIES`; (n, 0) where there are no files."""
    content = getattr(source, "content", None)
    if content is None:
        return torch.zeros(len(samples), 0, dtype=torch.float64)
    return torch.tensor([_one(content(sample)) for sample in samples.tolist()], dtype=torch.float64)


def _one(encoded: bytes) -> tuple[float, ...]:
    with opened_picture(io.BytesIO(encoded), "a picture that was read before") as image:
        width, height = image.size
        tables: dict[int, list[int]] = getattr(image, "quantization", None) or {}
    coarse = sum(tables[0]) / len(tables[0]) if 0 in tables else 0.0
    return float(width), float(height), width / height, len(encoded) / (width * height), coarse
