"""Networks of films and volumes: frames are folded into the channels; maps are autograd's on the plain network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import pytest
import torch
from torch import Tensor, nn

import tapetum as tp
from tapetum.types import ImageError, LayerError, MethodError, ModelError

C, T, H, W = 2, 6, 12, 16


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = nn.Conv3d(C, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1)
        return nn.Sequential(*body, nn.Flatten(), nn.Linear(8, 5)).double().eval()


def model(**options: Any) -> tp.VisionModel:
    return tp.wrap(network(), **{"size": (H, W), "frames": T, "mean": (0.4, 0.5), "std": (0.2, 0.1), **options})


def films(n: int = 2) -> Tensor:
    return torch.randn(n, C, T, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def autograd(images: Tensor, target: int) -> Tensor:
    images = images.clone().requires_grad_()
    return torch.autograd.grad(network()(images)[:, target].sum(), images)[0]


@pytest.mark.parametrize("order", ["n c t h w", "n t c h w"])
def test_gradients_are_autograds_in_both_orders_of_axes(order: str) -> None:
    given = films() if order == "n c t h w" else films().transpose(1, 2)
    found = tp.saliency(model(), given, 3)
    expected = autograd(films(), 3).abs()
    torch.testing.assert_close(found.values.unflatten(1, (C, T)), expected)
    torch.testing.assert_close(found.films(), expected.amax(1))
    assert found.frames == T
    product = tp.input_x_gradient(model(), given, 3)
    torch.testing.assert_close(product.films(), (films() * autograd(films(), 3)).sum(1))


def test_relevance_and_contributions_of_frames_sum_to_the_difference_of_scores() -> None:
    bias_free = network()
    for part in bias_free.modules():
        if isinstance(part, (nn.Conv3d, nn.Linear)):
            part.bias = None
    wrapped = tp.wrap(bias_free, size=(H, W), frames=T, mean=(0.0,) * C, std=(1.0,) * C)
    score = bias_free(films())[:, 2]
    relevance = tp.lrp(wrapped, films(), 2, composite="epsilon").films().sum((1, 2, 3))
    torch.testing.assert_close(relevance, score.detach(), rtol=1e-3, atol=1e-6)
    contributions = tp.deep_lift(wrapped, films(), 2).films().sum((1, 2, 3))
    torch.testing.assert_close(contributions, (score - bias_free(films() * 0)[:, 2]).detach(), rtol=1e-6, atol=1e-9)
    path = tp.integrated_gradients(wrapped, films(), 2, n_steps=64).films().sum((1, 2, 3))
    torch.testing.assert_close(path, score.detach(), rtol=2e-2, atol=1e-4)


def test_occlusion_hides_a_place_in_all_frames() -> None:
    found = tp.occlusion(model(), films(1), 1, window=12, stride=12)
    hidden = films(1)
    hidden[..., :12] = 0
    expected = (network()(films(1)) - network()(hidden))[0, 1]
    torch.testing.assert_close(found.values.flatten()[0], expected.detach())
    assert found.frames is None
    assert f"this map is of all {T} frames together" in found.notes
    with pytest.raises(MethodError, match="no frames of its own"):
        found.films()


def test_pixels_of_films_are_preprocessed_and_shown() -> None:
    raw = torch.rand(2, C, T, H, W, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mean, std = (torch.tensor(one, dtype=torch.float64).view(1, C, 1, 1, 1) for one in ((0.4, 0.5), (0.2, 0.1)))
    ready = model().preprocess(raw)
    torch.testing.assert_close(ready.unflatten(1, (C, T)), (raw - mean) / std)
    torch.testing.assert_close(model().denormalize(ready)[:, :1], raw.mean((1, 2))[:, None])
    colour = tp.wrap(nn.Sequential(nn.Conv3d(3, 2, 1), nn.AdaptiveAvgPool3d(1), nn.Flatten()), size=H, frames=4, mean=(0.5,) * 3, std=(1.0,) * 3)  # fmt: skip # noqa: E501
    film = torch.rand(1, 3, 4, H, H, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(colour.denormalize(colour.preprocess(film)), film.mean(2))


def test_the_figure_is_a_row_of_slices() -> None:
    figure = tp.show(tp.saliency(model(), films(), 1), pixels=model().denormalize(films().flatten(1, 2)))
    titles = [axes.get_title(loc="left") or axes.get_title() for axes in figure.axes]
    assert len(figure.axes) == 2 * T
    assert [one for one in titles if one][:2] == ["frame 0", "frame 1"]
    plt.close("all")


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda: tp.wrap(network()), ModelError, r"takes films or volumes .* tp.wrap\(..., frames=16\)"),
        (lambda: model(frames=0), ModelError, "frames is how many frames"),
        (lambda: tp.saliency(model(), films()[:, :, :4], 1), ImageError, r"films are \(n, 2, 6, h, w\) here"),
        (lambda: tp.saliency(model(), films()[0], 1), ImageError, "takes 12 channels, these images .* have 6"),
        (lambda: tp.saliency(tp.wrap(nn.Conv2d(3, 3, 1), size=8, mean=(0.0,) * 3, std=(1.0,) * 3), films(), 1), ImageError,
         r"images are \(n, c, h, w\), not .* tp.wrap\(..., frames=6\)"),
        (lambda: tp.grad_cam(model(), films(), 1), LayerError, "no spatial map"),
    ],
)  # fmt: skip
def test_refusals_name_what_works(ask: Callable[[], object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ask()


def test_a_wrong_size_of_films_is_refused_in_plain_words() -> None:
    fixed = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 4 * 8 * 8, 3))
    wrapped = tp.wrap(fixed, frames=4, mean=(0.0,), std=(1.0,))
    assert wrapped.preprocessing.size == (8, 8)
    with pytest.raises(ImageError, match="takes no images of 16 x 16 px but 8 x 8"):
        tp.saliency(wrapped, torch.zeros(1, 1, 4, 16, 16), 1)
