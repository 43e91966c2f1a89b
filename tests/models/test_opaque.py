"""Networks that show no modules (TorchScript, exported, ONNX, quantised, functions) beside the same network as a module."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx
from zoo import Reused, net, pictures, wrapped

import tapetum as tp
from tapetum.types import LayerError, MethodError, ModelError, TapetumError

IMAGES = pictures(3).float()
ANSWERS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 4, "stride": 4}, "rise": {"n_masks": 16, "cells": 3},
    "lime": {"segments": "grid", "n_segments": 9, "n_samples": 16}, "kernel_shap": {"segments": "grid", "n_segments": 9,
    "n_samples": 24}, "sobol": {"n_designs": 2, "cells": 2},
}  # fmt: skip
GRADIENTS: dict[str, dict[str, Any]] = {
    "saliency": {}, "input_x_gradient": {}, "integrated_gradients": {"n_steps": 3}, "smooth_grad": {"n_samples": 2},
}  # fmt: skip
LAYERS = ("grad_cam", "score_cam", "eigen_cam", "full_grad", "ablation_cam")
OPERATIONS = (
    "guided_backprop",
    "deconvnet",
    "lrp",
    "deep_lift",
    "excitation_backprop",
    "guided_grad_cam",
    "gradient_attention",
)
SIZE: dict[str, Any] = {"size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3}


def module() -> nn.Module:
    torch.manual_seed(0)
    return Reused().eval()


def onnx_of(network: nn.Module, path: Path, batch: int | None) -> Path:
    """Written by torch, for that many images at once, or for any number."""
    images = torch.zeros(batch or 2, 3, 16, 16)
    shapes = None if batch else ({0: torch.export.Dim("n")},)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (images,), path, dynamo=True, dynamic_shapes=shapes, verbose=False)
    return path


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    network, folder = module(), tmp_path_factory.mktemp("onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted, traced = torch.jit.script(network), torch.jit.trace(network, IMAGES[:1])
    dynamic = {"images": {0: torch.export.Dim("n")}}
    fixed, any_number = onnx_of(network, folder / "one.onnx", 1), onnx_of(network, folder / "any.onnx", None)
    return {
        "scripted": scripted,
        "traced": traced,
        "exported": torch.export.export(network, (IMAGES[:2],), dynamic_shapes=dynamic),
        "exported for one image": torch.export.export(network, (IMAGES[:1],)),
        "exported module": torch.export.export(network, (IMAGES[:2],)).module(),
        "onnx file": str(any_number),
        "onnx for one image": fixed,
        "onnx session": onnxruntime.InferenceSession(any_number, providers=["CPUExecutionProvider"]),
        "function": lambda images: network(images),
        "numpy": lambda images: network(torch.from_numpy(np.asarray(images))).detach().numpy().astype(np.float64),
    }


NAMES = ("scripted", "traced", "exported", "exported for one image", "exported module", "onnx file", "onnx for one image",
         "onnx session", "function", "numpy")  # fmt: skip
WITHOUT_GRADIENTS = ("onnx file", "onnx for one image", "onnx session", "numpy")


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one.double(), other.double(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_the_answer_alone_is_that_of_the_module(kinds: dict[str, Any], name: str) -> None:
    model, plain = tp.wrap(kinds[name], **SIZE), wrapped(module())
    same(model(IMAGES), plain(IMAGES))
    for method, more in ANSWERS.items():
        one, other = (tp.lookup(method).function(each, IMAGES, [1, 3, 0], **more) for each in (model, plain))
        same(one.values, other.values)
    maps = tp.occlusion(model, IMAGES, 1, **ANSWERS["occlusion"])
    same(tp.deletion(model, IMAGES, maps).value, tp.deletion(plain, IMAGES, maps).value)
    guesses = [[one.index for one in row] for row in tp.predict(model, IMAGES, k=2)]
    assert guesses == [[one.index for one in row] for row in tp.predict(plain, IMAGES, k=2)]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_the_module_or_refused(kinds: dict[str, Any], name: str) -> None:
    model, plain = tp.wrap(kinds[name], **SIZE), wrapped(module())
    for method, more in GRADIENTS.items():
        function = tp.lookup(method).function
        if name in WITHOUT_GRADIENTS:
            with pytest.raises(
                TapetumError, match=r"which has no gradients to look at: use occlusion|the score has no gradient"
            ):
                function(model, IMAGES, 1, **more)
        else:
            same(function(model, IMAGES, [1, 3, 0], **more).values, function(plain, IMAGES, [1, 3, 0], **more).values)


@pytest.mark.parametrize("name", NAMES)
def test_what_looks_at_layers_or_operations_is_refused_with_what_works(kinds: dict[str, Any], name: str) -> None:
    model, plain = tp.wrap(kinds[name], **SIZE), wrapped(module())
    for method in LAYERS:
        with pytest.raises(MethodError, match=r"runs as .+, which has no layers to look at: use occlusion, rise, lime"):
            tp.lookup(method).function(model, IMAGES, 1)
    for method in OPERATIONS:
        function = tp.lookup(method).function
        if name == "function" and method in ("guided_backprop", "deconvnet", "lrp", "deep_lift", "excitation_backprop"):
            same(function(model, IMAGES, 1).values, function(plain, IMAGES, 1).values)  # torch's operations are seen
        else:
            with pytest.raises(TapetumError) as caught:
                function(model, IMAGES, 1)
            assert "\n" not in str(caught.value)
    for use in (lambda: tp.activation_maps(model, IMAGES, layers=["one"]), lambda: tp.occlusion(model, IMAGES, "one:0")):
        with pytest.raises(LayerError, match="which has no layers to look at"):
            use()


def test_a_function_runs_a_copy_of_its_network_in_eval_mode() -> None:
    network = net("in_place")  # its author left it in training mode
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    model = tp.wrap(lambda images: network(images.double()), **SIZE)
    maps = tp.saliency(model, IMAGES, 1)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    same(maps.values, tp.saliency(wrapped(network), IMAGES.double(), 1).values)


def test_a_scripted_network_in_training_mode_runs_as_in_eval_mode() -> None:
    network = net("in_place").float().train()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted: Any = torch.jit.script(network)
    same(tp.wrap(scripted, **SIZE)(IMAGES), wrapped(network)(IMAGES))
    assert scripted.training


def test_networks_of_other_shapes_say_theirs(tmp_path: Path) -> None:
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 3)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(grey, (torch.zeros(1, 1, 28, 28),), tmp_path / "grey.onnx", dynamo=True, verbose=False)
    model = tp.wrap(tmp_path / "grey.onnx")
    assert (model.name, model.preprocessing.size, model.preprocessing.channels) == ("grey", (28, 28), 1)
    images = torch.rand(2, 1, 28, 28)
    same(tp.occlusion(model, images, 1, window=7, stride=7).values, tp.occlusion(grey, images, 1, window=7, stride=7).values)
    loaded = tp.load(str(tmp_path / "grey.onnx"))
    assert torch.equal(loaded(images), model(images))
    assert loaded.source == str(tmp_path / "grey.onnx")
    same(
        tp.occlusion(loaded.source, images, 1, window=7, stride=7).values,
        tp.occlusion(model, images, 1, window=7, stride=7).values,
    )
    with pytest.raises(ModelError, match="holds its weights itself"):
        tp.load(loaded.source, weights="random")
    other = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 26 * 26, 3)).eval()
    hashes = {tp.wrap(torch.export.export(one, (images[:1],))).weights_sha256 for one in (grey, other)}
    assert len(hashes) == 2


class Small(nn.Module):
    """With marks for quantisation, which do nothing before it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = quantization.QuantStub(), quantization.DeQuantStub()
        self.conv, self.relu, self.one, self.two = nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Linear(6, 16), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.relu(self.conv(self.enter(images)))
        return self.leave(self.two(self.relu(self.one(maps.mean((2, 3))))))


def _dynamically() -> nn.Module:
    return quantization.quantize_dynamic(Small().eval(), {nn.Linear}, dtype=torch.qint8)


def _statically() -> nn.Module:
    network = Small().eval()
    network.qconfig = quantization.get_default_qconfig()
    ready = quantization.prepare(network)
    ready(pictures(16).float())
    return quantization.convert(ready)


def _by_its_graph() -> nn.Module:
    ready = quantize_fx.prepare_fx(Small().eval(), quantization.get_default_qconfig_mapping(), (IMAGES,))
    ready(pictures(16).float())
    return quantize_fx.convert_fx(ready)


@pytest.mark.parametrize("quantised", [_dynamically, _statically, _by_its_graph])
def test_quantised_networks_are_occluded_and_have_no_gradients(quantised: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = quantised()
    model = tp.wrap(network, **SIZE)
    same(model(IMAGES), network(IMAGES))
    change = network(IMAGES[:1])[0, 1] - network(_hidden(IMAGES[:1]))[0, 1]
    maps = tp.occlusion(model, IMAGES[:1], 1, window=8, stride=8, fill=0.0, batch=1)  # the range of a batch sets its steps
    same(maps.values[0, 0, 0, 0], change)
    for method in ("saliency", "grad_cam", "lrp", "guided_backprop", "deep_lift", "integrated_gradients"):
        with pytest.raises(
            MethodError, match="runs with quantised weights, through which there are no gradients: use occlusion"
        ):
            tp.lookup(method).function(model, IMAGES, 1)


def _hidden(images: Tensor) -> Tensor:
    changed = images.clone()
    changed[:, :, :8, :8] = 0
    return changed


def test_what_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a function answers with str, not with numbers"):
        tp.occlusion(tp.wrap(lambda images: "a cat", **SIZE), IMAGES, 1)
    with pytest.raises(ModelError, match=r"there is no such file"):
        tp.wrap(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match=r"wrap takes a torch.nn.Module, TorchScript, .+ or a function of images, not int"):
        tp.wrap(3)
    with pytest.raises(ModelError, match="net is wrapped already"):
        tp.wrap(wrapped(net("reused")))
