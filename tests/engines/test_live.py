"""Results while they are made: a watcher sees pictures as they improve, a batch at a time, and asking changes nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import pictures, shared

import tapetum as tp
from tapetum.engines.render import Recipe, render
from tapetum.engines.render import objectives as O
from tapetum.engines.render.parametrizations import Canvas, Parametrization, Start, fourier
from tapetum.engines.statistics import Draws
from tapetum.progress import Progress, Watcher
from tapetum.types import Rendering


def watched(work: Callable[..., Any], *about: Any, **keywords: Any) -> tuple[Any, list[tuple[tuple[int, ...], Tensor]]]:
    """The result of a call, and (rows, what was made so far) of every event that had something to show."""
    seen: list[tuple[tuple[int, ...], Tensor]] = []

    def watcher(event: Progress) -> None:
        if event.so_far is not None:
            seen.append((event.rows, event.so_far()))

    with tp.watching(watcher):
        return work(*about, **keywords), seen


def test_units_that_come_in_batches_say_which_rows_of_the_result_they_are() -> None:
    made, seen = watched(tp.visualize, shared("residual"), "first.two:0-4", size=16, n_steps=3, batch=2)
    assert [rows for rows, _ in seen] == [(0, 1)] * 3 + [(2, 3)] * 3 + [(4,)] * 3
    for rows, pixels in seen[2::3]:
        assert torch.equal(pixels, made.pixels[list(rows)])


def test_every_picture_so_far_is_the_one_that_frames_keep() -> None:
    made, seen = watched(
        tp.visualize, shared("residual"), ["first.two:1", "first.two:2"], size=16, n_steps=4, frames=range(1, 5)
    )
    assert torch.equal(torch.stack([pixels for _, pixels in seen]), made.frames)


def test_pictures_of_many_bands_are_seen_in_grey_as_in_the_result() -> None:
    module = nn.Sequential(nn.Conv2d(5, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).double()
    model = tp.wrap(module, size=16, mean=(0.4,) * 5, std=(0.2,) * 5)  # type: ignore[arg-type]
    made, seen = watched(tp.visualize, model, "0:1", n_steps=2)
    assert seen[-1][1].shape == (1, 3, 16, 16)
    assert torch.equal(seen[-1][1], made.pixels)


def test_what_is_seen_is_the_watchers_own() -> None:
    def spoil(event: Progress) -> None:
        if event.so_far is not None:
            event.so_far().zero_()

    images = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    alone = tp.invert(shared("residual"), images, layer="first.two", n_steps=4).pixels
    with tp.watching(spoil):
        assert torch.equal(tp.invert(shared("residual"), images, layer="first.two", n_steps=4).pixels, alone)


def test_a_watcher_that_never_asks_costs_no_picture() -> None:
    made: list[int] = []

    def counted(start: Start) -> Canvas:
        canvas = fourier()(start)

        def pixels() -> Tensor:
            made.append(1)
            return canvas.pixels()

        return Canvas(canvas.parameters, pixels)

    def count(watcher: Watcher | None) -> int:
        made.clear()
        with tp.watching(watcher):
            render(shared("residual"), [O.channel("first.two", 1)], Recipe(counting, n_steps=5), size=(16, 16))
        return len(made)

    def asking(event: Progress) -> None:
        if event.so_far is not None:
            event.so_far()

    counting = Parametrization("counted", counted, fourier().mover)
    assert count(lambda event: None) == count(None) > 0
    assert count(asking) == count(None) + 5


# --- a watcher that waits


def interrupted(work: Callable[[], Any], other: Callable[[], Any], at: int) -> tuple[Any, Any]:
    """Both results; `other` runs in this thread while `work`, in another one, is held in its event number `at`."""
    held, go, found = threading.Event(), threading.Event(), list[Any]()
    number = iter(range(1_000_000))

    def wait(event: Progress) -> None:
        if next(number) == at:
            held.set()
            assert go.wait(60)

    def run() -> None:
        try:
            with tp.watching(wait):
                found.append(work())
        finally:
            held.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert held.wait(60)
        assert not found, "the work ended before that event"
        beside = other()
    finally:
        go.set()
        thread.join(60)
    return found[0], beside


def numbers(result: Any) -> Tensor:
    return result.pixels if isinstance(result, Rendering) else result.values


WORK: dict[str, tuple[str, int, Callable[[tp.VisionModel], Any]]] = {
    "visualize": ("residual", 2, lambda model: tp.visualize(model, "first.two:1", size=16, n_steps=20, seed=3)),
    "visualize a class": ("vit_token", 2, lambda model: tp.visualize(model, 2, n_steps=4)),
    "invert": ("residual", 2, lambda model: tp.invert(model, pictures(2), layer="first.two", n_steps=6)),
    "deep_dream": ("residual", 2, lambda model: tp.deep_dream(model, pictures(1), layer="first.two", n_steps=3)),
    "accentuate": ("vit_token", 1, lambda model: tp.accentuate(model, pictures(1), units="blocks.0.up:1", n_steps=3)),
    "smooth_grad": ("vit_token", 1, lambda model: tp.smooth_grad(model, pictures(2), 1, n_samples=20, batch=4)),
    "rise": ("residual", 2, lambda model: tp.rise(model, pictures(2), 1, n_masks=40, cells=4, batch=8)),
    "ablation_cam": ("residual", 1, lambda model: tp.ablation_cam(model, pictures(2), 1, layer="first.two", batch=2)),
    "extremal": ("residual", 2, lambda model: tp.extremal_perturbation(model, pictures(1), 1, n_steps=6)),
    "full_grad": ("vit_token", 0, lambda model: tp.full_grad(model, pictures(2), 1, batch=1)),
    "guided": ("residual", 1, lambda model: tp.guided_backprop(model, pictures(2), 1, batch=1)),
    "lrp": ("residual", 1, lambda model: tp.lrp(model, pictures(2), 1, batch=1)),
}
"""(network, event in which it is held, call): hooks, redirected ReLUs, edits of layers and modes of torch are all in it."""


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("twin", [True, False], ids=["a twin", "the same model"])
def test_work_that_is_held_and_another_methods_work_meanwhile_do_not_disturb_each_other(name: str, twin: bool) -> None:
    network, at, work = WORK[name]
    model = shared(network)
    after = [numbers(one(model)) for net, _, one in WORK.values() if net == network]

    def others() -> list[Any]:
        beside = model.around(model.module) if twin else model
        return [one(beside) for net, _, one in WORK.values() if net == network]

    made, beside = interrupted(lambda: work(model), others, at)
    assert torch.equal(numbers(made), numbers(work(model)))
    assert all(torch.equal(numbers(one), alone) for one, alone in zip(beside, after, strict=True))


@pytest.mark.parametrize("name", ["visualize", "smooth_grad"])
def test_a_watcher_may_itself_explain_the_same_model(name: str) -> None:
    network, _, work = WORK[name]
    model, beside = shared(network), list[Tensor]()
    alone, saliency = numbers(work(model)), tp.saliency(model, pictures(1), 1).values
    with tp.watching(lambda event: beside.append(tp.saliency(model, pictures(1), 1).values)), torch.no_grad():
        found = numbers(work(model))
    assert torch.equal(found, alone)
    assert beside
    assert all(torch.equal(one, saliency) for one in beside)


# --- maps


def test_a_map_of_smooth_grad_so_far_is_the_mean_of_its_first_gradients() -> None:
    """By autograd on the module itself, with noise of the same draws; eight copies a batch, of one image and then the next."""
    model, images = shared("residual"), pictures(2)
    made, seen = watched(tp.smooth_grad, model, images, 1, n_samples=24, seed=3, batch=8)
    draws = Draws.of(torch.Generator().manual_seed(3), 24)
    gradients = []
    for image in images:
        copies = torch.stack([image + 0.15 * (image.max() - image.min()) * draws.normal(k, image) for k in range(24)])
        copies.requires_grad_()
        gradients.append(torch.autograd.grad(model.module(copies)[:, 1].sum(), copies)[0])
    counts = [(8, 0), (16, 0), (16, 8), (16, 16), (24, 16), (24, 24)]  # CHECK gradients of an image before the next image
    assert [rows for rows, _ in seen] == [(0,)] * 2 + [(0, 1)] * 4
    for done, (rows, so_far) in zip(counts, seen, strict=True):
        expected = torch.stack([gradients[row][: done[row]].mean(0) for row in rows])
        torch.testing.assert_close(so_far, expected, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(seen[-1][1], made.values, rtol=0, atol=0)


def test_a_map_of_integrated_gradients_so_far_is_scaled_to_the_whole_path() -> None:
    model, images = shared("residual"), pictures(1)
    _, seen = watched(tp.integrated_gradients, model, images, 1, n_steps=4, baseline=0.0, quadrature="middle", batch=1)
    points = torch.stack([images[0] * share for share in (1 / 8, 3 / 8, 5 / 8, 7 / 8)]).requires_grad_()
    (gradients,) = torch.autograd.grad(model.module(points)[:, 1].sum(), points)
    for k, (_, so_far) in enumerate(seen, 1):
        torch.testing.assert_close(so_far, (images[0] * gradients[:k].mean(0))[None], rtol=1e-10, atol=1e-14)


def test_maps_so_far_follow_the_steps_of_another_librarys_definition() -> None:
    about = {"layer": "first.two", "n_samples": 20, "like": "paper"}
    made, seen = watched(tp.smooth_grad_cam_plus_plus, shared("residual"), pictures(1), 1, **about)
    assert torch.equal(seen[-1][1], made.values)
    assert made.values.min() >= 0


def test_maps_of_several_layers_and_of_methods_inside_another_are_not_shown() -> None:
    model, images = shared("residual"), pictures(1)
    about: dict[str, Any] = {"layer": ["first.two", "second.two"], "n_samples": 4}
    assert watched(tp.smooth_grad_cam_plus_plus, model, images, 1, **about)[1] == []
    cam = tp.smooth_grad(model, images, 1, n_samples=2)
    assert watched(tp.max_sensitivity, model, images, cam, n_samples=2)[1] == []
