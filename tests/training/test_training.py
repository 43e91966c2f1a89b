"""Training: what is learned, the same numbers whatever is interrupted, and what lies in the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from stripes import SIDE, folder_of, noisy, settings, stripes
from torch import nn

import tapetum as tp
from tapetum.models.zoo import SimpleCNN
from tapetum.progress import Progress
from tapetum.training import train
from tapetum.training.data import read_data
from tapetum.types import Cancelled, History, ModelError, TrainingError

NUMBERS = ("number", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "learning_rate")


def numbers(history: History) -> list[tuple[Any, ...]]:
    return [tuple(getattr(epoch, name) for name in NUMBERS) for epoch in history.epochs]


def same(a: History, b: History) -> bool:
    """To the last bit: the numbers of all epochs, the weights, the snapshots."""
    one, other = a.model.module.state_dict(), b.model.module.state_dict()
    weights = list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)
    return weights and numbers(a) == numbers(b) and torch.equal(a.snapshots, b.snapshots) and a.kept == b.kept


class Stop:
    """A watcher that stops after some events of a stage."""

    def __init__(self, stage: str, events: int) -> None:
        self.stage, self.left = stage, events

    def __call__(self, event: Progress) -> bool | None:
        self.left -= event.stage == self.stage
        return False if self.left < 0 else None


# --- what is learned


def test_simple_cnn_has_the_published_number_of_parameters() -> None:
    assert sum(parameter.numel() for parameter in SimpleCNN(10).parameters()) == 24_458


def test_upright_and_lying_stripes_are_told_apart() -> None:
    history = train(stripes(60), epochs=12, batch=8, learning_rate=0.01, schedule="cosine", size=SIDE)
    assert history.accuracy == 1.0
    assert history.epochs[-1].train_loss < 0.2 < history.epochs[0].train_loss
    others = history.model.preprocess(stripes(4, seed=9)[0])
    assert [top[0].label for top in tp.predict(history.model, others)] == ["lying", "upright", "lying", "upright"]


def test_validation_accuracy_is_what_predict_says_of_the_held_out_pictures() -> None:
    history = train(stripes(30), **settings(augment="none"))
    part = read_data(stripes(30)).validation
    images = torch.cat([history.model.preprocess((part.read(i) * 255).round() / 255) for i in range(len(part))])
    said = [top[0].label for top in tp.predict(history.model, images)]
    right = [label == history.classes[int(truth)] for label, truth in zip(said, part.labels, strict=True)]
    assert history.accuracy == sum(right) / len(right)


def test_the_first_step_is_adams() -> None:
    """Adam's first step moves every weight by the learning rate against its gradient: |g| / (|g| + 1e-8) of it."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 2)).double()
    model = tp.wrap(module, size=SIDE, resize=SIDE, mean=(0.5,) * 3, std=(0.5,) * 3)
    pixels, labels = stripes(8)
    history = train((pixels, labels), model, epochs=1, batch=8, validation=stripes(4, seed=1), learning_rate=0.01)
    images = model.preprocess((pixels * 255).round() / 255)
    loss = nn.functional.cross_entropy(module(images), torch.tensor([int(label == "upright") for label in labels]))
    (gradient,) = torch.autograd.grad(loss, [module[1].weight])
    expected = module[1].weight - 0.01 * gradient / (gradient.abs() + 1e-8)
    assert history.epochs[0].train_loss == pytest.approx(float(loss.detach()))
    # float64 sums of eight pictures in another order: 1e-16 of gradients, of which the smallest are near 1e-5
    assert torch.allclose(history.model.module[1].weight, expected, atol=1e-9)


def test_mean_and_std_are_those_of_the_training_pictures() -> None:
    part = read_data(stripes(20)).train
    pixels = torch.cat([part.read(i) for i in range(len(part))])
    cut = train(stripes(20), **settings(epochs=1, augment="none")).model.preprocessing
    # pixels are kept in 8 bits (1/510 each, both ways), the numbers have four digits
    assert torch.allclose(torch.tensor(cut.mean), pixels.mean((0, 2, 3)), atol=1e-3)
    assert torch.allclose(torch.tensor(cut.std), pixels.std((0, 2, 3), correction=0), atol=1e-3)


def test_snapshots_begin_with_the_random_filters_and_end_with_the_models() -> None:
    history = train(stripes(), **settings())
    assert torch.equal(history.snapshots[0], tp.load("simple_cnn", seed=0).module.features[0][0].weight)
    assert torch.equal(history.snapshots[-1], history.model.module.features[0][0].weight)
    assert history.layer == "features.0.0"
    assert len(history.snapshots) == 4


# --- the same again


def test_the_same_seed_gives_the_same_network_and_leaves_torchs_random_state_alone() -> None:
    before = torch.random.get_rng_state()
    first = train(stripes(), noisy(), **settings())
    assert torch.equal(before, torch.random.get_rng_state())
    torch.rand(3)
    assert same(first, train(stripes(), noisy(), **settings()))
    assert not same(first, train(stripes(), noisy(), **settings(seed=1)))


def test_pictures_decoded_anew_in_threads_give_the_same_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "data")
    kept = train(folder, **settings())
    monkeypatch.setattr("tapetum.training.training.KEEP_BYTES", 0)
    assert same(kept, train(folder, **settings()))


@pytest.mark.parametrize("stage", ["epoch 1 of 3", "epoch 2 of 3", "epoch 3 of 3"])
def test_a_run_that_was_stopped_and_goes_on_gives_the_same_numbers(tmp_path: Path, stage: str) -> None:
    whole = train(stripes(), **settings(schedule="cosine"))
    with pytest.raises(Cancelled):
        train(stripes(), **settings(schedule="cosine"), out=tmp_path, progress=Stop(stage, 2))
    assert same(whole, train(stripes(), **settings(schedule="cosine"), out=tmp_path))


def test_a_run_killed_between_any_two_files_goes_on_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(stripes(), noisy(), **settings(patience=3))
    replace = os.replace
    for fatal in range(12):  # three epochs with four files each
        out, written = tmp_path / str(fatal), [0]

        def killing(source: Any, target: Any, fatal: int = fatal, written: list[int] = written) -> None:
            written[0] += 1
            if written[0] == fatal + 1:
                raise KeyboardInterrupt
            replace(source, target)

        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", killing)
            with pytest.raises(KeyboardInterrupt):
                train(stripes(), noisy(), **settings(patience=3), out=out)
        assert not list(out.glob(".*"))
        assert same(whole, train(stripes(), noisy(), **settings(patience=3), out=out))


def test_more_epochs_follow_where_the_learning_rate_is_constant(tmp_path: Path) -> None:
    train(stripes(), **settings(epochs=1), out=tmp_path)
    assert same(train(stripes(), **settings(epochs=3)), train(stripes(), **settings(epochs=3), out=tmp_path))
    with pytest.raises(TrainingError, match="schedule was constant, is cosine"):
        train(stripes(), **settings(epochs=3, schedule="cosine"), out=tmp_path)


def test_patience_stops_and_keeps_the_best_epoch() -> None:
    """Labels that mean nothing: the held-out loss soon rises."""
    pixels, labels = stripes(24)
    history = train((pixels, labels[:12] + labels[1:13]), epochs=40, batch=4, learning_rate=0.02, size=SIDE, patience=2)
    losses = [epoch.validation_loss for epoch in history.epochs]
    assert history.kept == losses.index(min(losses)) + 1 == len(losses) - 2
    assert any("stopped after" in note for note in history.notes)
    whole = train((pixels, labels[:12] + labels[1:13]), epochs=history.kept, batch=4, learning_rate=0.02, size=SIDE)
    for name, tensor in whole.model.module.state_dict().items():
        assert torch.equal(history.model.module.state_dict()[name], tensor), name


# --- the folder


def test_the_folder_gives_the_trained_network_back(tmp_path: Path) -> None:
    history = train(stripes(), "simple_cnn_wide", **settings(epochs=1), out=tmp_path / "net")
    model, images = tp.load(str(tmp_path / "net")), history.model.preprocess(stripes(4)[0])
    assert torch.equal(model(images), history.model(images))
    assert (model.labels, model.preprocessing) == (("lying", "upright"), history.model.preprocessing)
    told = json.loads((tmp_path / "net" / "history.json").read_text())
    assert [epoch["train_loss"] for epoch in told["epochs"]] == [epoch.train_loss for epoch in history.epochs]
    assert not torch.equal(tp.load(str(tmp_path / "net"), weights=None)(images), model(images))


def test_a_named_network_with_another_head_comes_back(tmp_path: Path) -> None:
    history = train(stripes(8), "squeezenet1_1", size=32, epochs=1, batch=4, out=tmp_path)
    images = history.model.preprocess(stripes(4)[0])
    assert torch.equal(tp.load(str(tmp_path))(images), history.model(images))
    assert history.model(images).shape == (4, 2)


def test_without_a_name_the_weights_stay_and_load_says_what_is_missing(tmp_path: Path) -> None:
    train(stripes(8), noisy(), **settings(epochs=1), out=tmp_path)
    with pytest.raises(ModelError, match="noisy, which has no name"):
        tp.load(str(tmp_path))


OTHERS = [{"learning_rate": 0.01}, {"seed": 5}, {"batch": 7}, {"augment": "none"}, {"arch": "simple_cnn_wide"}]


@pytest.mark.parametrize("other", OTHERS)
def test_another_training_in_the_folder_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    train(stripes(), **settings(epochs=1), out=tmp_path)
    with pytest.raises(TrainingError, match="give another folder, or resume=False"):
        train(stripes(), **settings(epochs=1, **other), out=tmp_path)
    again = train(stripes(), **settings(epochs=1, **other), out=tmp_path, resume=False)
    assert same(again, train(stripes(), **settings(epochs=1, **other)))
