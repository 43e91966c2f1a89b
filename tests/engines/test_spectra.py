"""Spectra, and MACO, which keeps them while the phases move."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from docs_builder import module_of
from skimage import data
from torch import Tensor
from zoo import pictures
from zoo import shared as network

from tapetum.data.images import write_png
from tapetum.engines.render import Recipe, optimize
from tapetum.engines.render.objectives import channel
from tapetum.engines.render.optimizers import nadam
from tapetum.engines.render.parametrizations import FourierSpectrum, Start, maco, natural, natural_spectrum, spectrum_of
from tapetum.engines.render.parametrizations.colors import from_colors, to_colors
from tapetum.engines.render.parametrizations.images import covering, cycles
from tapetum.engines.render.parametrizations.natural import periodic
from tapetum.engines.render.parametrizations.phases import is_mirrored, with_phases
from tapetum.types import ImageError, MethodError


def own_sign(size: tuple[int, int]) -> Tensor:
    """(h, w // 2 + 1): the numbers of a real picture's spectrum that are their own conjugate."""
    rows = [0] + [size[0] // 2] * (size[0] % 2 == 0)
    columns = [0] + [size[1] // 2] * (size[1] % 2 == 0)
    found = torch.zeros(size[0], size[1] // 2 + 1, dtype=torch.bool)
    for row in rows:
        found[row, columns] = True
    return found


def strength(pixels: Tensor) -> Tensor:
    return torch.fft.rfft2(from_colors(pixels), norm="ortho").abs()


@pytest.mark.parametrize("size", [(16, 16), (13, 16), (16, 13), (9, 15)])
def test_phases_move_and_magnitudes_stay(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    measured = FourierSpectrum(torch.rand(3, size[0], size[1] // 2 + 1, generator=generator, dtype=torch.float64) / 4, size)
    # as of real pictures: in the outer columns a row and its mirror are one frequency
    edges = is_mirrored(size)
    measured.magnitude[:, edges] = measured.magnitude.flip(1).roll(1, 1)[:, edges]
    recipe = Recipe(maco(spectrum=measured), (), nadam(0.5), 5)
    first, *_, last = [(step.canvas.parameters[0].detach().clone(), step.pixels()) for step in optimize(
        network("reused"), channel("two", 1), recipe, Start(size, dtype=torch.float64))]  # fmt: skip
    assert ((last[0] - first[0]).abs()[0, :, ~edges] > 0.1).double().mean() > 0.9
    signs = own_sign(size)
    found = strength(last[1])[0]
    torch.testing.assert_close(found[:, ~signs], measured.magnitude[:, ~signs], atol=1e-12, rtol=0)
    assert (found[:, signs] <= measured.magnitude[:, signs] + 1e-12).all()


def test_with_phases_is_the_sum_of_waves() -> None:
    size = (4, 6)
    magnitude, phase = torch.zeros(1, 3, 4, 4, dtype=torch.float64), torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    magnitude[0, 0, 1, 2], phase[0, 0, 1, 2] = 5, 0.7
    magnitude[0, 0, [1, 3], 0], phase[0, 0, 1, 0], phase[0, 0, 3, 0] = 3, 0.4, 99  # the mirror's own phase does not count
    y, x = torch.arange(4.0, dtype=torch.float64)[:, None], torch.arange(6.0, dtype=torch.float64)[None]
    turn = 2 * math.pi
    waves = 5 * torch.cos(turn * (y / 4 + 2 * x / 6) + 0.7) + 3 * torch.cos(turn * y / 4 + 0.4)
    found = with_phases(magnitude, phase, is_mirrored(size), size)
    torch.testing.assert_close(found[0, 0], 2 * waves / math.sqrt(24), atol=1e-14, rtol=0)


def test_maco_begins_grey_in_the_mean_with_the_shipped_spectrum() -> None:
    size = (40, 30)
    canvas = maco()(Start(size, (0, 1), (0, 1), dtype=torch.float64))
    found, expected = strength(canvas.pixels().detach()), natural_spectrum()(size)
    free = ~own_sign(size)
    # the logit of colours near 0 and 1 stops at 1e-4: a few pixels of a strong picture
    torch.testing.assert_close(found[0][:, free], expected[:, free], rtol=0.05, atol=0.02)
    assert from_colors(canvas.pixels().detach()).mean((2, 3)).abs().max() < 0.05


def test_the_magnitude_of_a_picture_stays_while_its_phases_move() -> None:
    photo = covering(torch.from_numpy(data.chelsea() / 255.0).permute(2, 0, 1)[None], (24, 32)).clamp(0.01, 0.99)
    canvas = maco(start=photo)(Start((24, 32), dtype=torch.float64))
    with torch.no_grad():
        canvas.parameters[0].add_(torch.randn(1, 3, 24, 17, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
        moved = with_phases(strength(photo), canvas.parameters[0], is_mirrored((24, 32)), (24, 32))
    torch.testing.assert_close(to_colors(moved), canvas.pixels().detach(), atol=1e-10, rtol=0)
    assert (canvas.pixels().detach() - photo).std() > 0.05


# --- measuring


def test_the_spectrum_of_waves_is_one_number_each() -> None:
    y, x = torch.arange(32.0, dtype=torch.float64)[:, None], torch.arange(48.0, dtype=torch.float64)[None]
    wave = torch.zeros(1, 3, 32, 48, dtype=torch.float64)
    # half a pixel on: the first and the last pixel are equal, so that the frame makes no jump
    wave[0, 1] = 0.8 * torch.cos(2 * math.pi * 3 * (y + 0.5) / 32) * torch.cos(2 * math.pi * 5 * (x + 0.5) / 48)
    found = spectrum_of(to_colors(wave), (32, 48)).magnitude
    expected = torch.zeros_like(found)
    expected[1, [3, -3], 5] = 0.8 / 4 * math.sqrt(32 * 48)  # the product is half the sum of two waves
    # photographs are read as float32: 1e-7 of a colour, times the steepness of the logit and the root of the pixels
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_spectrum_of_noise_is_its_law() -> None:
    """200 pictures with amplitude 8 / k: the mean of a Rayleigh variable is sqrt(pi) / 2 of its root mean square."""
    k = (cycles((32, 32)) * 32).clamp(min=1)
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(200, 3, 32, 32, generator=generator, dtype=torch.float64)
    noise = torch.fft.irfft2(torch.fft.rfft2(white, norm="ortho") * 0.8 / k, s=(32, 32), norm="ortho")
    found = torch.fft.rfft2(noise, norm="ortho").abs().mean(0)
    measured = spectrum_of(to_colors(noise), (32, 32)).magnitude
    inner = (k > 3) & (k < 15) & (torch.arange(17)[None] > 0)
    ratio = (measured / (0.8 * math.sqrt(math.pi) / 2 / k))[:, inner]
    # standard error of a mean of 200 is .52 / 200^.5 = .037; a little strength leaves with the jumps at the frame
    assert ratio.mean().item() == pytest.approx(1, abs=0.03)
    assert ((ratio - 1).abs() < 0.2).all()
    torch.testing.assert_close(measured[:, inner], found[:, inner], rtol=0.1, atol=0)


def test_only_the_periodic_part_counts() -> None:
    """A slope has one jump at the frame, and all its frequencies stem from that jump."""
    slope = torch.linspace(-1, 1, 64, dtype=torch.float64).expand(1, 3, 64, 64)
    assert periodic(slope).std() < 0.05 * slope.std()
    whole = torch.fft.irfft2(torch.fft.rfft2(pictures(2)))[..., :8, :12]
    torch.testing.assert_close(periodic(whole).mean((2, 3)), whole.mean((2, 3)))
    wave = torch.cos(2 * math.pi * torch.arange(16.0, dtype=torch.float64) / 16).expand(1, 1, 16, 16)
    once = periodic(wave)
    jump = (wave[..., 0] - wave[..., -1]).abs().max()
    assert (once - wave).abs().max() < jump  # a wave's own step from the last to the first pixel is all that may move


def test_a_spectrum_fits_canvases_of_other_sizes() -> None:
    """Of pictures of strength a / k at k cycles a picture: a L / k on a canvas of side L, also where nothing was measured."""

    def law(size: tuple[int, int]) -> Tensor:
        side = math.sqrt(math.prod(size))
        return (side / (cycles(size) * side).clamp(min=1e-9)).expand(3, -1, -1)

    small = FourierSpectrum(law((32, 32)).clone(), (32, 32))
    small.magnitude[:, 0, 0] = 7.0
    assert small((32, 32)) is small.magnitude
    for size in ((16, 16), (64, 64), (63, 63)):
        found = small(size)
        k = cycles(size) * size[0]
        there = (k > 0) & (k < 1e9)
        # squares share their cycles a picture; beyond the corner of the measured square, 1/f goes on from its edge
        torch.testing.assert_close(found[:, there], law(size)[:, there], rtol=0.03, atol=0)
        assert found[0, 0, 0].item() == pytest.approx(7 * size[0] / 32)
    wide = small((20, 45))
    k = cycles((20, 45)) * 30
    torch.testing.assert_close(wide[:, k > 3], law((20, 45))[:, k > 3], rtol=0.05, atol=0)  # between the numbers of a hyperbola


def test_the_shipped_spectrum_falls_like_that_of_photographs() -> None:
    """Between 4 and 100 cycles a picture: the logs of strength and cycles have a slope of -1.8 to -1.0 in every colour."""
    shipped = natural_spectrum().magnitude
    k = cycles((256, 256)) * 256
    there = (k > 4) & (k < 100)
    for one in shipped:
        x, y = k[there].log(), one[there].log()
        slope = ((x - x.mean()) * (y - y.mean())).mean() / x.var(correction=0)
        assert -1.8 < slope < -1.0
    std = torch.fft.irfft2(torch.polar(shipped, torch.rand_like(shipped) * 6.28), norm="ortho")[0].std()
    assert 1 < std < 4  # in logits times 1.7: pictures are neither flat nor black and white


@pytest.mark.bits
def test_the_shipped_spectrum_is_what_the_script_measures() -> None:
    """`docs/builder/make_spectrum.py` on scikit-image's photographs."""
    script = module_of("make_spectrum")
    with np.load(script.FILE) as shipped:
        found = script.measured()
        assert set(found) == set(shipped)
        for name, values in found.items():
            np.testing.assert_allclose(
                values, shipped[name], rtol=1e-4
            )  # decoders of JPEG may differ by a level here and there


def test_a_spectrum_file_that_was_changed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natural, "SHA256", "0" * 64)
    with pytest.raises(MethodError, match=r"natural_spectrum\.npz is not the one .* reinstall tapetum"):
        natural_spectrum()


def test_a_folder_its_files_and_its_pictures_have_one_spectrum(tmp_path: Path) -> None:
    images = (0.5 + 0.1 * pictures(2, 24)).clamp(0, 1).mul(255).round() / 255
    for i, image in enumerate(images):
        write_png(tmp_path / f"{i}.png", image)
    folder = spectrum_of(tmp_path, (16, 20)).magnitude
    torch.testing.assert_close(folder, spectrum_of(sorted(tmp_path.iterdir()), (16, 20)).magnitude)
    torch.testing.assert_close(folder, spectrum_of(images, (16, 20)).magnitude, atol=1e-4, rtol=0)
    with pytest.raises(MethodError, match="no images"):
        spectrum_of([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images in this folder"):
        spectrum_of(tmp_path / "empty")
