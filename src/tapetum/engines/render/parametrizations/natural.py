"""Magnitude spectra of natural images: measured on the user's images, or the one that is shipped."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tapetum.data.images import read_image
from tapetum.data.sources import find_images
from tapetum.engines.render.parametrizations.colors import from_colors
from tapetum.engines.render.parametrizations.images import covering, cycles
from tapetum.progress import track
from tapetum.types import MethodError

FILE = "natural_spectrum.npz"
SHA256 = "2575bbee2298d82ae0f6e038badf9e3b95015b21567fad0fedba314fa95bbaed"


@dataclass(frozen=True, eq=False)
class FourierSpectrum:
    """Mean magnitude of each frequency in a set of pictures: |rfft2| (norm "ortho") of M^-1 logit(p), M the colour matrix.

    magnitude   (3, h, w // 2 + 1), float64
    size        (h, w) of the measured pictures
    """

    magnitude: Tensor
    size: tuple[int, int]

    def __call__(self, size: tuple[int, int]) -> Tensor:
        """Returns magnitudes (3, h, w // 2 + 1) for pictures of another size that show the same scene.

        Magnitudes are equal at equal cycles per picture (per square of the same area), times the ratio of sides because of the
        norm; their logarithms are interpolated. Beyond the measured frequencies, they fall as 1/f.
        """
        if tuple(size) == self.size:
            return self.magnitude
        larger = math.sqrt(math.prod(size) / math.prod(self.size))
        down = torch.fft.fftfreq(size[0], dtype=torch.float64)[:, None] * larger * self.size[0]
        across = torch.fft.rfftfreq(size[1], dtype=torch.float64)[None] * larger * self.size[1]
        last = (self.size[0] - 1) // 2, max(1, self.size[1] // 2)  # highest measured frequencies, in cycles per picture
        beyond = torch.maximum(down.abs() / max(1, last[0]), across / last[1]).clamp(min=1)
        found = self._between(down / beyond, across / beyond) / beyond
        found[:, 0, 0] = self.magnitude[:, 0, 0]
        return larger * found

    def _between(self, down: Tensor, across: Tensor) -> Tensor:
        """Interpolates the logarithms of magnitudes bilinearly, at vertical and horizontal frequencies in
        cycles per picture.
        """
        strength = self.magnitude.clone()
        strength[:, 0, 0] = strength[:, [0, 1, -1], [1, 0, 0]].mean(1)  # the mean colour is replaced by the mean of neighbours
        rows = strength.clamp(min=1e-12).log().roll(self.size[0] // 2, 1)
        x = 2 * across / (rows.shape[2] - 1) - 1
        y = 2 * (down + self.size[0] // 2) / (rows.shape[1] - 1) - 1
        grid = torch.stack([x.expand_as(y), y], -1)[None]
        return torch.nn.functional.grid_sample(rows[None], grid, padding_mode="border", align_corners=True)[0].exp()


def spectrum_of(images: Any, size: tuple[int, int] = (256, 256)) -> FourierSpectrum:
    """Measures the mean magnitude spectrum of pictures: a folder, files, or anything that `read_image` takes, also in a list.

    S = mean_i |rfft2(periodic(M^-1 logit(p_i)))|, norm "ortho", M the colour matrix. Each picture p_i is cropped around the
    middle to the proportions of `size` and resized. A Fourier transform treats pictures as periodic, so jumps between opposite
    edges would add a cross of strong frequencies; therefore only the periodic part is measured (moisan2011periodic; fel2023maco
    does not tell).
    """
    sources = _sources(images)
    total = torch.zeros(3, size[0], size[1] // 2 + 1, dtype=torch.float64)
    for source in track(sources, len(sources), "images"):
        free = from_colors(covering(read_image(source).detach().cpu().double(), size))
        total += torch.fft.rfft2(periodic(free), norm="ortho").abs()[0]
    return FourierSpectrum(total / len(sources), (size[0], size[1]))


def _sources(images: Any) -> Sequence[Any]:
    if isinstance(images, Tensor):
        return list(images[:, None]) if images.ndim == 4 else [images]
    if isinstance(images, str | os.PathLike):
        return find_images([os.fspath(images)])
    found = list(images) if isinstance(images, Sequence) else [images]
    if not found:
        raise MethodError("no images to measure a spectrum of; give a folder, files, or tensors (n, 3, h, w) in [0, 1]")
    return found


def periodic(free: Tensor) -> Tensor:
    """Returns the periodic part u - s of pictures u (n, c, h, w); the Laplacian of s, smooth, is the jumps between opposite
    edges.
    """
    height, width = free.shape[-2:]
    jumps = torch.zeros_like(free)
    jumps[..., 0, :] = free[..., -1, :] - free[..., 0, :]
    jumps[..., -1, :] = -jumps[..., 0, :]
    sideways = free[..., :, -1] - free[..., :, 0]
    jumps[..., :, 0] += sideways
    jumps[..., :, -1] -= sideways
    turn = [2 * math.pi * torch.fft.fftfreq(side, dtype=free.dtype, device=free.device) for side in (height, width)]
    laplace = 2 * turn[0].cos()[:, None] + 2 * turn[1].cos()[None] - 4
    laplace[0, 0] = 1
    smooth = torch.fft.fft2(jumps) / laplace
    smooth[..., 0, 0] = 0
    return free - torch.fft.ifft2(smooth).real


def natural_spectrum() -> FourierSpectrum:
    """Loads the shipped spectrum of freely licensed photographs, 256 x 256 (made by `docs/builder/make_spectrum.py`).

    Magnitudes depend on the frequency alone, not on its direction: four photographs are too few to measure directions.
    """
    data = resources.files(__package__ or "").joinpath(FILE).read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise MethodError(f"{FILE} is not the one that belongs to this version (sha256 {found[:12]}...); reinstall tapetum")
    with np.load(io.BytesIO(data), allow_pickle=False) as table:
        ring, strength, mean = (table[name].astype(np.float64) for name in ("cycles", "strength", "mean"))
    k = (cycles((256, 256)) * 256).clamp(min=1).numpy()
    magnitude = torch.from_numpy(np.stack([np.exp(np.interp(np.log(k), np.log(ring), np.log(one))) for one in strength]))
    magnitude[:, 0, 0] = torch.from_numpy(mean)
    return FourierSpectrum(magnitude, (256, 256))
