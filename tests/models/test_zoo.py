"""Models come with the right weights and preprocessing, and a `VisionModel` works on a replica that shares its weights."""

from __future__ import annotations

import csv
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from zoo import pictures, vision_model

import tapetum as tp
from tapetum.models.zoo import SimpleCNN
from tapetum.types import Attribution, ImageError, ModelError

# Photographs are not part of the project: only where someone has put them beside it can this be measured.
PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "photos.csv"


@pytest.mark.slow
@pytest.mark.weights
@pytest.mark.skipif(not PHOTOS.is_file(), reason="no photographs beside the project")
def test_efficientnet_lite0_names_photographs() -> None:
    model = tp.load("efficientnet_lite0")
    with PHOTOS.open() as lines:
        rows = list(csv.DictReader(lines))
    right = 0
    for row in rows:
        (top,) = tp.predict(model, PHOTOS.parent / "photos" / row["file"], k=1)[0]
        right += top.index == int(row["imagenet_index"])
    # .888 on a thousand such photographs; symmetric padding gives .814 and the usual ImageNet constants .776
    assert right / len(rows) >= 0.88


@pytest.mark.weights
def test_preprocessing_is_pils_bicubic_resize_and_a_central_cut() -> None:
    model = tp.load("efficientnet_lite0")
    rng = np.random.default_rng(0)
    for width, height in ((500, 375), (300, 420), (640, 260)):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
        short = min(width, height)
        size = (int(256 * width / short), int(256 * height / short))
        resized = picture.resize(size, Image.Resampling.BICUBIC)
        left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
        expected = np.asarray(resized.crop((left, top, left + 224, top + 224)), dtype=np.float32) / 255
        images = model.preprocess(tp.read_image(picture))
        pixels = model.denormalize(images)[0].permute(1, 2, 0).numpy()
        assert np.abs(pixels - expected).max() <= 2 / 255  # PIL rounds to eight bits after each of its two passes
        assert torch.allclose(images, (model.denormalize(images) - 0.5) / 0.5, atol=1e-6)  # mean and std are one half


def test_preprocess_takes_what_read_image_takes_and_lists_of_any_sizes(tmp_path: Path) -> None:
    model = tp.load("simple_cnn")
    wide, tall = (np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8) for size in ((200, 310, 3), (400, 160, 3)))
    Image.fromarray(tall).save(tmp_path / "tall.png")
    one, two = (model.preprocess(tp.read_image(array)) for array in (wide, tall))
    images = model.preprocess([wide, tmp_path / "tall.png", Image.fromarray(wide)])
    assert torch.equal(images, torch.cat([one, two, one]))
    assert torch.equal(model.preprocess(str(tmp_path / "tall.png")), two)
    with pytest.raises(ImageError, match="no images were given"):
        model.preprocess([])
    with pytest.raises(ImageError, match="is no image"):
        model.preprocess([3])


# --- weights


def test_simple_cnn_has_the_parameters_that_its_docstring_says() -> None:
    assert sum(weight.numel() for weight in SimpleCNN().parameters()) == 24_458
    # by hand: 3x3 convolutions with bias, batch-norm scale and shift, then 64 x 10 + 10
    assert sum(9 * a * b + b + 2 * b for a, b in ((3, 16), (16, 32), (32, 64))) + 650 == 24_458
    assert SimpleCNN()(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return list(one) == list(two) and all(torch.equal(one[name], two[name]) for name in one)


def test_random_weights_are_seeded_and_the_global_generator_stays() -> None:
    before = torch.get_rng_state()
    one, again, other = (tp.load("simple_cnn", weights=None, seed=seed) for seed in (3, 3, 4))
    resnet, twin = (tp.load("resnet18", weights=weights) for weights in (None, "random"))
    assert torch.equal(torch.get_rng_state(), before)
    assert same_weights(one.module, again.module)
    assert not same_weights(one.module, other.module)
    assert same_weights(resnet.module, twin.module)
    assert not resnet.module.training
    assert one.weights_sha256 == again.weights_sha256 != other.weights_sha256


@pytest.mark.parametrize("form", ["safetensors", "pth", "module.", "_orig_mod.", "state_dict", "without counters"])
def test_weights_are_read_in_the_forms_they_are_saved_in(form: str, tmp_path: Path) -> None:
    source = tp.load("simple_cnn", weights=None, seed=8).module
    tensors: dict[str, Any] = source.state_dict()
    path = tmp_path / "weights.pth"
    if form == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(tensors, path)
    elif form.endswith("."):
        torch.save({f"{form}{name}": tensor for name, tensor in tensors.items()}, path)
    elif form == "state_dict":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in tensors.items()}}, path)
    elif form == "without counters":
        torch.save({name: tensor for name, tensor in tensors.items() if "num_batches" not in name}, path)
    else:
        torch.save(tensors, path)
    model = tp.load("simple_cnn", weights=path)
    assert same_weights(model.module, source)
    assert model.weights == str(path)


def test_weights_that_do_not_fit_are_refused_naming_what_is_wrong(tmp_path: Path) -> None:
    tensors = tp.load("simple_cnn", weights=None).module.state_dict()
    wrong = {
        "missing": {name: one for name, one in tensors.items() if name != "classifier.weight"},
        "extra": {**tensors, "classifier.more.weight": torch.zeros(2)},
        "shape": {**tensors, "classifier.weight": torch.zeros(7, 64)},
    }
    expected = {
        "missing": r"1 tensors are missing \(classifier.weight, ...\)",
        "extra": r"1 are unknown \(classifier.more.weight, ...\)",
        "shape": r"1 differ in shape or kind \(classifier.weight: \(7, 64\), not \(10, 64\)\)",
    }
    for kind, content in wrong.items():
        path = tmp_path / f"{kind}.pth"
        torch.save(content, path)
        with pytest.raises(ModelError, match=f"^{kind}.pth does not fit SimpleCNN: {expected[kind]}$"):
            tp.load("simple_cnn", weights=path)
    with pytest.raises(ModelError, match=r"^no weights file .*absent.pth$"):
        tp.load("simple_cnn", weights=tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    for name in ("text.pth", "text.safetensors"):
        with pytest.raises(ModelError, match=rf"^{name} (is no readable weights file|holds code)"):
            tp.load("simple_cnn", weights=tmp_path / name)


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_a_weights_file_is_refused_and_not_run(how: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "it-ran"
    content = {"classifier.weight": torch.zeros(2), "bomb": Bomb(trace)}
    if how == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(ModelError, match=r"^weights.pth (holds code, not only tensors|is no readable weights file)") as caught:
        tp.load("simple_cnn", weights=path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


# --- names and files


@pytest.mark.parametrize(
    ("name", "near"), [("resnet5", "resnet50"), ("efficientnet_lite", "efficientnet_lite0"), ("timm:convnext_tin", "convnext")]
)
def test_unknown_names_give_near_ones(name: str, near: str) -> None:
    with pytest.raises(ModelError, match=f"^no model '{name}'; close names: .*{near}"):
        tp.load(name)


FACTORY = """
import torch
import tapetum as tp
from neighbour import CLASSES

def build():
    return torch.nn.Sequential(torch.nn.Conv2d(3, CLASSES, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())

def wrapped():
    return tp.wrap(torch.nn.Conv2d(3, 2, 1), size=64, name="mine")

def number():
    return 3
"""


def test_a_factory_in_a_file_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "my_model.py"
    path.write_text(FACTORY)
    (tmp_path / "neighbour.py").write_text("CLASSES = 4")
    before = list(sys.path)
    assert tp.load(f"{path}:build").module[0].out_channels == 4
    assert tp.load(str(path)).name == "my_model"
    model = tp.load(f"{path}:wrapped")
    assert (model.name, model.preprocessing.size) == ("mine", (64, 64))
    with pytest.raises(ModelError, match=r"has no function 'biuld'; it has .*build"):
        tp.load(f"{path}:biuld")
    with pytest.raises(ModelError, match=r"returned int; it must return a torch.nn.Module"):
        tp.load(f"{path}:number")
    path.write_text("1 / 0")
    with pytest.raises(ModelError, match=r"cannot be imported \(ZeroDivisionError: division by zero\)$"):
        tp.load(f"{path}:build")
    with pytest.raises(ModelError, match=r"^no file .*absent.py$"):
        tp.load(f"{tmp_path / 'absent.py'}:build")
    assert sys.path == before


# --- the replica


def test_the_replica_shares_the_storage_of_every_tensor() -> None:
    model = vision_model("in_place")
    own, twin = model.module.state_dict(), model.replica.state_dict()
    assert list(own) == list(twin)
    assert {name: own[name].data_ptr() == twin[name].data_ptr() for name in own} == dict.fromkeys(own, True)
    assert not any(weight.requires_grad for weight in model.replica.parameters())
    assert not any(part.training for part in model.replica.modules())
    assert model.replica is model.replica  # made once


def test_weights_changed_in_place_are_seen_at_once() -> None:
    model, images = vision_model("reused"), pictures(1)
    before, kept, hashed = model(images), model.replica, model.weights_sha256
    with torch.no_grad():
        model.module.head.linear.bias += 1
    assert model.replica is kept
    torch.testing.assert_close(model(images), before + 1)
    assert model.weights_sha256 != hashed


def test_a_training_step_is_seen() -> None:
    model, images = vision_model("reused"), pictures(2)
    optimizer = torch.optim.SGD(model.module.parameters(), lr=0.1)
    before = tp.saliency(model, images, 1).values
    model.module(images)[:, 1].sum().backward()
    optimizer.step()
    assert all(weight.grad is not None for weight in model.module.parameters())
    after = tp.saliency(model, images, 1).values
    assert not torch.equal(before, after)
    fresh = tp.wrap(model.module, size=16, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert torch.equal(after, tp.saliency(fresh, images, 1).values)


def test_the_replica_is_renewed_when_tensors_are_replaced() -> None:
    model, images = vision_model("reused"), pictures(1)
    model.module.float()
    assert model.dtype == torch.float32
    assert model(images.float()).dtype == torch.float32
    model.module.to(torch.float64)
    assert model(images).dtype == torch.float64
    assert tp.saliency(model, images).values.dtype == torch.float64


def test_the_replica_is_renewed_when_a_head_is_replaced() -> None:
    model, images = vision_model("reused"), pictures(1)
    assert tp.saliency(model, images, 4).status == ("ok",)
    model.module.head.linear = nn.Linear(8, 2).double()
    assert model(images).shape == (1, 2)
    with pytest.raises(tp.TapetumError, match="class 4 does not exist: reused has 2 classes, 0 to 1"):
        tp.saliency(model, images, 4)
    assert model.survey["head.linear"].shape == (1, 2)


def test_an_activation_that_is_replaced_again_and_again_is_seen() -> None:
    """Modules without tensors: a new one may take the address of one that is gone."""
    model, images = vision_model("reused"), pictures(1)
    for kind in (nn.GELU, nn.Tanh, nn.Sigmoid, nn.ReLU, nn.GELU):
        model.module.relu = nn.Identity()
        model.module.relu = kind()
        torch.testing.assert_close(model(images), model.module(images).detach())


def test_two_threads_explain_at_once_and_give_what_one_gives() -> None:
    model, images = vision_model("residual"), pictures(2)
    jobs = {"guided_backprop": {}, "grad_cam": {}, "ablation_cam": {}, "smooth_grad": {"n_samples": 8}, "saliency": {}}
    expected = {name: tp.lookup(name).function(model, images, [1, 3], **more).values for name, more in jobs.items()}
    failures: list[Any] = []
    start = threading.Barrier(2)

    def work(names: list[str]) -> None:
        try:
            start.wait(10)
            for _ in range(3):
                for name in names:
                    result: Attribution = tp.lookup(name).function(model, images, [1, 3], **jobs[name])
                    if not torch.equal(result.values, expected[name]):
                        failures.append(name)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(names,)) for names in (list(jobs), list(jobs)[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_two_models_made_at_once_in_two_threads_do_not_share_a_replica() -> None:
    model, seen = vision_model("in_place"), []
    images: Tensor = pictures(1)

    def work() -> None:
        model(images)
        seen.append(model.replica)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen[0] is not model.replica
    assert seen[0].head.linear.weight.data_ptr() == model.replica.head.linear.weight.data_ptr()


def test_a_network_without_weights_has_the_size_it_was_built_for() -> None:
    with torch.device("meta"):
        model = tp.load("torchvision:vit_h_14", weights=None)  # its published weights are for 518 px
        assert model.preprocessing.size == (224, 224)
        assert model.survey["encoder.layers.encoder_layer_31"].grid == (16, 16)
