"""Any size and any number of channels: what a network takes is found, said, and never torch's own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from zoo import net, vision_model

import tapetum as tp
from tapetum.data.preprocessing import Preprocessing
from tapetum.models import vision_model as vision_models
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.trained import ABOUT
from tapetum.types import ImageError, ModelError


class Spectrogram(nn.Module):
    """One channel, 64 x 128, and a linear layer that takes no other size."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.classifier = nn.Linear(6 * 8 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


def build(module: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module().double().eval()


def test_blank_and_noise_are_model_ready() -> None:
    model = tp.wrap(build(Spectrogram), size=(64, 128))
    assert model.blank(2).shape == (2, 1, 64, 128)
    assert model.noise(3, size=(8, 9)).shape == (3, 1, 8, 9)
    assert model.noise().dtype == torch.float64
    assert torch.equal(model.noise(2, seed=4), model.noise(2, seed=4))
    assert not torch.equal(model.noise(2, seed=4), model.noise(2, seed=5))
    assert not model.blank().any()


@pytest.mark.parametrize("size", ["64x128", (64, 128), [64, 128]])
def test_a_rectangle_goes_through_wrap_to_the_map(size: object) -> None:
    module = build(Spectrogram)
    model = tp.wrap(module, size=size, mean=(0.5,), std=(0.25,))  # type: ignore[arg-type]
    assert (model.preprocessing.size, model.preprocessing.resize) == ((64, 128), "crop")
    pixels = torch.rand(2, 1, 64, 128, generator=torch.Generator().manual_seed(0))
    images = ((pixels.double() - 0.5) / 0.25).requires_grad_()
    (expected,) = torch.autograd.grad(module(images)[:, 2].sum(), images)
    found = tp.saliency(model, images.detach(), 2)
    torch.testing.assert_close(found.values, expected.abs())
    assert model.survey.image_size == (64, 128)


@pytest.mark.parametrize(
    "constants", [0.5, (0.5,) * 3, [0.5] * 3, torch.full((3,), 0.5), np.full(3, 0.5), torch.full((1, 3, 1, 1), 0.5)]
)
def test_constants_in_any_form_are_one_per_channel(constants: Any) -> None:
    model = tp.wrap(
        nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=8, mean=constants, std=constants
    )
    assert model.preprocessing.mean == model.preprocessing.std == (0.5,) * 3
    pixels = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(model.preprocess(pixels), (pixels - 0.5) / 0.5)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"mean": 0.5, "std": 0}, "std is a number above zero per channel"),
        ({"mean": 0.5, "std": (0.1, -0.1, 0.1)}, "std is a number above zero per channel"),
        ({"mean": float("nan"), "std": 1.0}, "mean a number, not"),
        ({"mean": "half", "std": 1.0}, "mean and std are one number per channel each, not 'half'"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 2}, "mean has 3 numbers and std 2"),
    ],
)
def test_constants_that_are_none_are_refused(more: dict[str, Any], words: str) -> None:
    with pytest.raises((ImageError, ModelError), match=words):
        tp.wrap(nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), size=8, **more)


def test_squash_goes_through_wrap() -> None:
    model = tp.wrap(build(Spectrogram), size=(64, 128), mean=(0.0,), std=(1.0,), resize="squash")
    assert model.preprocess(torch.rand(1, 3, 300, 50)).shape == (1, 1, 64, 128)
    assert model.preprocessing.resize == "squash"


@pytest.mark.parametrize(("saved", "expected"), [(16, (16, 16)), ([16, 24], (16, 24))])
def test_saved_sizes_load_as_a_number_or_a_pair(tmp_path: Path, saved: object, expected: tuple[int, int]) -> None:
    data = torch.randint(0, 256, (8, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tp.train((data, torch.arange(8) % 2), out=tmp_path / "net", epochs=1)
    about = json.loads((tmp_path / "net" / ABOUT).read_text())
    about["preprocessing"] |= {"size": saved, "resize": None}  # None is how networks that squash were saved before
    (tmp_path / "net" / ABOUT).write_text(json.dumps(about))
    assert tp.load(str(tmp_path / "net")).preprocessing.size == expected
    assert tp.load(str(tmp_path / "net")).preprocessing.resize == "squash"


def test_the_networks_of_the_zoo_keep_what_was_published() -> None:
    lite = tp.load("efficientnet_lite0", weights="random").preprocessing
    assert lite == Preprocessing((224, 224), 256, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert tp.load("resnet18", weights="random").preprocessing == Preprocessing((224, 224), 256)


def test_a_model_shows_its_size() -> None:
    model = VisionModel(vision_model("reused").module, "net", Preprocessing((16, 24), "squash"))
    assert repr(model) == "VisionModel(net, 16 x 24 px, no labels)"


# --- what a network takes is found


class LeNet(nn.Module):
    """As in tutorials: 28 x 28, one channel, `view(-1, 256)`, which turns one image of 44 x 44 into four rows."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2 = nn.Linear(256, 20), nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.one(x).relu(), 2)
        x = F.max_pool2d(self.two(x).relu(), 2)
        return self.fc2(self.fc1(x.view(-1, 256)).relu())


class Patches(nn.Module):
    """A transformer that cuts patches by a linear layer and reads only as many positions as there are patches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 8 * 8, 16)
        self.pos_embedding = nn.Parameter(torch.randn(1, 37, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        cells = x.view(n, 3, h // 8, 8, w // 8, 8).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, 192)
        tokens = self.embed(cells)
        tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
        return self.head((tokens + self.pos_embedding[:, : tokens.shape[1]]).mean(1))


class Shell(nn.Module):
    """Somebody's own module around a published network."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Configured(nn.Module):
    """As Hugging Face's networks: a configuration says size and channels; another size is a ValueError."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(image_size=[40, 48], num_channels=2)
        self.stem, self.head = nn.Conv2d(2, 4, 3), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-2:]) != (40, 48):
            raise ValueError(f"Input image size ({x.shape[-2]}*{x.shape[-1]}) doesn't match model (40*48).")
        return self.head(self.stem(x).mean((2, 3)))


def linear(values: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(values, 8), nn.ReLU(), nn.Linear(8, 5))


def one_channel_resnet() -> nn.Module:
    module = torchvision.models.resnet18()
    module.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return module


def bands() -> nn.Module:
    return nn.Sequential(nn.Conv2d(12, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


@pytest.mark.parametrize(
    ("module", "channels", "size", "said"),
    [
        (LeNet, 1, (28, 28), "found by trial"),
        (lambda: linear(784), 1, (28, 28), "its first linear layer takes 1 x 28 x 28 px"),
        (lambda: linear(3072), 3, (32, 32), "its first linear layer takes 3 x 32 x 32 px"),
        (Patches, 3, (48, 48), "learned positions of 6 x 6 patches of 8 px"),
        (lambda: timm.create_model("vit_tiny_patch16_224", img_size=96), 3, (96, 96), None),
        (lambda: Shell(timm.create_model("vit_tiny_patch16_224", img_size=96)), 3, (96, 96), None),
        (lambda: torchvision.models.VisionTransformer(64, 16, 1, 2, 32, 64), 3, (64, 64), None),
        (Configured, 2, (40, 48), None),
        (one_channel_resnet, 1, (224, 224), None),
        (bands, 12, (224, 224), None),
        (torchvision.models.resnet18, 3, (224, 224), None),
        (lambda: torchvision.models.SwinTransformer([4, 4], 16, [1, 1], [2, 2], [7, 7]), 3, (224, 224), None),
    ],
)  # fmt: skip
def test_size_and_channels_are_found_and_run(
    module: Callable[[], nn.Module], channels: int, size: tuple[int, int], said: str | None
) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = module().eval()
    model = tp.wrap(network)
    assert (model.preprocessing.channels, model.preprocessing.size) == (channels, size)
    found = [note for note in model.notes if "mean and std" not in note]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]
    with torch.no_grad():
        expected = network(model.noise(2))
        assert torch.equal(model(model.noise(2)), expected)
    assert len(expected) == 2


def test_a_rectangle_that_a_linear_layer_needs_is_named_not_guessed() -> None:
    with pytest.raises(ModelError, match=r"Spectrogram takes images of no usual size: .* size=\(64, 128\) or size=\(128, 64\)"):
        tp.wrap(build(Spectrogram))
    module = build(Spectrogram)
    images = torch.randn(1, 1, 64, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert tp.grad_cam(module, images, 1).size == (64, 128)  # the images say it


def test_what_a_trial_found_is_in_every_result() -> None:
    model = tp.wrap(LeNet().eval())
    found = tp.saliency(model, model.noise(), 3)
    assert any("takes images of 28 x 28 px, found by trial" in one for one in found.notes)
    assert any("found by trial" in one for one in tp.layer_table(model, model.noise()).notes)


@pytest.mark.parametrize("size", [(64, 64), (32, 128), (9, 9)])
@pytest.mark.parametrize(
    "ask",
    [
        lambda model, images: tp.saliency(model, images, 1),
        lambda model, images: tp.grad_cam(model, images, 1),
        lambda model, images: tp.occlusion(model, images),
        lambda model, images: tp.lrp(model, images, 1),
        lambda model, images: tp.predict(model, images),
        lambda model, images: tp.layer_table(model, images),
        lambda model, images: tp.evaluate(model, images, tp.edge_attribution(model, images)),
    ],
)
def test_no_word_of_torch_where_the_size_is_wrong(size: tuple[int, int], ask: Callable[..., object]) -> None:
    model = tp.wrap(build(Spectrogram), size=(64, 128))
    words = f"Spectrogram takes no images of {size[0]} x {size[1]} px but 64 x 128: "
    with pytest.raises(ImageError, match=words) as caught:
        ask(model, torch.randn(2, 1, *size, dtype=torch.float64))
    assert "mat" not in str(caught.value)


def test_a_wrong_size_in_wrap_is_named_where_the_model_is_asked() -> None:
    model = tp.wrap(build(Spectrogram), size=64)
    for ask in (lambda: model.layers(), lambda: tp.visualize(model, "features.2:1", n_steps=1), lambda: model.survey):
        with pytest.raises(ImageError, match="takes no images of 64 x 64 px but 64 x 128 or 128 x 64"):
            ask()


@pytest.mark.parametrize("n", [1, 2])
def test_a_view_that_mixes_images_is_refused(n: int) -> None:
    model = tp.wrap(LeNet().eval())
    with pytest.raises(ImageError, match="takes no images of 44 x 44 px but 28 x 28"):
        tp.saliency(model, torch.randn(n, 1, 44, 44), 3)


class ByName(nn.Module):
    def forward(self, *, pixels: Tensor) -> Tensor:
        return pixels.mean((2, 3))


class InATable(nn.Module):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["image"].mean((2, 3))


@pytest.mark.parametrize(
    ("build", "words", "call"),
    [
        (ByName, r"TypeError: .* positional argument.*call=lambda network, images: network\(pixels=images\)\)",
         lambda network, images: network(pixels=images)),
        (InATable, r"IndexError: .*call=lambda network, images: network\({\"image\": images}\)\)",
         lambda network, images: network({"image": images})),
    ],
)  # fmt: skip
def test_networks_that_take_their_images_otherwise_say_how(build: Any, words: str, call: Callable[..., Tensor]) -> None:
    images = torch.randn(2, 3, 8, 8)
    for ask in (tp.saliency, tp.occlusion, tp.grad_cam):
        with pytest.raises(ImageError, match=rf"{build.__name__} does not run on images of 3 x 8 x 8 \({words}"):
            ask(tp.wrap(build(), size=8), images, 1)
    maps = tp.saliency(tp.wrap(build(), size=8, call=call), images, 1)
    torch.testing.assert_close(maps.values[:, 1], torch.full((2, 8, 8), 1 / 64))


def test_other_errors_keep_their_words() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if x.requires_grad:
                raise RuntimeError("my own words")
            return x.mean((2, 3))

    with pytest.raises(RuntimeError, match="my own words"):
        tp.saliency(tp.wrap(Broken(), size=8), torch.randn(1, 3, 8, 8), 1)


# --- the survey goes by the images


def test_a_fully_convolutional_network_is_surveyed_at_the_images_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[tuple[int, ...]] = []
    survey = vision_models.survey

    def noted(module: nn.Module, images: Tensor, *rest: Any) -> Any:
        sizes.append(tuple(images.shape[-2:]))
        return survey(module, images, *rest)

    monkeypatch.setattr(vision_models, "survey", noted)
    model = tp.wrap(net("residual"))
    images = torch.randn(1, 3, 24, 40, dtype=torch.float64)
    cam = tp.grad_cam(model, images, 1)
    assert cam.values.shape[-2:] == (12, 20)
    tp.occlusion(model, images, 1, window=20, stride=20)
    assert sizes == [(24, 40)]
    assert model.survey.image_size == (224, 224)


def test_the_layer_is_chosen_at_the_images_size() -> None:
    """At 8 x 8 the last convolutions of this network give one cell: the last layer with a map is an earlier one."""
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.ReLU(), nn.Linear(3, 3)
    module = nn.Sequential(*[nn.Conv2d(3, 3, 3, 2, 1) for _ in range(4)], *head).double()
    model = tp.wrap(module, size=64)
    assert tp.grad_cam(model, torch.randn(1, 3, 64, 64, dtype=torch.float64), 1).layer == "3"
    assert tp.grad_cam(model, torch.randn(1, 3, 8, 8, dtype=torch.float64), 1).layer == "1"
    assert tp.grad_cam(model, torch.randn(1, 3, 64, 64, dtype=torch.float64), 1).layer == "3"
