"""`doctor` names planted faults, each in a network that has no other; what it says holds the layer and the number."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from skimage import data
from torch import Tensor, nn

import tapetum as tp
from tapetum.families.health.doctor import serious
from tapetum.families.health.patient import CHECKS
from tapetum.types import Diagnosis, Finding

SIDE = 32
PHOTOS = (data.chelsea, data.coffee, data.astronaut)


@functools.cache
def photographs() -> Tensor:
    """Three photographs in [0, 1], (3, 3, 32, 32)."""
    made = [torch.from_numpy(one()).permute(2, 0, 1)[None] / 255 for one in PHOTOS]
    return torch.cat([F.interpolate(one, (SIDE, SIDE), mode="bilinear", antialias=True) for one in made])


class Small(nn.Module):
    """Two convolutions with batch norms and functional ReLUs, pooled; places for a fault before, between and behind."""

    def __init__(self, *, before: Any = None, between: Any = None, behind: Any = None, drop: bool = False) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2, padding=1)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.drop = nn.Dropout(0.5 if drop else 0.0)
        self.head = nn.Linear(8, 4)
        self.before, self.between, self.behind = before, between, behind

    def forward(self, images: Tensor) -> Tensor:
        x = images if self.before is None else self.before(images)
        x = self.relu1(self.one(x))
        x = x if self.between is None else self.between(x)
        x = self.head(self.drop(self.relu2(self.two(x))).mean((2, 3)))
        return x if self.behind is None else self.behind(x)


def small(build: Callable[..., nn.Module] = Small, /, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(**options).eval()


def wrapped(module: Any, **about: Any) -> tp.VisionModel:
    return tp.wrap(module, **{"size": SIDE, "mean": (0.5,) * 3, "std": (0.5,) * 3, "name": "net", **about})


def examined(module: nn.Module, images: Any = None, **about: Any) -> Diagnosis:
    model = wrapped(module, **about)
    return tp.doctor(model, model.preprocess(photographs()) if images is None else images)


def fault(found: Diagnosis) -> Finding:
    """The only error or warning."""
    assert len(found.serious) == 1, str(found)
    return found.serious[0]


def with_weights(module: nn.Module, change: Callable[[Any], object]) -> nn.Module:
    with torch.no_grad():
        change(module)
    return module


# --- faults


def test_a_network_without_a_fault_is_healthy() -> None:
    found = examined(small())
    assert found.healthy
    assert set(found.checks) | {"channel_order"} == {one.name for one in CHECKS}
    assert found.left_out == ("channel order: needs 8 photographs or more, 3 given",)
    assert found.verdict.startswith("net on 3 pictures: healthy (")


def test_training_mode_is_told_with_the_change_that_it_makes() -> None:
    found = fault(examined(small(drop=True).train()))
    assert (found.name, found.severity) == ("training_mode", "warning")
    assert "differs from that of eval mode by" in found.what
    assert "model.eval()" in found.advice
    (note,) = [one for one in examined(small().train()).findings if one.name == "training_mode"]
    assert note.severity == "note"
    assert "changes nothing" in note.what


@pytest.mark.parametrize(("value", "word"), [(torch.nan, "NaN"), (torch.inf, "infinite")])
def test_broken_weights_are_named_and_counted(value: float, word: str) -> None:
    module = with_weights(small(), lambda net: net.two.weight[0, 0, :2].fill_(value))
    names = {one.name: one for one in examined(module).serious}
    assert names["weights"].severity == "error"
    assert f"two.weight (6 of 576 numbers are {word})" in names["weights"].what
    assert "first in the output of two" in names["answer"].what


def test_a_softmax_inside_is_told_and_a_sigmoid_is_noted() -> None:
    found = fault(examined(small(behind=nn.Softmax(1))))
    assert (found.name, found.severity) == ("softmax_inside", "warning")
    for end in (nn.Sigmoid(), nn.LogSoftmax(1)):
        (note,) = [one for one in examined(small(behind=end)).findings if one.name == "softmax_inside"]
        assert note.severity == "note"


def test_saturated_outputs_are_told() -> None:
    found = fault(examined(small(behind=lambda x: 1e4 * x)))
    assert found.name == "saturated"
    assert "on 3 of 3 pictures" in found.what


def test_dead_channels_are_counted_and_a_layer_that_is_half_dead_is_a_warning() -> None:
    module = with_weights(small(), lambda net: net.one.bias[:6].fill_(-100))
    found = fault(examined(module))
    assert found.name == "dead_channels"
    assert "6 of 8 channels behind relu1 (3,072 values each)" in found.what
    alive = with_weights(small(), lambda net: net.one.bias[:1].fill_(-100))
    (note,) = [one for one in examined(alive).findings if one.name == "dead_channels"]
    assert (note.severity, "1 of 8 channels behind relu1" in note.what) == ("note", True)


def test_random_answers_are_told_with_the_operation_that_draws() -> None:
    found = fault(examined(small(between=lambda x: F.dropout(x, 0.5))))
    assert found.name == "random_answers"
    assert "`dropout` in the forward of the network itself draws them" in found.what


def test_statistics_of_the_batch_are_told() -> None:
    norm = nn.BatchNorm2d(8, track_running_stats=False)
    assert fault(examined(small(between=norm))).name == "batch_answers"


def test_a_gradient_that_is_rounded_away_at_the_image_is_told_with_the_operation() -> None:
    found = fault(examined(small(before=lambda x: (x * 8).round() / 8)))
    assert (found.name, found.severity) == ("zero_gradient", "error")
    assert "`round` in the forward of the network itself has a derivative of zero almost everywhere" in found.what
    assert "layers from one on get gradients" in found.done


def test_a_detached_image_is_told() -> None:
    for cut in (torch.detach, lambda x: (x * 40 + 80).to(torch.uint8).float() / 40):
        found = fault(examined(small(before=cut)))
        assert found.name == "zero_gradient"
        assert "gives numbers without a gradient" in found.what
        assert "layers from one on get gradients" in found.done


def test_a_saturated_softmax_masks_gradients() -> None:
    names = {one.name: one for one in examined(small(behind=lambda x: (1e5 * x).softmax(1))).serious}
    assert set(names) == {"softmax_inside", "saturated", "zero_gradient"}
    assert "softmax or sigmoid at its end is saturated" in names["zero_gradient"].what


def test_what_tapetum_is_said_to_do_about_hidden_gradients_is_what_it_does() -> None:
    rounding, cutting, beside = (wrapped(one) for one in (
        small(before=lambda x: (x * 8).round() / 8), small(before=torch.detach), small(Detached),
    ))  # fmt: skip
    images = rounding.preprocess(photographs())
    assert set(tp.saliency(rounding, images).status) == {"constant"}
    for model, layer in ((cutting, None), (beside, "way")):
        with pytest.raises(tp.TapetumError, match="no gradient"):
            tp.saliency(model, images) if layer is None else tp.grad_cam(model, images, layer=layer)
    working = [
        *(tp.grad_cam(model, images, layer="one") for model in (rounding, cutting)),
        *(tp.occlusion(model, images, window=8, stride=8) for model in (rounding, cutting)),
        tp.ablation_cam(beside, images, layer="way"),
    ]
    assert {status for one in working for status in one.status} == {"ok"}


def test_an_answer_without_the_image_is_told() -> None:
    assert fault(examined(small(behind=torch.zeros_like))).name == "constant_answer"
    fresh = examined(with_weights(small(), lambda net: [one.zero_() for one in net.head.parameters()]))
    assert [one.severity for one in fresh.findings if one.name == "constant_answer"] == ["note"]
    assert "all numbers of head.weight are 0" in str(fresh)


class Detached(Small):
    """Adds a second way whose maps are detached."""

    def __init__(self) -> None:
        super().__init__()
        self.way = nn.Conv2d(8, 8, 1)
        self.between = self.both

    def both(self, x: Tensor) -> Tensor:
        return x + self.way(x).detach()


def test_a_layer_without_a_gradient_of_its_own_is_told() -> None:
    found = fault(examined(small(Detached)))
    assert found.name == "blocked_gradient"
    assert "comes back to way on 2 pictures" in found.what
    assert "`detach` in the forward of the network itself stops it" in found.what


def searched(images: Tensor) -> Tensor:
    with torch.enable_grad():
        start = images.detach().requires_grad_()
        (step,) = torch.autograd.grad(start.square().sum(), start)
    return images - 0.1 * step


def test_an_optimisation_inside_is_told() -> None:
    found = {one.name: one for one in examined(small(before=searched)).serious}
    assert "`grad` in the forward of the network itself" in found["optimisation_inside"].what


def test_a_network_without_places_is_told() -> None:
    module = small(lambda: nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 8), nn.ReLU(), nn.Linear(8, 4)))
    found = fault(examined(module))
    assert found.name == "no_places"
    assert "saliency" in found.advice
    inner = small()
    assert fault(tp.doctor(wrapped(lambda images: inner(images)), 2 * photographs() - 1)).name == "no_places"


class Doubled(torch.autograd.Function):
    """An operation of somebody's own, by numpy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(2 * x.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return 2 * grads[0]


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Doubled.apply(x)


def test_a_layout_that_fits_twice_is_told() -> None:
    module = small(between=nn.Sequential(nn.AdaptiveAvgPool2d(8), Own()))
    found = fault(examined(module))
    assert found.name == "ambiguous_layout"
    assert "between.1 of shape (1, 8, 8, 8) is read as nchw, and could be nhwc" in found.what
    assert examined(small(between=nn.Sequential(nn.AdaptiveAvgPool2d(7), Own()))).healthy


class HandMade(nn.Module):
    """Attention whose weights are no softmax that torch sees; or linear attention, which has none."""

    def __init__(self, linear: bool = False) -> None:
        super().__init__()
        self.queries, self.keys, self.linear = nn.Linear(8, 8), nn.Linear(8, 8), linear

    def forward(self, maps: Tensor) -> Tensor:
        x = maps.flatten(2).transpose(1, 2)
        if self.linear:
            x = self.queries(x).relu() @ (self.keys(x).relu().transpose(1, 2) @ x) / 1000
            return x.transpose(1, 2).reshape(maps.shape)
        weights = torch.exp(self.queries(x) @ self.keys(x).transpose(1, 2) / 8)
        x = (weights / weights.sum(2, keepdim=True)) @ x
        return x.transpose(1, 2).reshape(maps.shape)


def test_attention_that_cannot_be_watched_is_told() -> None:
    found = fault(examined(small(between=HandMade())))
    assert found.name == "hidden_attention"
    assert "watched: between" in found.what
    linear = examined(small(between=HandMade(linear=True)))
    assert linear.healthy
    assert "this may be linear attention" in " ".join(str(linear).split())


def test_functional_reused_and_inplace_activations_are_noted() -> None:
    relu = nn.ReLU(inplace=True)

    def twice(x: Tensor) -> Tensor:
        return F.relu(x - 0.1).clamp(min=0)

    class Reusing(Small):
        def __init__(self) -> None:
            super().__init__(between=twice)
            self.relu1 = self.relu2 = relu

    found = examined(small(Reusing))
    assert found.healthy
    notes = {one.name: one.what for one in found.findings}
    assert "2 activations are functions, no modules, in the network itself" in notes["functional_activations"]
    assert "relu1 (2 times)" in notes["reused_activations"]
    assert "relu1" in notes["inplace_activations"]


# --- images


def test_images_that_are_not_what_the_model_expects_are_told() -> None:
    with pytest.warns(tp.TapetumWarning, match=r"lie in \[0, 1\]"):
        raw = fault(examined(small(), photographs()))
    assert (raw.name, raw.severity) == ("value_range", "warning")
    bytes_ = fault(examined(small(), photographs() * 255))
    assert (bytes_.name, bytes_.severity) == ("value_range", "error")
    other = fault(examined(small(), (photographs() - 0.45) / 0.22))
    assert "normalised by other constants" in other.what
    blank = fault(examined(small(), torch.zeros(2, 3, SIDE, SIDE)))
    assert "all values of 2 pictures are 0" in blank.what


@functools.cache
def learned(batches: int = 100) -> nn.Module:
    """A network whose batch norms have seen the photographs, mirrored and moved, as -1 to 1."""
    module = small(lambda: nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16),
        nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 4),
    )).train()  # fmt: skip
    for step in range(batches):
        moved = photographs().roll((step, 3 * step), (2, 3))
        module((moved.flip(3) if step % 2 else moved) * 2 - 1)
    return module.eval()


@pytest.mark.parametrize(("mean", "std"), [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((0.0,) * 3, (1 / 255,) * 3)])
def test_wrong_normalisation_is_told_with_the_right_one(mean: Any, std: Any) -> None:
    found = {one.name: one for one in examined(learned(), mean=mean, std=std).serious}
    assert "with mean 0.5 and std 0.5 (-1 to 1) they are near" in found["wrong_normalisation"].what
    assert "mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)" in found["wrong_normalisation"].advice
    assert examined(learned()).healthy


def test_the_order_of_channels_is_told_of_enough_photographs_and_is_not_claimed_of_the_right_one() -> None:
    many = torch.cat([photographs().roll((i, 5 * i), (2, 3)) for i in range(6)])
    model = wrapped(learned())
    ready = model.preprocess(many)
    found = fault(tp.doctor(model, ready.flip(1)))
    assert found.name == "channel_order"
    assert "18 photographs fit 3 early batch norms better with red and blue exchanged" in found.what
    assert tp.doctor(model, ready).healthy


def test_assumed_constants_are_a_warning_unless_a_batch_norm_confirms_them() -> None:
    with pytest.warns(tp.TapetumWarning, match="assumed"):
        found = fault(tp.doctor(tp.wrap(small(), size=SIDE), list(photographs())))
    assert found.name == "assumed_normalisation"
    assert "no batch norm with statistics" in found.what


def test_nothing_is_claimed_of_the_normalisation_of_an_untrained_network() -> None:
    module = small(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    for start, std in ((module, 0.01), (module, 0.5), (learned(5), 0.25)):
        found = examined(start, std=(std,) * 3)
        assert found.healthy, str(found)
        assert ("untrained" in {one.name for one in found.findings}) == (start is module)


# --- what cannot be examined


def test_a_network_that_does_not_run_is_a_finding() -> None:
    def fails(x: Tensor) -> Tensor:
        raise KeyError("no such thing")

    found = examined(small(between=fails))
    assert fault(found).name == "does_not_run"
    assert "KeyError: 'no such thing'" in fault(found).what
    assert any("the network does not run" in one for one in found.left_out)
    wide = fault(examined(small(lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 4)))))
    assert wide.name == "does_not_run"


def test_a_decision_cannot_be_read() -> None:
    found = {one.name: one for one in examined(small(behind=lambda x: x.argmax(1))).serious}
    assert "argmax" in found["answer"].what


def test_without_pictures_it_says_what_was_not_tested() -> None:
    found = tp.doctor(wrapped(small()))
    assert (found.healthy, found.images) == (True, 0)
    assert "normalisation: needs 3 photographs or more, 0 given" in found.left_out
    assert "on no picture" in found.verdict


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(tp.TapetumError, match="a model is"):
        tp.doctor(3)


# --- the result


def test_every_finding_has_its_row_on_the_page_and_every_row_its_finding() -> None:
    root = Path(__file__).parents[2]
    files = (root / "src" / "tapetum" / "families" / "health").glob("*.py")
    made = {name for file in files for name in re.findall(r'(?:Finding|_handled)\(\s*"([a-z_]+)"', file.read_text("utf-8"))}
    rows = re.findall(r"^\| (`.+?) \|", (root / "docs" / "howto" / "doctor.md").read_text("utf-8"), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)} == made
    assert len(made) > 20


def test_findings_are_sorted_and_can_be_unpacked() -> None:
    module = with_weights(small(behind=nn.Softmax(1), drop=True).train(), lambda net: net.one.bias[:1].fill_(-100))
    found = examined(module)
    order = [one.severity for one in found.findings]
    assert order == sorted(order, key=["error", "warning", "note"].index)
    for name, severity, what, done, advice in found.findings:
        assert severity in ("error", "warning", "note")
        assert all(text and "\n" not in text and not text.endswith(".") for text in (name, what, done, advice))
    words = str(found)
    assert "warning: training mode: the network is in training mode" in words
    assert "    to do: call model.eval()" in words
    assert tp.doctor(wrapped(module), None).findings


def test_serious_gives_lines_of_what_matters_and_nothing_of_the_healthy() -> None:
    model = wrapped(small(behind=nn.Softmax(1)))
    (line,) = serious(model, model.preprocess(photographs()))
    assert line.startswith("softmax inside: the network ends in a softmax")
    assert serious(wrapped(small()), wrapped(small()).preprocess(photographs())) == []


@pytest.mark.weights
def test_the_built_in_network_is_healthy_and_told_wrong_constants_of() -> None:
    model = tp.load("efficientnet_lite0")
    pictures = [one() for one in PHOTOS]
    found = tp.doctor(model, pictures)
    assert found.healthy, str(found)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert serious(model, model.preprocess(pictures[:1])) == []
    wrong = tp.wrap(model.module, size=224, mean=(0.0,) * 3, std=(1.0,) * 3, labels=model.labels)
    assert fault(tp.doctor(wrong, pictures)).name == "wrong_normalisation"
