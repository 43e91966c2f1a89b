"""Makes the spectrum that maco ships with: `.venv/bin/python docs/builder/make_spectrum.py`, and prints its sha256.

The photographs are scikit-image's: chelsea.png (Stefan van der Walt, CC0), coffee.png (Rachel Michetti, CC0), astronaut.png
(NASA, public domain), rocket.jpg (SpaceX, public domain). Each is measured whole and in four corners of two thirds, at
256 x 256, and averaged over rings, each sqrt(2) times as far out as the one before: single frequencies and
directions of a few photographs are chance, while rings agree with other photographs.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tapetum.data.images import read_image
from tapetum.data.sources import PHOTOGRAPHS, packaged_photo
from tapetum.engines.render.parametrizations import natural

SIDE, RINGS, SHARE = 256, 16, 2 / 3  # rings up to SIDE cycles: 2 ** (RINGS / 2)
FILE = Path(natural.__file__).parent / natural.FILE


def main() -> None:
    """Measures, writes, and prints the checksum for natural.py."""
    np.savez(FILE, **measured())
    print(f"{FILE.name}: {FILE.stat().st_size} bytes, sha256 {hashlib.sha256(FILE.read_bytes()).hexdigest()}")


def measured() -> dict[str, NDArray[np.float32]]:
    """Cycles per picture (rings,), strength (3, rings), and that of the mean colour (3,)."""
    parts = [part for name in PHOTOGRAPHS for part in _parts(read_image(packaged_photo(name)))]
    magnitude = natural.spectrum_of(parts, (SIDE, SIDE)).magnitude
    k = natural.cycles((SIDE, SIDE)) * SIDE
    squares = k.square().round().long()  # whole numbers: many frequencies lie on an edge, and a root may be rounded off it
    rings = [(squares >= 2**i) & (squares < 2 ** (i + 1)) for i in range(RINGS)]
    strength = torch.stack([magnitude[:, ring].mean(1) for ring in rings], 1)
    cycles = torch.stack([k[ring].log().mean().exp() for ring in rings])
    table = {"cycles": cycles, "strength": strength, "mean": magnitude[:, 0, 0]}
    return {name: values.numpy().astype(np.float32) for name, values in table.items()}


def _parts(photo: Tensor) -> list[Tensor]:
    height, width = (round(SHARE * side) for side in photo.shape[-2:])
    corners = [photo[..., y, x] for y in (slice(height), slice(-height, None)) for x in (slice(width), slice(-width, None))]
    return [photo, *corners]


if __name__ == "__main__":
    main()
