"""Attacks: within the budget, never weaker than a single step, the same for one image as for two, and refused where needed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from zoo import SIDE, net, pictures, wrapped

import tapetum as tp
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import wrap
from tapetum.types import MethodError, TapetumError, TargetError

NETS = ("residual", "functional", "channels_last", "vit_mean")
ATTACKS: dict[str, dict[str, Any]] = {"fgsm": {}, "pgd": {"n_steps": 4}, "noise_attack": {}, "deep_fool": {"n_steps": 4}}


def sharp(name: str, **about: Any) -> VisionModel:
    """A network of the zoo that is sure of its answers, so that attacks have something to do."""
    module = net(name)
    with torch.no_grad():
        [part for part in module.modules() if isinstance(part, nn.Linear)][-1].weight.mul_(40)
    return wrapped(module, name, **about)


def photos(n: int = 2) -> Tensor:
    return (0.5 + 0.2 * pictures(n)).clamp(0, 1)


def attacked(method: str, model: VisionModel, images: Tensor, **about: Any) -> tp.Attack:
    return getattr(tp, method)(model, images, **{**ATTACKS[method], **about})


# --- budgets


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("method", ATTACKS)
def test_pixels_stay_in_the_budget_and_in_the_picture_exactly(method: str, norm: str, dtype: torch.dtype) -> None:
    model = sharp("residual")
    model = wrapped(model.module.to(dtype), "residual")
    images = ((photos() * 255).round() / 255).to(dtype)  # as 8-bit files have them
    about = {} if method == "deep_fool" else {"norm": norm}
    if method == "deep_fool" and norm == "inf":
        return
    for eps in (0.0, 4 / 255, 0.1, 0.3):
        found = attacked(method, model, images, eps=eps, **about)
        assert found.pixels.dtype == dtype
        assert float(found.pixels.min()) >= 0
        assert float(found.pixels.max()) <= 1
        size = found.largest if norm == "inf" else found.length
        assert (size <= eps).all()
        if method in ("fgsm", "noise_attack") and norm == "inf":
            torch.testing.assert_close(size, torch.full_like(size, eps), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("method", ATTACKS)
def test_a_budget_of_zero_leaves_picture_answer_and_loss(method: str) -> None:
    found = attacked(method, sharp("functional"), photos(), eps=0)
    assert torch.equal(found.pixels, found.clean)
    assert torch.equal(found.loss[:, 0], found.clean_loss)
    assert found.labels == found.before
    assert not found.success.any()


@pytest.mark.parametrize("method", ATTACKS)
def test_a_list_of_budgets_gives_what_each_gives_alone(method: str) -> None:
    model, images = sharp("residual"), photos()
    many = attacked(method, model, images, eps=["8/255", 1 / 255, "2/255", "8/255"])
    assert many.eps == (1 / 255, 2 / 255, 8 / 255)
    for i, eps in enumerate(many.eps):
        one = attacked(method, model, images, eps=eps)
        assert torch.equal(one.reached[:, 0], many.reached[:, i])
        torch.testing.assert_close(one.loss[:, 0], many.loss[:, i])
    torch.testing.assert_close(one.pixels, many.pixels)
    assert many.rate.shape == (3,)


# --- strength


@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("name", NETS)
def test_pgd_is_never_weaker_than_fgsm(name: str, norm: str) -> None:
    """Also with steps so large that the last picture is worse than the first."""
    model, images = sharp(name), photos(4)
    for eps, step in ((2 / 255, None), (0.1, 0.2), (0.3, 0.001)):
        for target in (None, 2):
            weak = tp.fgsm(model, images, target, eps=eps, norm=norm)
            strong = tp.pgd(model, images, target, eps=eps, norm=norm, n_steps=3, step=step)
            assert (strong.loss >= weak.loss).all()
            assert (strong.success >= weak.success).all()


@pytest.mark.parametrize("name", NETS)
def test_attacks_that_aim_beat_noise_of_the_same_size(name: str) -> None:
    model, images = sharp(name), photos(4)
    noise, step = (attacked(method, model, images, eps="4/255") for method in ("noise_attack", "fgsm"))
    torch.testing.assert_close(noise.length, step.length, rtol=0.02, atol=0)  # where nothing is clipped they are equal
    assert (step.loss > noise.loss).all()


def test_deep_fool_finds_the_distance_to_the_border_of_a_linear_network() -> None:
    """A closed form: min_k |f_k - f_own| / |w_k - w_own|, of a network whose pixels stay inside [0, 1]."""
    model, images = wrapped(net("linear"), "linear"), 0.5 + 0.05 * pictures(2)
    layer = model.module[1]
    scores = layer(images.flatten(1)).detach()
    own = scores.argmax(1)
    found = tp.deep_fool(model, images, overshoot=0.001)
    for row in range(2):
        gap = scores[row, own[row]] - scores[row]
        steep = (layer.weight - layer.weight[own[row]]).norm(dim=1).detach()
        nearest = (gap / steep)[steep > 0].min()
        assert found.success[row]
        torch.testing.assert_close(found.length[row], 1.001 * nearest, rtol=1e-6, atol=0)


def test_fgsm_on_a_linear_network_moves_the_margin_by_eps_times_the_sum_of_its_weights() -> None:
    """Two classes: d log p / d x has the sign of the difference of their weights."""
    layer = nn.Linear(3 * SIDE * SIDE, 2).double()
    model, images = wrapped(nn.Sequential(nn.Flatten(), layer), "two"), 0.5 + 0.05 * pictures(1)
    found = tp.fgsm(model, images, eps=0.01)
    before, after = (layer(one.flatten(1)).detach()[0] for one in (images, found.pixels))
    own = int(before.argmax())
    moved = (before[own] - before[1 - own]) - (after[own] - after[1 - own])
    torch.testing.assert_close(moved, 0.01 * (layer.weight[0] - layer.weight[1]).abs().sum().detach(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("method", ["fgsm", "pgd", "deep_fool"])
def test_a_target_is_led_to_and_the_truth_away_from(method: str) -> None:
    model, images = sharp("functional"), photos()
    aimed = attacked(method, model, images, target=3, eps=2.0 if method == "deep_fool" else 0.2)
    assert aimed.aim == ("class 3",) * 2
    assert torch.equal(aimed.success, torch.tensor([label == "class 3" for label in aimed.labels]))
    assert (aimed.loss[:, 0] > aimed.clean_loss).all()
    answers = [one[0].index for one in tp.predict(model, images, k=1)]
    others = [(index + 1) % 5 for index in answers]
    wrong = attacked(method, model, images, truth=others, eps=0)
    assert wrong.success.all()  # wrong from the start: robust accuracy counts them as lost
    with pytest.raises(MethodError, match="leads to a target, or away from the truth"):
        attacked(method, model, images, target=3, truth=others)


# --- one image or many, the model, the seed


@pytest.mark.parametrize("method", ATTACKS)
@pytest.mark.parametrize("name", NETS)
def test_two_images_get_what_each_gets_alone(method: str, name: str) -> None:
    model, images = sharp(name), photos()
    both = attacked(method, model, images, eps=0.5 if method == "deep_fool" else "4/255")
    for row in range(2):
        alone = attacked(method, model, images[row : row + 1], eps=0.5 if method == "deep_fool" else "4/255")
        torch.testing.assert_close(alone.pixels, both.pixels[row : row + 1], rtol=0, atol=1e-9)
        assert alone.labels == both.labels[row : row + 1]


def test_the_seed_decides_the_noise() -> None:
    model, images = sharp("residual"), photos()
    one, again, other = (tp.noise_attack(model, images, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.pixels, again.pixels)
    assert not torch.equal(one.pixels, other.pixels)


# --- what networks answer with


def of_two(images: Tensor) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 2)).double()


@pytest.mark.parametrize("method", ATTACKS)
def test_every_way_to_say_one_of_two_classes_gives_the_same_attack(method: str) -> None:
    """Two logits, their softmax, its logarithm, one logit, its sigmoid: with two names, or with one."""
    images = photos()
    two = of_two(images)
    ahead = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 1)).double()
    with torch.no_grad():
        ahead[1].weight.copy_(two[1].weight[1:] - two[1].weight[:1])
        ahead[1].bias.copy_(two[1].bias[1:] - two[1].bias[:1])
    ways = [
        wrapped(two, labels=["no", "yes"]),
        wrapped(nn.Sequential(two, nn.Softmax(1)), labels=["no", "yes"]),
        wrapped(nn.Sequential(two, nn.LogSoftmax(1)), labels=["no", "yes"]),
        wrapped(ahead, labels=["no", "yes"]),
        wrapped(nn.Sequential(ahead, nn.Sigmoid()), labels=["no", "yes"]),
        wrapped(ahead, outputs="sigmoid"),
        wrapped(ahead, labels=["cat"], outputs="sigmoid"),
        wrapped(nn.Sequential(ahead, nn.Sigmoid())),
    ]
    made = [attacked(method, model, images, eps=0.1) for model in ways]
    for one in made[1:]:
        torch.testing.assert_close(one.pixels, made[0].pixels, rtol=0, atol=1e-9)
        assert torch.equal(one.success, made[0].success)
    assert {*made[6].before, *made[6].labels} <= {"cat", "not cat"}


REFUSED: dict[str, tuple[nn.Module, dict[str, Any], str]] = {
    "regression": (nn.Sequential(nn.Flatten(), nn.Linear(768, 1)), {}, r"a number, no probability.*outputs='sigmoid'"),
    "measures": (nn.Sequential(nn.Flatten(), nn.Linear(768, 4)), {"outputs": "numbers"}, "4 numbers, no probabilities"),
    "labels": (nn.Sequential(nn.Flatten(), nn.Linear(768, 4)), {"outputs": "sigmoid"}, "4 labels of which several may be true"),
    "places": (nn.Conv2d(3, 4, 3, padding=1), {"outputs": "logits"}, "a class for every place"),
}


class Detached(nn.Module):
    """A network that nobody can follow back."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(768, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.detach().flatten(1))


@pytest.mark.parametrize("method", ["fgsm", "pgd", "deep_fool"])
def test_a_network_without_gradients_is_refused_and_noise_needs_none(method: str) -> None:
    model = wrapped(Detached().double().requires_grad_(False))
    with pytest.raises(TargetError, match=r"no gradient from the picture to the answer.*noise_attack needs none"):
        attacked(method, model, photos())
    assert tp.noise_attack(model, photos()).labels


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("method", ATTACKS)
def test_other_answers_than_one_class_per_image_are_refused(method: str, kind: str) -> None:
    module, about, words = REFUSED[kind]
    with pytest.raises(TargetError, match=words) as refusal:
        attacked(method, wrapped(module.double(), **about), photos())
    assert "\n" not in str(refusal.value)


def test_one_label_of_several_can_be_attacked_alone_as_the_refusal_says() -> None:
    module, _, _ = REFUSED["labels"]
    module = module.double()
    model = wrap(module, size=SIDE, mean=(0,) * 3, std=(1,) * 3, outputs="sigmoid", call=lambda module, x: module(x)[:, 2])
    found = tp.pgd(model, photos(), eps=0.3)
    assert found.success.all()
    assert (module(found.pixels)[:, 2].sigmoid() > 0.5).tolist() == [one == "yes" for one in found.labels]


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"eps": "nothing"}, "eps is a number from 0 up"),
        ({"eps": -0.1}, "eps is a number from 0 up"),
        ({"eps": "4/0"}, "eps is a number from 0 up"),
        ({"eps": []}, "eps holds no number"),
        ({"eps": 4}, "eps is the largest change of a pixel in \\[0, 1\\], not 4: 4/255 is '4/255'"),
        ({"eps": float("nan")}, "eps is a number"),
        ({"step": "fast"}, "step is a number from 0 up"),
        ({"target": tp.contrast(1, 2)}, "give an index or a label, not"),
        ({"target": lambda output: output[:, 0]}, "give an index or a label, not"),
        ({"target": tp.Unit("stem", 0)}, "give an index or a label, not"),
        ({"target": 9}, "9"),
        ({"norm": "1"}, "norm is one of inf, 2"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(about: dict[str, Any], words: str) -> None:
    with pytest.raises(TapetumError, match=words) as refusal:
        tp.pgd(sharp("residual"), photos(), **{"n_steps": 1, **about})
    assert "\n" not in str(refusal.value)


# --- pictures


@pytest.mark.parametrize("channels", [1, 4])
def test_grey_and_multi_band_networks_are_attacked_in_their_own_channels(channels: int) -> None:
    module = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 3)).double()
    model = wrap(module, size=SIDE, mean=(0.4,) * channels, std=(0.2,) * channels)
    pixels = photos(2)[:, :1].expand(-1, channels, -1, -1).contiguous()
    found = tp.pgd(model, model.preprocessing.normalize(pixels), eps=0.05)
    assert found.pixels.shape == pixels.shape
    torch.testing.assert_close(found.clean, pixels)
    assert float(found.largest.max()) <= 0.05
    assert (found.loss[:, 0] > found.clean_loss).all()
    assert tp.draw(found).get_axes()


def test_raw_values_are_attacked_in_shares_of_their_range() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(768, 3)).double()
    model = wrap(module, size=SIDE, mean=(0.5,) * 3, std=(0.25,) * 3, range=(0, 4095), resize="squash")
    raw = (photos() * 4095).round()
    found = tp.fgsm(model, raw, eps=0.01) if raw.dtype != torch.float64 else tp.fgsm(model, model.preprocess(raw), eps=0.01)
    assert float(found.largest.max()) <= 0.01
    torch.testing.assert_close(found.clean, raw / 4095, rtol=1e-6, atol=1e-6)


def test_images_that_are_no_pictures_are_clipped_and_this_is_said() -> None:
    found = tp.fgsm(sharp("residual"), pictures(2))
    assert "clipped to [0, 1]" in " ".join(found.notes)
    assert float(found.clean.min()) >= 0


def test_a_loss_without_slope_is_said() -> None:
    module = nn.Sequential(of_two(photos()), nn.Softmax(1))
    with torch.no_grad():
        module[0][1].bias.copy_(torch.tensor([900.0, -900.0]))
    found = tp.pgd(wrapped(module), photos())
    assert "gradient of exactly 0" in " ".join(found.notes)
    assert not found.success.any()


def test_rounding_to_8_bits_is_told_where_it_undoes_an_attack() -> None:
    """A change of a tenth of a grey level is nothing in a file."""
    model, images = wrapped(of_two(photos())), (photos() * 255).round() / 255
    near = tp.deep_fool(model, images).pixels  # just across the border
    back = tp.pgd(model, near, eps="0.1/255", n_steps=2)
    assert back.success.all()
    assert not tp.pgd(model, near, eps=0.0).in_8_bits.any()
    survived = model.module((back.pixels * 255).round() / 255).argmax(1)
    own = model.module(near).argmax(1)
    assert torch.equal(back.in_8_bits, survived != own)


@pytest.mark.weights
def test_images_of_an_attack_are_what_the_network_answers_to() -> None:
    from skimage.data import chelsea

    model = tp.load("efficientnet_lite0")
    found = tp.fgsm(model, model.preprocess(tp.read_image(chelsea())))
    assert [one[0].label for one in tp.predict(model, found.images, k=1)] == list(found.labels)
    assert found.success.all()
