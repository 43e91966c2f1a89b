"""Checkpoints of any trainer: the weights are found by names and shapes, and nothing is loaded by half or without a word."""

from __future__ import annotations

import argparse
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from zoo import net

from tapetum.models.zoo.weights import load_weights
from tapetum.types import ModelError

Table = dict[str, Tensor]


def source() -> nn.Module:
    return net("in_place", seed=1)


def table(prefix: str = "", seed: int = 1) -> Table:
    return {prefix + name: tensor for name, tensor in net("in_place", seed=seed).state_dict().items()}


def loaded(content: Any, folder: Path, module: nn.Module | None = None) -> tuple[nn.Module, tuple[str, ...]]:
    torch.save(content, folder / "w.ckpt")
    module = net("in_place") if module is None else module
    return module, load_weights(module, folder / "w.ckpt")


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(one, b.state_dict()[name]) for name, one in a.state_dict().items())


def lightning() -> dict[str, Any]:
    """What `Trainer.save_checkpoint` writes around the weights, in short."""
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict({**table("model.backbone."), "criterion.weight": torch.ones(5)}),
        "callbacks": {
            "ModelCheckpoint": {"best_model_score": torch.tensor(0.5), "best_k_models": {"a.ckpt": torch.tensor(0.5)}}
        },
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
        ],
        "hyper_parameters": argparse.Namespace(lr=0.1, where=Path("data"), best=np.float64(0.5), seen=np.ones(2)),
    }


def averaged() -> dict[str, Any]:
    return {"swa": AveragedModel(source()).state_dict()}


FORMS: dict[str, tuple[Callable[[], Any], str]] = {
    "lightning": (lightning, r"^w.ckpt holds 1 tensor that the network does not have \(criterion.weight\)$"),
    "a prefix of one's own": (lambda: table("net.student.encoder."), ""),
    "wrapped twice": (lambda: table("_orig_mod.module."), ""),
    "compiled inside": (lambda: {name.replace("features.", "features._orig_mod."): one for name, one in table().items()}, ""),
    "with an optimizer": (lambda: {"model": table(), "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 1}, ""),
    "three deep": (lambda: {"checkpoint": {"state_dict": table("module.")}}, ""),
    "in a list": (lambda: [table(), {"lr": 0.1}], ""),
    "averaged": (averaged, ""),
    "a number beside the weights": (lambda: {**table(), "epoch": 3, "best_acc": np.float64(0.9)}, ""),
    "counters": (lambda: {**table(), "total_ops": torch.zeros(1), "features.0.total_ops": torch.zeros(1)}, ""),
    "twice the same": (lambda: {"model": table(), "model_best": table()}, ""),
    "a loss inside": (lambda: {**table(), "loss_fn.pos_weight": torch.ones(5)}, r"does not have \(loss_fn.pos_weight\)$"),
    "with its average": (
        lambda: {"state_dict": table(), "state_dict_ema": table(seed=2)},
        r"^of w.ckpt the weights under state_dict were taken, not those under state_dict_ema$",
    ),
    "with its average inside": (
        lambda: {**table("model."), **table("ema_model.", seed=2)},
        r"^of w.ckpt the weights under model were taken, not those under ema_model$",
    ),
    "two parts of which one fits": (
        lambda: {**table("encoder."), "decoder.up.weight": torch.ones(2), "decoder.up.bias": torch.ones(2)},
        r"^w.ckpt holds 2 tensors that the network does not have \(decoder.up.weight, decoder.up.bias\)$",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_weights_are_found(form: str, tmp_path: Path) -> None:
    make, said = FORMS[form]
    module, notes = loaded(make(), tmp_path)
    assert same(module, source())
    assert bool(notes) == bool(said)
    assert re.search(said, "\n".join(notes), re.MULTILINE)


def test_a_network_in_a_wrapper_of_ones_own_takes_the_bare_weights(tmp_path: Path) -> None:
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.ModuleDict({"net": net("in_place")})

    for content in (table(), {"state_dict": table("model.")}):
        module, notes = loaded(content, tmp_path, Wrapper())
        assert same(module.inner["net"], source())
        assert notes == ()


WITHOUT = {name: one for name, one in table().items() if name != "head.linear.bias"}
REFUSED: dict[str, tuple[Any, str]] = {
    "half of it": (
        {"state_dict": {"model." + name: one for name, one in WITHOUT.items()}},
        r"1 tensors are missing \(head.linear.b",
    ),
    "another head": (
        {**table(), "head.linear.weight": torch.ones(7, 8)},
        r"1 differ in shape or kind \(head.linear.weight: \(7, 8\), not",
    ),
    "a larger network": ({**table(), "features.7.weight": torch.ones(2)}, r"1 are unknown \(features.7.weight, ...\)"),
    "a bias more": (table("m.") | {"m.features.0.more": torch.ones(2)}, r"1 are unknown \(features.0.more, ...\)"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_fit_is_refused_and_nothing_is_loaded(kind: str, tmp_path: Path) -> None:
    content, reason = REFUSED[kind]
    module = net("in_place")
    with pytest.raises(ModelError, match=rf"^w.ckpt does not fit InPlace: {reason}"):
        loaded(content, tmp_path, module)
    assert same(module, net("in_place"))


def test_two_networks_that_fit_are_refused_by_their_names(tmp_path: Path) -> None:
    for content in ({"a": table(), "b": table(seed=2)}, {**table("a."), **table("b.", seed=2)}):
        with pytest.raises(ModelError, match=r"^w.ckpt holds 2 networks that fit \(a, b\): save the one that is meant alone$"):
            loaded(content, tmp_path)


def test_a_network_without_weights_takes_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^ReLU has no weights to fill from w.ckpt$"):
        loaded(table(), tmp_path, nn.ReLU())
    with pytest.raises(ModelError, match=r"^w.ckpt holds no table of tensors: save model.state_dict\(\)$"):
        loaded({"epoch": 3}, tmp_path)
