"""Reads the named tensors of a safetensors file, and the texts beside them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def tensors_in(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Returns ({key: text}, {name: tensor}), names in their order; the tensors' bytes are read from the file when first used.

    Raises whatever safetensors makes of damaged bytes.
    """
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {}), {name: file.get_tensor(name) for name in sorted(file.keys())}
