"""Results while they are made: a watcher sees pictures as they improve, a batch at a time, and asking changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from zoo import shared

import tapetum as tp
from tapetum.engines.render import Recipe, render
from tapetum.engines.render import objectives as O
from tapetum.engines.render.parametrizations import Canvas, Parametrization, Start, fourier
from tapetum.progress import Progress, Watcher


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
