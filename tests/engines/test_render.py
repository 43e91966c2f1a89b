"""The render loop: pictures rise, a batch is what single runs give, broken and silent units say so, nothing stays behind."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, shared, vision_model

import tapetum as tp
from tapetum.engines.render import Recipe, measure, optimize, render
from tapetum.engines.render import objectives as O
from tapetum.engines.render.parametrizations import Start, fourier, pixel
from tapetum.progress import Progress, watching
from tapetum.types import Cancelled

NETS = ("in_place", "functional", "reused", "residual", "channels_last", "vit_token")


def layer_of(model: tp.VisionModel) -> str:
    """A layer with a map of several channels, not the first."""
    names = [layer.name for layer in model.layers() if layer.grid is not None and (layer.channels or 0) >= 4]
    return names[len(names) // 2]


@pytest.mark.bits
@pytest.mark.parametrize("name", NETS)
def test_a_batch_is_what_single_runs_give_to_the_last_bit(name: str) -> None:
    model = shared(name)
    objectives = [O.channel(layer_of(model), i) for i in range(4)]
    recipe = Recipe(n_steps=6)
    together = render(model, objectives, recipe, size=(16, 16))
    alone = [render(model, [one], recipe, size=(16, 16)) for one in objectives]
    assert torch.equal(together.pixels, torch.cat([one.pixels for one in alone]))
    in_twos = render(model, objectives, recipe, size=(16, 16), batch=2)
    assert torch.equal(together.pixels, in_twos.pixels)


@pytest.mark.parametrize("parametrization", [fourier(), pixel()], ids=str)
@pytest.mark.parametrize("size", [(16, 16), (12, 20)], ids=str)
def test_the_objective_rises(parametrization: object, size: tuple[int, int]) -> None:
    model = shared("residual")
    one = O.channel(layer_of(model), 2)
    made = render(model, [one], Recipe(parametrization=parametrization, n_steps=30), size=size, frames=(0, 30))
    assert made.frames is not None
    before = measure(model, one, made.frames[0])
    assert made.scores > 1.02 * before  # its random weights answer everything by nearly the same
    assert torch.equal(made.frames[1], made.pixels)
    assert made.pixels.shape[-2:] == size


def test_the_same_seed_gives_the_same_picture_and_another_seed_another() -> None:
    model = shared("residual")
    one = [O.channel(layer_of(model), 1)]
    a, b, c = (render(model, one, Recipe(n_steps=3), size=(16, 16), seed=seed).pixels for seed in (3, 3, 4))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


class Half(nn.Module):
    """Its second channel is NaN everywhere, its third never changes."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        odd = (images[:, :1] - 10).log()
        return self.map(torch.cat([images[:, 1:2], odd, 0 * images[:, :1]], 1)).mean((2, 3))


def test_broken_and_silent_units_say_so_and_leave_the_others_alone() -> None:
    model = tp.wrap(Half().double(), size=16)
    made = render(model, [O.channel("map", i) for i in range(3)], Recipe(n_steps=4), size=(16, 16))
    assert made.status == ("ok", "non_finite", "silent")
    assert made.pixels.isfinite().all()
    alone = render(model, [O.channel("map", 0)], Recipe(n_steps=4), size=(16, 16))
    assert torch.equal(alone.pixels[0], made.pixels[0])


def test_a_unit_that_a_relu_blocks_begins_through_redirected_relus() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).double()
    with torch.no_grad():
        net[0].bias.fill_(-0.8)  # silent on the faint noise that pictures begin as
    model = tp.wrap(net, size=16)
    start = Start((16, 16), dtype=torch.float64)
    blocked, opened = (list(optimize(model, O.channel("1", 1), Recipe(n_steps=60, redirect=r), start))[-1] for r in (0, 60))
    assert not blocked.answered.any()
    assert opened.answered.all()
    assert measure(model, O.channel("1", 1), opened.pixels()) > 0


class Overwritten(nn.Module):
    """Overwrites a view of its map in place, which rules on operations cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.end = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        maps = self.conv(images)
        maps[:, :2].relu_()
        return self.end(maps).mean((2, 3))


def test_a_network_that_redirected_relus_cannot_follow_is_rendered_without_them() -> None:
    torch.manual_seed(0)
    model = tp.wrap(Overwritten().double(), size=16)
    usual, plain = (render(model, [O.channel("end", 2)], Recipe(n_steps=3, redirect=r), size=(16, 16)) for r in (3, 0))
    assert torch.equal(usual.pixels, plain.pixels)


def test_attributions_after_a_rendering_are_the_same_as_before() -> None:
    model = vision_model("reused")
    before = tp.saliency(model, pictures(1), 1).values
    render(model, [O.channel(layer_of(model), 0)], Recipe(n_steps=2, redirect=2), size=(16, 16))
    assert torch.equal(tp.saliency(model, pictures(1), 1).values, before)


def test_progress_ends_at_its_total_and_can_stop_the_work() -> None:
    model = shared("residual")
    events: list[Progress] = []
    with watching(events.append):
        render(model, [O.channel(layer_of(model), i) for i in range(3)], Recipe(n_steps=4), size=(16, 16), batch=2)
    assert events[-1].done == events[-1].total == 12
    with watching(lambda event: event.done < 2), pytest.raises(Cancelled):
        render(model, [O.channel(layer_of(model), 0)], Recipe(n_steps=4), size=(16, 16))


@pytest.mark.bits
def test_float32_batches_have_the_bits_of_single_runs_where_kernels_sum_differently() -> None:
    # 1 x 1 convolutions over many channels: a batch's kernel sums in another order than that of one image
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 480, 3, 2), nn.ReLU(), nn.Conv2d(480, 96, 1), nn.ReLU(), nn.Conv2d(96, 480, 1)]
    model = tp.wrap(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(480, 2)), size=32)
    objectives = [O.channel("4", i) for i in range(5)]
    together = render(model, objectives, Recipe(n_steps=20), size=(32, 32))
    alone = torch.cat([render(model, [one], Recipe(n_steps=20), size=(32, 32)).pixels for one in objectives])
    assert torch.equal(together.pixels, alone)
