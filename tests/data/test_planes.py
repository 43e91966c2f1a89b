"""Batches are what `read_image` makes of each picture; raw values, bands and any order of axes enter, or are refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import tapetum as tp
from tapetum.notes import noting
from tapetum.types import ImageError, ModelError


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def small(channels: int = 3) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
        return nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), *head)


def model(channels: int = 3, **options: object) -> tp.VisionModel:
    given = {"mean": (0.4,) * channels, "std": (0.2,) * channels, "size": 16}
    return tp.wrap(small(channels).eval(), **{**given, **options})  # type: ignore[arg-type]


LEVELS = (noise(3, 3, 16, 16) * 255).to(torch.uint8)


# --- batches


@pytest.mark.parametrize(
    "batch",
    [
        LEVELS,
        LEVELS.float() / 255,
        (LEVELS.float() / 255).half(),
        LEVELS.to(torch.uint16) * 257,
        LEVELS > 99,
        LEVELS[:, :1],
        torch.cat([LEVELS, LEVELS[:, :1]], 1),
        LEVELS.permute(0, 2, 3, 1),
        LEVELS.permute(0, 2, 3, 1).numpy(),
        LEVELS.numpy(),
        (noise(2, 3, 30, 21) * 255).to(torch.uint8),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_is_what_read_image_makes_of_each_picture(batch: Tensor | np.ndarray, channels: int) -> None:
    network = model(channels)
    each = torch.cat([network.preprocessing(tp.read_image(one)) for one in batch])
    assert torch.equal(network.preprocess(batch), each)
    assert torch.equal(network.preprocess(list(batch)), each)


def test_a_batch_of_bytes_is_hand_made_preprocessing() -> None:
    expected = (LEVELS.double() / 255 - 0.4) / 0.2
    torch.testing.assert_close(model().preprocess(LEVELS).double(), expected, rtol=0, atol=1e-6)
    found = tp.saliency(model(), LEVELS, 1)  # bytes are pictures wherever images enter
    ready = expected.float().requires_grad_()
    (gradient,) = torch.autograd.grad(small().eval()(ready)[:, 1].sum(), ready)
    torch.testing.assert_close(found.values, gradient.abs(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (LEVELS.float(), "divide by 255"),
        (torch.full((2, 3, 8, 8), float("nan")), "NaN or infinity"),
        (torch.full((2, 3, 8, 8), float("inf")), "NaN or infinity"),
        (LEVELS.to(torch.int16), r"torch.int16 has no known range; .* tp.wrap\(..., range=\(low, high\)\)"),
        (LEVELS.to(torch.int64), "has no known range"),
        (torch.zeros(2, 5, 8, 8), r"a batch of pictures is \(n, 1 \| 3 \| 4, H, W\), not \(2, 5, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), "holds no pixels"),
        ([LEVELS, torch.tensor([0, 1, 2])], "pair of images .* and labels was given: give the images"),
        ((LEVELS.float() / 255, torch.eye(3)), "pair of images .* and labels was given"),
        ([], "no images were given"),
        (torch.zeros(3, 8, 8, dtype=torch.complex64), "complex"),
    ],
)
def test_what_is_no_batch_is_refused_in_words(batch: object, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        model().preprocess(batch)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (model().preprocess(LEVELS)[0], r"values from -\d.* model-ready images have a batch axis: x\[None\]"),
        (LEVELS[0].float(), "divide by 255"),
        (LEVELS.float(), "look like 0..255 values; use model.preprocess"),
        (model().preprocess(LEVELS).permute(0, 2, 3, 1), r"have 16; their channels are last: x.permute\(0, 3, 1, 2\)"),
        ([LEVELS.float() / 255, torch.zeros(3)], "pair of images"),
        (
            {"pixel_values": torch.zeros(1, 3, 16, 16), "labels": torch.zeros(1)},
            r"a dict is no image; .*, such as its \['pixel_values'\]",
        ),
        ([torch.rand(3, 16, 16), 1], "an int is no image"),
        (torch.zeros(2, 3, 4, 16, 16), r"for films or volumes, tp.wrap\(..., frames=4\)"),
        (LEVELS.to(torch.int16), "has no known range"),
    ],
)
@pytest.mark.parametrize("method", [tp.grad_cam, tp.occlusion, tp.layer_table])
def test_methods_refuse_them_in_the_same_words(images: object, words: str, method: object) -> None:
    with pytest.raises(ImageError, match=words):
        method(model(), images)  # type: ignore[operator]


def test_doubles_keep_their_digits() -> None:
    pixels = noise(1, 3, 16, 16).double()
    network = tp.wrap(small().double(), size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert torch.equal(network.preprocess(pixels), pixels)


# --- raw values


@pytest.mark.parametrize(
    ("span", "raw"),
    [
        ((0, 4095), (noise(1, 16, 16) * 4095).round().to(torch.int16)),
        ((0, 4095), (noise(1, 16, 16) * 4095).round()),
        ((0, 4095), (noise(1, 16, 16) * 5000).round().to(torch.uint16)),
        ((-160, 240), noise(1, 16, 16) * 3000 - 1000),
        ((0, 0.4), noise(1, 16, 16)),
        ((0, 200), (noise(1, 16, 16) * 255).to(torch.uint8)),
    ],
)
def test_raw_values_are_linear_in_their_range_and_clipped(span: tuple[float, float], raw: Tensor) -> None:
    low, high = span
    network = model(1, range=span)
    expected = (((raw.double() - low) / (high - low)).clamp(0, 1) - 0.4) / 0.2
    for given in (raw, raw[None], raw[0], raw.numpy(), raw[0].numpy(), raw[None].numpy(), [raw]):
        torch.testing.assert_close(network.preprocess(given)[0].double(), expected, rtol=0, atol=1e-5)
    assert f"raw values {low:g} to {high:g} as 0 to 1" in network.preprocessing.describe()


def test_a_file_of_twelve_bits_is_raw(tmp_path: Path) -> None:
    raw = (noise(16, 16) * 4095).round().numpy().astype(np.uint16)
    Image.fromarray(raw).save(tmp_path / "scan.png")
    np.save(tmp_path / "scan.npy", raw)
    network = model(1, range=(0, 4095))
    for place in (tmp_path / "scan.png", tmp_path / "scan.npy", (tmp_path / "scan.npy").read_bytes()):
        torch.testing.assert_close(network.preprocess(place), network.preprocess(raw))
    torch.testing.assert_close(network.denormalize(network.preprocess(raw))[0, 0], torch.tensor(raw / 4095).float())
    assert tp.grad_cam(network, tmp_path / "scan.png", 1).size == (16, 16)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (LEVELS[0], "torch.uint8 .*0 to 4095"),
        (noise(1, 16, 16), r"are pixels in \[0, 1\]; this model takes raw values from 0 to 4095"),
        (torch.full((1, 4, 4), float("nan")), "NaN"),
    ],
)
def test_pixels_are_refused_where_raw_values_are_meant(given: Tensor, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        model(1, range=(0, 4095)).preprocess(given)


@pytest.mark.parametrize("wrong", [(1, 1), (2, 1), (0,), (0, float("inf")), (float("nan"), 1)])
def test_a_range_is_two_numbers_in_order(wrong: object) -> None:
    with pytest.raises((ImageError, ModelError), match=r"range is \(low, high\)"):
        model(range=wrong)


# --- one channel, and bands


def test_bands_enter_in_both_orders_and_from_files(tmp_path: Path) -> None:
    bands = noise(12, 16, 20)
    network = model(12, size=(16, 20))
    np.save(tmp_path / "bands.npy", bands.numpy())
    buffer = io.BytesIO()
    np.save(buffer, bands.numpy())
    arrays = bands.numpy(), bands.permute(1, 2, 0).numpy()
    for given in (*arrays, bands, bands.permute(1, 2, 0), bands[None], tmp_path / "bands.npy", buffer.getvalue(), [bands]):
        torch.testing.assert_close(network.preprocess(given), (bands[None] - 0.4) / 0.2)
    with pytest.raises(ImageError, match=r"shape \(16, 20, 3\) is not \(12, H, W\)"):
        network.preprocess(np.zeros((16, 20, 3), np.uint8))
    with pytest.raises(ImageError, match=r"is not \(12, H, W\)"):
        network.preprocess(Image.new("RGB", (20, 16)))


def test_twelve_bands_are_shown_as_their_mean_and_it_is_said() -> None:
    network, bands = model(12), noise(2, 12, 16, 16)
    shown = network.denormalize(network.preprocess(bands))
    torch.testing.assert_close(shown, bands.mean(1, keepdim=True).expand(-1, 3, -1, -1))
    assert "12 bands, shown as their mean in grey" in network.preprocessing.describe()
    with noting() as said:
        network.denormalize(network.preprocess(bands))
    assert said == ["pictures show the mean over the 12 bands, in grey"]


def test_grey_files_reach_a_network_of_one_channel_unchanged(tmp_path: Path) -> None:
    raw = (noise(16, 16) * 65535).round().numpy().astype(np.uint16)
    Image.fromarray(raw).save(tmp_path / "grey16.png")
    found = model(1).preprocess(tmp_path / "grey16.png")
    torch.testing.assert_close(found[0, 0].double(), (torch.tensor(raw / 65535.0) - 0.4) / 0.2, rtol=0, atol=1e-6)


def test_arrays_are_read_with_their_channels_first_or_last() -> None:
    pixels = noise(3, 8, 9)
    for given in (pixels, pixels.numpy(), pixels.permute(1, 2, 0), pixels.permute(1, 2, 0).numpy()):
        assert torch.equal(tp.read_image(given), pixels[None])


def test_damaged_arrays_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(tmp_path / "objects.npy", np.array([[{}]], dtype=object))
    for name, words in (("cut", "no arrays can be read"), ("objects", "an array of object")):
        with pytest.raises(ImageError, match=rf"{name}\.npy is damaged: {words}"):
            tp.read_image(tmp_path / f"{name}.npy")
