"""Fine-tuning: the head that is found, what stays as it was, and that the quick way gives what the long way gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from stripes import SIDE, noisy, settings, stripes
from test_training import numbers, same
from torch import Tensor, nn
from zoo import vision_model

import tapetum as tp
from tapetum.models.zoo.heads import find_head
from tapetum.training import fine_tune
from tapetum.types import ModelError

TORCHVISION = {
    "resnet18": "fc", "squeezenet1_1": "classifier.1", "mobilenet_v3_small": "classifier.3", "densenet121": "classifier",
    "googlenet": "fc", "shufflenet_v2_x0_5": "fc", "simple_cnn": "classifier", "efficientnet_lite0": "classifier",
}  # fmt: skip
TIMM = ("vit_tiny_patch16_224", "convnext_atto", "mobilevit_xxs", "resnetv2_50", "mixer_s32_224", "ghostnet_050")


def weights(model: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


# --- the head


@pytest.mark.parametrize(("name", "head"), TORCHVISION.items())
def test_the_head_is_the_last_layer_that_gives_the_classes(name: str, head: str) -> None:
    assert find_head(tp.load(name, weights=None)) == head


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_the_head_is_what_timm_calls_the_classifier(name: str) -> None:
    model = tp.load(f"timm:{name}", weights=None)
    assert model.module.get_submodule(find_head(model)) is model.module.get_classifier()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet1_1", "timm:vit_tiny_patch16_224", "googlenet"])
def test_a_new_head_gives_the_new_classes(name: str) -> None:
    given = tp.load(name, weights=None)
    before = weights(given)
    history = fine_tune(given, stripes(8), epochs=1, batch=4, learning_rate=0.01)
    images = history.model.preprocess(stripes(2)[0])
    table = history.model(images)
    assert table.shape == (2, 2)
    assert history.model.labels == ("lying", "upright")
    assert not changed(before, weights(given))


def test_two_heads_and_none_are_refused() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, images: Tensor) -> Tensor:
            return self.a(images.mean((2, 3))) + self.b(images.mean((2, 3)))

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4))

        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) @ self.weight

    with pytest.raises(ModelError, match="does not work with another head"):
        fine_tune(tp.wrap(Two(), size=SIDE), stripes(8))
    with pytest.raises(ModelError, match="no head to replace"):
        fine_tune(tp.wrap(Plain(), size=SIDE), stripes(8))


# --- what stays


def test_frozen_features_stay_to_the_last_bit_and_the_users_model_is_untouched() -> None:
    given = noisy()
    before = weights(given)
    history = fine_tune(given, stripes(), **settings(augment="none"))
    assert changed(before, weights(history.model)) == {"last.weight", "last.bias"}
    assert not changed(before, weights(given))
    assert given.labels is None
    assert all(parameter.grad is None for parameter in given.module.parameters())


def test_features_computed_once_give_what_passes_through_the_network_give(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = fine_tune(vision_model("residual"), stripes(), **settings(augment="none"))
    monkeypatch.setattr("tapetum.training.training.features_of", lambda *_: None)
    slow = fine_tune(vision_model("residual"), stripes(), **settings(augment="none"))
    # float64; the features come from other batches: convolutions may sum in another order
    assert torch.tensor(numbers(quick)).allclose(torch.tensor(numbers(slow)), rtol=1e-9)


def test_up_to_a_layer_everything_stays() -> None:
    history = fine_tune(tp.load("simple_cnn"), stripes(), **settings(freeze="features.1"))
    moved = changed(weights(tp.load("simple_cnn")), weights(history.model))
    assert {name.split(".")[1] for name in moved if name.startswith("features")} == {"2"}
    assert "features.2.0.weight" in moved
    everything = fine_tune(tp.load("simple_cnn"), stripes(), **settings(freeze=None))
    assert {name.split(".")[0] for name in changed(weights(tp.load("simple_cnn")), weights(everything.model))} >= {"features"}


def test_a_frozen_vit_keeps_its_tokens_and_positions() -> None:
    model = tp.load("timm:test_vit", weights=None)
    history = fine_tune(model, stripes(8), epochs=1, batch=4, freeze="blocks.0", learning_rate=0.01)
    moved = changed(weights(model), weights(history.model))
    assert not {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} & moved
    assert "blocks.1.attn.qkv.weight" in moved


@pytest.mark.parametrize(("freeze", "why"), [("features.9", "features.9"), ("classifier", "leaves nothing")])
def test_a_layer_that_cannot_be_the_last_frozen_one_is_refused(freeze: str, why: str) -> None:
    with pytest.raises(Exception, match=why):
        fine_tune(tp.load("simple_cnn"), stripes(8), **settings(freeze=freeze))


# --- again


def test_an_interrupted_fine_tuning_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = fine_tune("simple_cnn", stripes(), **settings(augment="none"))
    fine_tune("simple_cnn", stripes(), **settings(augment="none", epochs=2), out=tmp_path)
    again = fine_tune("simple_cnn", stripes(), **settings(augment="none"), out=tmp_path)
    assert same(whole, again)
    images = again.model.preprocess(stripes(4)[0])
    assert torch.equal(tp.load(str(tmp_path))(images), again.model(images))


@pytest.mark.weights
@pytest.mark.slow
def test_lite0_learns_four_planted_objects_in_a_moment() -> None:
    data = tp.planted("objects", n=96, size=96, classes=("house", "fish", "car", "cup"))
    history = fine_tune("efficientnet_lite0", data, size=96, epochs=12, batch=16, learning_rate=3e-3)
    assert history.accuracy > 0.8


@pytest.mark.weights
@pytest.mark.slow
def test_the_examples_of_how_to_train_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).resolve().parents[2] / "docs" / "howto" / "train.md").read_text("utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "train.md", "exec"), names)
    assert names["model"].labels == ("car", "fish")
    assert (tmp_path / "mistakes.png").stat().st_size > 0
