"""Measured receptive fields: closed forms, and on many networks never beyond what theory lets a place see."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from zoo import pictures, shared, wrapped

import tapetum as tp
from tapetum.families.depth.energy import gradient_energy, smallest_square, support, within
from tapetum.models.layers import Window
from tapetum.models.zoo import SimpleCNN, wrap
from tapetum.models.zoo.inception_v1 import InceptionV1


def sides(window: Window) -> tuple[int, int]:
    top, bottom, left, right = window
    return bottom - top + 1, right - left + 1


def test_the_energy_of_a_linear_layer_is_the_square_of_its_weights() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 1, 5, padding=2)
    model = wrapped(nn.Sequential(layer, nn.Flatten()).double().eval())
    energy, place = gradient_energy(model, ["0"], pictures(3), torch.Generator().manual_seed(0))["0"]
    assert place == (8, 8)
    expected = F.pad(layer.weight[0].detach().square().sum(0), (6, 5, 6, 5))
    assert torch.allclose(energy, expected)  # one channel: its sign does not matter
    assert support(energy) == (6, 10, 6, 10)


def test_over_many_signs_the_energy_is_the_sum_over_channels() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 7, 3, padding=1)
    model = wrapped(nn.Sequential(layer, nn.Flatten()).double().eval())
    energy, _ = gradient_energy(model, ["0"], pictures(1).repeat(300, 1, 1, 1), torch.Generator().manual_seed(0))["0"]
    expected = layer.weight.detach().square().sum((0, 1))
    # the standard error of a mean of 300 draws whose deviation is about as large as their mean is 6 %
    assert torch.allclose(energy[7:10, 7:10], expected, rtol=0.25)


def test_channels_that_say_the_opposite_do_not_cancel() -> None:
    layer = nn.Conv2d(3, 2, 3, padding=1, bias=False)
    with torch.no_grad():
        layer.weight[1] = -layer.weight[0]
    model = wrapped(nn.Sequential(layer, nn.Flatten()).double().eval())
    energy, _ = gradient_energy(model, ["0"], pictures(8), torch.Generator().manual_seed(0))["0"]
    assert support(energy) == (7, 9, 7, 9)


def test_the_smallest_square_of_known_maps() -> None:
    energy = torch.zeros(9, 12)
    energy[2, 3] = energy[4, 6] = 1.0
    assert smallest_square(energy, 0.95) == (2, 5, 3, 6) or sides(smallest_square(energy, 0.95)) == (4, 4)
    assert sides(smallest_square(energy, 0.5)) == (1, 1)
    assert smallest_square(torch.zeros(3, 3), 0.95) is None
    assert support(torch.zeros(3, 3)) is None
    rows = torch.arange(101) - 50
    bell = torch.exp(-rows.square() / (2 * 10.0**2))[:, None] * torch.exp(-rows.square() / (2 * 10.0**2))
    # of a bell of sigma 10 a centred square holds erf(r / (10 sqrt 2))²: 95 % at r = 22.4, so 45 pixels
    assert smallest_square(bell, 0.95) == (28, 72, 28, 72)


def test_the_square_is_the_smallest_of_all_by_brute_force() -> None:
    energy = torch.rand(7, 10, generator=torch.Generator().manual_seed(3)) ** 4

    def held(top: int, left: int, side: int) -> float:
        return float(energy[top : top + side, left : left + side].sum() / energy.sum())

    for share in (0.3, 0.6, 0.95):
        found = smallest_square(energy, share)
        side = max(sides(found))
        assert held(found[0], found[2], side) >= share - 1e-6
        assert all(held(top, left, side - 1) < share for top in range(7) for left in range(10))


# --- theory and measurement on networks with random weights: images small enough for speed, theory larger than the image
# is cut by its border


def torchvision_net(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: getattr(torchvision.models, name)(weights=None, **options)


def timm_net(name: str) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, pretrained=False)


class Dilated(nn.Sequential):
    """Dilations, a stride, an enlargement, a skip from before to behind."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 3, padding=2, dilation=2), nn.Conv2d(6, 6, 3, 2, padding=3, dilation=3)
        self.up, self.last = nn.ConvTranspose2d(6, 6, 4, 2, 1), nn.Conv2d(12, 6, 3, padding=1)
        self.resized, self.end = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x).relu()
        x = self.last(torch.cat([x, self.up(self.two(x).relu())], 1))
        half = F.max_pool2d(x, 2)
        x = x + F.interpolate(self.resized(half), scale_factor=2, mode="bilinear", align_corners=False)
        return self.end(x).mean((2, 3))


FAST: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "simple_cnn": (SimpleCNN, 64, "features.?"),
    "dilated": (Dilated, 64, "*"),
    "alexnet": (torchvision_net("alexnet"), 224, "features.3,features.8,features.12"),
    "squeezenet1_1": (torchvision_net("squeezenet1_1"), 160, "features.3,features.6,features.12"),
    "resnet18": (torchvision_net("resnet18"), 160, "layer1,layer2,layer3"),
    "mobilenet_v2": (torchvision_net("mobilenet_v2"), 160, "features.1,features.4,features.8"),
    "mobilenet_v3_small": (torchvision_net("mobilenet_v3_small"), 96, "features.0,features.1"),
    "shufflenet_v2_x0_5": (torchvision_net("shufflenet_v2_x0_5"), 160, "conv1,maxpool,stage2"),
    "vit_tiny": (timm_net("vit_tiny_patch16_224"), 224, "patch_embed.proj,blocks.0"),
}
SLOW: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "vgg16": (torchvision_net("vgg16"), 224, "features.0,features.2,features.16,features.28"),
    "resnet18_all": (torchvision_net("resnet18"), 480, "layer4"),
    "resnet50": (torchvision_net("resnet50"), 160, "layer1,layer2"),
    "densenet121": (torchvision_net("densenet121"), 160, "features.denseblock1,features.transition2"),
    "googlenet": (torchvision_net("googlenet", init_weights=False, aux_logits=False), 224, "inception3a,inception4a"),
    "inception_v1": (InceptionV1, 224, "mixed3a,mixed3b,mixed4a"),
    "inception_v3": (torchvision_net("inception_v3", init_weights=False, aux_logits=False), 299, "Mixed_5b,Mixed_6a"),
    "mnasnet0_5": (torchvision_net("mnasnet0_5"), 160, "layers.8,layers.9"),
    "tf_efficientnet_lite0": (timm_net("tf_efficientnet_lite0"), 224, "blocks.1,blocks.2,blocks.3"),
    "tf_mobilenetv3_small_minimal": (timm_net("tf_mobilenetv3_small_minimal_100"), 160, "blocks.1,blocks.2"),
    "convnext_atto": (timm_net("convnext_atto"), 160, "stages.0,stages.1"),
    "regnetx_002": (timm_net("regnetx_002"), 160, "s1,s2"),
    "swin": (timm_net("swin_tiny_patch4_window7_224"), 224, "patch_embed.proj,layers.0"),
    "repvgg_a0": (timm_net("repvgg_a0"), 160, "stages.0,stages.1"),
    "fcn_resnet50": (
        lambda: torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None),
        96,
        "backbone.layer1,backbone.layer3",
    ),
}
SWIN_STAGE = "layers.0"
CASES = [pytest.param(*row, id=name) for name, row in FAST.items()]
CASES += [pytest.param(*row, id=name, marks=pytest.mark.slow) for name, row in SLOW.items()]


@pytest.mark.parametrize(("build", "size", "layers"), CASES)
def test_no_gradient_comes_from_outside_the_theoretical_field(build: Callable[[], nn.Module], size: int, layers: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = wrap(build().eval(), size=size)
    names = model.find_layers([*layers.split(",")])
    names = [name for name in names if model.survey[name].grid is not None]
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    energies = gradient_energy(model, names, images, torch.Generator().manual_seed(2))
    for name, (energy, place) in energies.items():
        window, found = model.survey.window(name, place), support(energy)
        assert found is not None, name
        if window is None:
            least = 28 if name == SWIN_STAGE else size  # its windows of 7 x 7 patches are shifted: it sees beyond one
            assert min(sides(found)) >= least, f"{name}: no field, but only {found} is seen"
        else:
            assert within(found, window), f"{name}: {found} beyond {window}"
    assert len(names) >= 2 or layers == "layer4"


def test_a_group_norm_lets_a_place_see_everything_and_this_is_said() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    found = tp.receptive_fields(wrapped(net.double().eval()), pictures(1), layers=["0", "3"])
    first, last = found.fields
    assert (first.side, first.measured, last.side, last.measured) == (3, 3, 5, 16)
    assert found.notes[0].startswith("3: behind a normalisation by the image's own mean and variance")


def test_layer_norm_over_channels_and_batch_norm_keep_fields_local() -> None:
    assert not shared("channels_last").survey.pooled
    assert not shared("in_place").survey.pooled
    loose = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Conv2d(4, 4, 3))
    assert wrapped(loose.double().eval()).survey.pooled == {"1", "2"}


def test_a_field_larger_than_the_image_is_said_to_end_at_its_border() -> None:
    found = tp.receptive_fields(tp.load("resnet18", weights=None), torch.zeros(1, 3, 64, 64), layers="layer2", n=1)
    (field,) = found.fields
    assert (field.side, field.measured, field.extent(found.size)) == (99, 64, "64 (border)")


def test_silence_is_said() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.fill_(-1.0)
    found = tp.receptive_fields(wrapped(net.double().eval()), pictures(1), layers="1")
    assert (found.fields[0].measured, found.fields[0].support) == (0, None)
    assert "no gradient reached the image" in found.notes[0]
    assert found.energy.max() == 0


def test_the_given_images_or_noise_are_what_it_is_measured_on() -> None:
    images = pictures(2)
    noise = tp.receptive_fields(shared("residual"), images, layers="second")
    own = tp.receptive_fields(shared("residual"), images, layers="second", on="images", n=2)
    assert (noise.measured_on, own.measured_on) == ("4 images of noise", "2 images, 2 passes each")
    assert not torch.equal(noise.energy, own.energy)
    assert noise.fields[0].theory == own.fields[0].theory
