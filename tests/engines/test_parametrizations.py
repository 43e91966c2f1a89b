"""Parametrizations: what all of them promise, as a table, and what each of them claims."""

import math
from collections.abc import Callable

import pytest
import torch
from skimage import data
from torch import Tensor
from zoo import pictures
from zoo import shared as network

import tapetum as tp
from tapetum.engines.render import Recipe, measure, optimize
from tapetum.engines.render.objectives import channel, each
from tapetum.engines.render.optimizers import adam
from tapetum.engines.render.parametrizations import (
    PARAMETRIZATIONS,
    Parametrization,
    Start,
    as_parametrization,
    cppn,
    fourier,
    grayscale,
    laplacian,
    maco,
    pixel,
    shared,
    with_alpha,
)
from tapetum.engines.render.parametrizations.colors import from_colors, to_colors
from tapetum.engines.render.parametrizations.images import SCALE, fitted, frequency_scale
from tapetum.engines.render.parametrizations.networks import coordinates
from tapetum.engines.render.presets import preset
from tapetum.engines.render.transforms import jitter, random_scale
from tapetum.types import MethodError

PHOTOS = (0.5 + 0.15 * pictures(3, 21)).clamp(0.02, 0.98)[..., :18]  # 21 x 18, not the canvas's size

TABLE: dict[str, Parametrization] = {
    "pixel": pixel(),
    "pixel plain": pixel(decorrelated=False),
    "pixel start": pixel(start=PHOTOS),
    "fourier": fourier(),
    "fourier start": fourier(start=PHOTOS),
    "laplacian": laplacian(),
    "laplacian start": laplacian(start=PHOTOS),
    "cppn": cppn(),
    "maco": maco(),
    "maco start": maco(start=PHOTOS),
    "shared": shared(),
    "alpha": with_alpha(),
    "alpha of cppn": with_alpha(cppn()),
    "grayscale": grayscale(),
}
EVERY = pytest.mark.parametrize("name", TABLE)
SIZE = (13, 15)  # odd, so that no picture ends where a vector of the processor does


def start(n: int = 1, size: tuple[int, int] = SIZE, **more: object) -> Start:
    """One picture each of n objectives."""
    return Start(size, (0,) * n, tuple(range(n)), **{"dtype": torch.float64, **more})  # type: ignore[arg-type]


def drawn(parametrization: Parametrization, at: Start) -> Tensor:
    return parametrization(at).pixels().detach()


def last(parametrization: Parametrization, at: Start, channels: list[int], n_steps: int = 2) -> Tensor:
    objective = each([channel("two", index) for index in channels], len(at) // len(channels))
    recipe = Recipe(parametrization, (jitter(2), random_scale()), n_steps=n_steps, redirect=0)
    *_, step = optimize(network("reused"), objective, recipe, at)
    return step.pixels()


# --- what all promise


@pytest.mark.bits
@EVERY
def test_a_batch_is_what_single_runs_give(name: str) -> None:
    parametrization = TABLE[name]
    together = last(parametrization, start(3), [0, 1, 2])
    for i in (0, 2):
        alone = last(parametrization, Start(SIZE, (0,), (i,), dtype=torch.float64), [i])
        assert torch.equal(together[i], alone[0])


@pytest.mark.bits
def test_groups_with_shared_parts_are_what_single_groups_give() -> None:
    parametrization = TABLE["shared"]
    together = last(parametrization, Start(SIZE, (0, 1, 2) * 2, tuple(range(6)), dtype=torch.float64), [0, 1])
    for i in range(2):
        alone = last(parametrization, Start(SIZE, (0, 1, 2), (0, 1, 2), dtype=torch.float64), [i])
        assert torch.equal(together[3 * i : 3 * i + 3], alone)


@EVERY
def test_twenty_steps_raise_a_channel(name: str) -> None:
    parametrization = TABLE[name]
    model, objective = network("reused"), channel("two", 1)
    begun = measure(model, objective, drawn(parametrization, Start(SIZE, tuple(range(8)), (0,) * 8, dtype=torch.float64)))
    *_, step = optimize(model, objective, Recipe(parametrization, (), n_steps=20, redirect=0), start())
    assert measure(model, objective, step.pixels()) > begun[0] + 2 * begun.std()  # not by chance: more than starts differ
    assert measure(model, objective, step.pixels()) > begun[0] + 1e-3
    assert step.answered.all()
    assert not step.broken.any()


@EVERY
def test_pictures_lie_in_0_1_and_keep_size_and_number_type(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        canvas = TABLE[name](start(2, (9, 14), dtype=dtype))
        pixels = canvas.pixels()
        assert pixels.shape == (2, 4 if "alpha" in name else 3, 9, 14)
        assert pixels.dtype == dtype
        assert {parameter.dtype for parameter in canvas.parameters} == {dtype}
        assert 0 <= pixels.min() <= pixels.max() <= 1


@EVERY
def test_seeds_and_variants_tell_pictures_apart(name: str) -> None:
    parametrization = TABLE[name]

    def numbers(**more: object) -> Tensor:
        canvas = parametrization(Start(SIZE, dtype=torch.float64, **more))  # type: ignore[arg-type]
        return torch.cat([parameter.detach().flatten() for parameter in canvas.parameters])

    assert torch.equal(numbers(), numbers())
    if "start" in name:
        assert torch.equal(numbers(), numbers(seed=1))  # a given picture leaves nothing to draw
        assert not torch.equal(numbers(), numbers(rows=(1,)))
    else:
        assert not torch.equal(numbers(), numbers(seed=1))
        assert not torch.equal(numbers(), numbers(variants=(1,)))


@pytest.mark.parametrize("name", [name for name in TABLE if "start" in name])
@pytest.mark.parametrize("size", [(16, 16), (13, 16), (16, 13), (15, 9)])
def test_a_given_picture_is_what_begins(name: str, size: tuple[int, int]) -> None:
    given = PHOTOS[..., : size[0], : size[1]]
    began = {"pixel start": pixel, "fourier start": fourier, "laplacian start": laplacian, "maco start": maco}[name](
        start=given
    )
    # logit, two transforms and sigmoid: some hundred roundings of 1e-16
    torch.testing.assert_close(drawn(began, start(3, size)), given, atol=1e-12, rtol=0)


# --- colours and frequencies


@pytest.mark.parametrize("decorrelated", [True, False])
def test_colors_come_back(decorrelated: bool) -> None:
    torch.testing.assert_close(to_colors(from_colors(PHOTOS, decorrelated), decorrelated), PHOTOS, atol=1e-13, rtol=0)
    edges = torch.tensor([0.0, 1.0], dtype=torch.float64).expand(1, 3, 1, 2)
    inside = torch.tensor([1e-4, 1 - 1e-4], dtype=torch.float64).expand(1, 3, 1, 2)
    torch.testing.assert_close(to_colors(from_colors(edges, decorrelated), decorrelated), inside, atol=1e-13, rtol=0)


def test_the_frequency_scale_is_one_over_cycles_a_pixel() -> None:
    for height, width in ((6, 8), (5, 7), (4, 9)):
        scale = frequency_scale(start(size=(height, width)), 1.5)
        for i in range(height):
            for j in range(width // 2 + 1):
                down = min(i, height - i) / height  # i and i - h are the same wave
                f = max(math.hypot(down, j / width), 1 / max(height, width))
                assert scale[i, j].item() == pytest.approx(f**-1.5, rel=1e-12)


def test_a_number_of_fourier_is_a_wave_of_that_frequency() -> None:
    canvas = fourier(decorrelated=False)(start(size=(6, 10)))
    numbers = canvas.parameters[0]
    with torch.no_grad():
        numbers.zero_()[0, 1, 2, 3, 0] = 1  # green, 2 cycles down, 3 across
    y, x = torch.arange(6.0, dtype=torch.float64)[:, None], torch.arange(10.0, dtype=torch.float64)[None]
    f = math.hypot(2 / 6, 3 / 10)
    wave = 2 * SCALE / f / math.sqrt(60) * torch.cos(2 * math.pi * (2 * y / 6 + 3 * x / 10))
    torch.testing.assert_close(canvas.pixels()[0, 1].detach(), wave.sigmoid(), atol=1e-14, rtol=0)
    assert (canvas.pixels()[0, 0] == 0.5).all()


# --- CPPN


def test_cppn_starts_grey_and_is_drawn_alike_at_three_times_the_size() -> None:
    *_, step = optimize(network("reused"), channel("two", 1), Recipe(cppn(), (), adam(0.002), 10), start(size=(10, 14)))
    canvas = step.canvas
    assert (drawn(cppn(), start()) == 0.5).all()
    assert canvas.sized is not None
    large = canvas.sized((30, 42)).detach()
    assert step.pixels().std() > 0.01
    # the middle of a pixel is the middle of the middle one of three times three
    torch.testing.assert_close(large[..., 1::3, 1::3], step.pixels(), atol=1e-13, rtol=0)
    assert (canvas.sized((20, 28)).detach() - fitted(step.pixels(), (20, 28))).std() < 0.2 * step.pixels().std()  # and between


def test_places_of_a_square_have_variance_one() -> None:
    x, y = coordinates((200, 200))
    # of 200 even steps of the interval: 1 - 1 / 200^2
    assert x.var(correction=0).item() == pytest.approx(1 - 200**-2, rel=1e-9)
    assert torch.equal(x, y.T)
    wide = coordinates((50, 200))
    assert torch.equal(wide[0, 0], x[0])
    torch.testing.assert_close(wide[1].diff(dim=0)[:, 0], x.diff(dim=1)[0, :49])  # not stretched


def test_cppn_is_the_formula() -> None:
    canvas = cppn(hidden=3, layers=2, decorrelated=False)(start(size=(2, 3)))
    with torch.no_grad():
        for parameter in canvas.parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    w0, b0, w1, b1 = (parameter[0].detach() for parameter in canvas.parameters[:2] + canvas.parameters[2:4])
    t = torch.atan(w0 @ torch.tensor([2 / 3, 0.5 / 1.5], dtype=torch.float64)[:, None] * 3**0.5 + b0)  # the last pixel
    hidden = torch.cat([t / 0.67, t**2 / 0.6])
    t = torch.atan(w1 @ hidden + b1)
    expected = torch.sigmoid(canvas.parameters[4][0] @ torch.cat([t / 0.67, t**2 / 0.6]) + canvas.parameters[5][0])
    torch.testing.assert_close(canvas.pixels()[0, :, 1, 2], expected[:, 0], atol=1e-13, rtol=0)


# --- shared parts, transparency, grey


def test_a_shared_part_moves_all_pictures_of_its_group_and_no_other() -> None:
    canvas = shared(levels=((4, 1), (4, 2)), sd=0.0)(Start((16, 16), (0, 1, 2, 0, 1, 2), tuple(range(6)), dtype=torch.float64))
    one, two = canvas.parameters[1:]
    assert one.shape == (2, 1, 3, 4, 4)
    assert two.shape == (2, 2, 3, 4, 4)
    with torch.no_grad():
        one[1] = 1.0
    moved = canvas.pixels().detach()
    assert (moved[:3] == 0.5).all()
    assert torch.equal(moved[3], moved[4])
    assert torch.equal(moved[3], moved[5])
    with torch.no_grad():
        one.zero_()
        two[0, 0] = 1.0  # fades out along the group
    free = from_colors(canvas.pixels().detach())
    torch.testing.assert_close(free[1], free[0] / 2, atol=1e-12, rtol=0)
    torch.testing.assert_close(free[2], 0 * free[0], atol=1e-12, rtol=0)


def test_alpha_is_half_at_first_and_has_noise_of_its_own() -> None:
    mean_alpha = with_alpha(fourier(sd=0.0), sd=0.0)
    assert (drawn(mean_alpha, start())[:, 3] == 0.5).all()
    noise = drawn(with_alpha(pixel(sd=1.0, decorrelated=False), sd=1.0), start())
    assert abs(torch.corrcoef(torch.stack([noise[0, 0].flatten(), noise[0, 3].flatten()]))[0, 1]) < 0.3  # noise of its own


def test_grayscale_has_one_value_a_place() -> None:
    pixels = drawn(grayscale(fourier(sd=1.0)), start(2))
    assert torch.equal(pixels[:, 0], pixels[:, 2])
    assert pixels.std() > 0.01
    assert grayscale(cppn())(start()).sized is not None


# --- by name


def test_names_become_parametrizations() -> None:
    given = fourier(decay=2.0)
    assert as_parametrization(given) is given
    assert {name: str(as_parametrization(name)) for name in ("fourier", "maco", "cppn")} == {
        name: name for name in ("fourier", "maco", "cppn")
    }
    assert str(with_alpha(given)) == "with_alpha(fourier(decay=2))"


@pytest.mark.parametrize("wrong", ["furier", 3, None])
def test_an_unknown_name_is_refused_with_the_choices(wrong: object) -> None:
    with pytest.raises(MethodError, match="fourier, pixel, cppn, maco"):
        as_parametrization(wrong)


@pytest.mark.parametrize("make", PARAMETRIZATIONS.values(), ids=PARAMETRIZATIONS)
def test_every_named_one_draws(make: Callable[[], Parametrization]) -> None:
    assert drawn(make(), start()).isfinite().all()


def test_visualize_takes_a_name_and_the_rate_that_goes_with_it() -> None:
    named = tp.visualize(network("reused"), "two:1", size=12, n_steps=3, preset="standard", parametrization="cppn")
    same = tp.visualize(network("reused"), "two:1", size=12, n_steps=3, preset="cppn")
    assert torch.equal(named.pixels, same.pixels)
    with pytest.raises(MethodError, match="not 'furier'"):
        tp.visualize(network("reused"), "two:1", size=12, n_steps=3, parametrization="furier")


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.parametrize("name", ["maco", "cppn", "standard"])
def test_units_of_a_trained_network_prefer_their_picture_to_photographs(name: str) -> None:
    model = tp.load("efficientnet_lite0")
    photos = model.as_images([data.chelsea(), data.coffee(), data.astronaut(), data.rocket()])
    objective = channel("blocks.3.0", 21)
    *_, step = optimize(
        model, objective, Recipe(preset(name).parametrization, preset(name).transforms, n_steps=64), Start((64, 64))
    )
    assert measure(model, objective, step.pixels()) > 2 * measure(model, objective, model.denormalize(photos)).max()
