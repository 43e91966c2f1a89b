"""CKA without bias: an independent derivation, its laws, its error, and one grounding in networks whose likeness is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from zoo import vision_model

import tapetum as tp
from tapetum.engines.alignment import Centered, cka
from tapetum.types import LayerError, MethodError


def drawn(n: int, p: int, seed: int) -> Tensor:
    return torch.randn(n, p, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_tuples(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """HSIC as the mean over all ordered pairs, triples and quadruples of different samples: a U-statistic, by definition.

    E[K_ij L_ij] + E[K_ij L_kl] - 2 E[K_ij L_ik], indices all different.
    """
    k, q, n = x @ x.T, y @ y.T, len(x)
    different = ~np.eye(n, dtype=bool)
    two = different
    three = different[:, :, None] & different[:, None, :] & different[None, :, :]
    four = three[:, :, :, None] & different[:, None, None, :] & different[None, :, None, :] & different[None, None, :, :]
    pairs = (k * q)[two].mean()
    stars = np.einsum("ij,ik->ijk", k, q)[three].mean()
    ends = np.einsum("ij,kl->ijkl", k, q)[four].mean()
    return float(pairs + ends - 2 * stars)


def test_the_estimate_is_the_mean_over_all_tuples_of_different_samples() -> None:
    x, y = drawn(9, 4, 0), drawn(9, 3, 1)
    y[:, 0] += x[:, 0]
    a, b = x.numpy(), y.numpy()
    expected = by_tuples(a, b) / math.sqrt(by_tuples(a, a) * by_tuples(b, b))
    assert cka(Centered.of(x), Centered.of(y))[0] == pytest.approx(expected, abs=1e-12)


def test_wide_and_narrow_features_take_two_ways_to_one_number() -> None:
    x, y = drawn(30, 200, 0), drawn(30, 3, 1)
    y += x[:, :3]
    padded = torch.cat([y, torch.zeros(30, 400, dtype=torch.float64)], 1)  # too wide for products of features
    assert cka(Centered.of(x), Centered.of(y)) == pytest.approx(cka(Centered.of(x), Centered.of(padded)), abs=1e-12)


def test_the_error_is_that_of_leaving_out_one_picture_at_a_time() -> None:
    x, y = drawn(12, 5, 0), drawn(12, 6, 1)
    y[:, :5] += x
    kept = [[j for j in range(12) if j != i] for i in range(12)]
    each = torch.tensor([cka(Centered.of(x[rows]), Centered.of(y[rows]))[0] for rows in kept], dtype=torch.float64)
    expected = math.sqrt(11 / 12 * float((each - each.mean()).square().sum()))
    assert cka(Centered.of(x), Centered.of(y))[1] == pytest.approx(expected, rel=1e-6)


def test_a_layer_is_itself_and_what_is_rotated_scaled_or_moved_stays_alike() -> None:
    x, y = drawn(50, 8, 0), drawn(50, 8, 1) + drawn(50, 8, 0)
    turned = torch.linalg.qr(drawn(8, 8, 2)).Q
    value = cka(Centered.of(x), Centered.of(y))[0]
    assert cka(Centered.of(x), Centered.of(x))[0] == pytest.approx(1, abs=1e-12)
    for other in (y @ turned, 1e-6 * y, y + 1e4):  # 1e4: sixteen digits less four, twice
        assert cka(Centered.of(x), Centered.of(other))[0] == pytest.approx(value, abs=1e-7)
    assert cka(Centered.of(x), Centered.of(y @ torch.diag(torch.arange(1.0, 9).double())))[0] < value  # a stretch is another


def test_unrelated_features_have_none_though_the_usual_estimator_says_a_half() -> None:
    found, usual = [], []
    for seed in range(20):
        x, y = drawn(100, 100, seed), drawn(100, 100, 100 + seed)
        found.append(cka(Centered.of(x), Centered.of(y))[0])
        x, y = x - x.mean(0), y - y.mean(0)
        usual.append(float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())))
    assert abs(np.mean(found)) < 0.01  # 20 draws whose spread is .01
    assert max(map(abs, found)) < 0.05
    assert min(usual) > 0.45


# --- of networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for i in range(14):
        coarse = Image.fromarray(generator.integers(0, 255, (5, 6, 3), dtype=np.uint8))
        coarse.resize((24, 20), Image.Resampling.BICUBIC).save(place / f"{i:02d}.png")
    (place / "bad.png").write_text("no picture")
    return place


def test_batches_change_nothing_and_a_network_is_itself(folder: Path) -> None:
    model = vision_model("residual")
    whole = tp.cka(model, model, folder, batch=14)
    for batch in (1, 3, 5):
        again = tp.cka(model, model, folder, batch=batch)
        torch.testing.assert_close(again.values, whole.values, rtol=0, atol=1e-9)  # the last bits of a pass alone
        torch.testing.assert_close(again.values.diagonal(), torch.ones(len(whole)).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(whole.values, whole.values.T)
    assert list(whole.skipped) == ["bad.png"]
    assert whole.pictures == 14
    assert "channel means over all places" in str(whole)


def test_values_are_those_of_captured_maps(folder: Path) -> None:
    a, b = vision_model("residual"), vision_model("in_place")
    found = tp.cka(a, b, folder, {"a": ["first"], "b": ["features"]}, cells=2)
    images = torch.cat([a.preprocess(folder / f"{i:02d}.png") for i in range(14)])
    maps: list[np.ndarray[Any, Any]] = []
    for model, layer in ((a, "first"), (b, "features")):
        with tp.capture(model, [layer]) as acts:
            model(images)
        h, w = acts[layer].shape[-2:]
        maps.append(acts[layer].reshape(14, -1, 2, h // 2, 2, w // 2).mean((3, 5)).flatten(1).detach().numpy())
    expected = by_tuples(maps[0], maps[1]) / math.sqrt(by_tuples(maps[0], maps[0]) * by_tuples(maps[1], maps[1]))
    assert float(found.values) == pytest.approx(expected, abs=1e-9)


def test_networks_of_other_seeds_are_more_alike_than_networks_of_other_data() -> None:
    """One grounding test of ReSi: what learned the same task is nearer than what learned another."""
    given: dict[str, Any] = {"epochs": 3, "batch": 32, "learning_rate": 3e-3}
    shapes = [tp.train(tp.planted("shapes", 240, 32, seed=1), seed=seed, **given).model for seed in (0, 1)]
    tint = tp.planted("shapes", 240, 32, seed=1, shortcut="color", rate=1.0)  # the colour names the class
    other = tp.train(tint, seed=1, **given).model
    pictures = tp.planted("shapes", 60, 32, seed=2)
    last = shapes[0].layers()[-1].name
    same, another = (float(tp.cka(shapes[0], one, pictures, [last]).values) for one in (shapes[1], other))
    assert same > another + 0.05


def test_few_pictures_and_layers_that_are_not_there_are_refused(folder: Path) -> None:
    model = vision_model("residual")
    with pytest.raises(MethodError, match=r"^CKA without bias takes at least 4 pictures, and there are 3$"):
        tp.cka(model, model, [folder / f"{i:02d}.png" for i in range(3)])
    with pytest.raises(LayerError, match="no layer 'third'"):
        tp.cka(model, model, folder, ["third"])
    four = tp.cka(model, model, [folder / f"{i:02d}.png" for i in range(4)])
    assert four.errors.isnan().all()  # no picture can be left out
