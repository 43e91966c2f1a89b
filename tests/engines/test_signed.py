"""Pre-activations: what stood before the activation function that ends a layer, whatever its spelling."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from zoo import NETS, Head, conv, pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.render import Recipe, measure, render
from tapetum.engines.render.objectives import channel
from tapetum.engines.signed import capture_signed, taps
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError

Function = Callable[[Tensor], Tensor]


def logits(output: Any) -> Tensor:
    """The table in an answer of torchvision's or of the zoo's networks."""
    found = output["logits"] if isinstance(output, dict) else getattr(output, "logits", output)
    return found[0] if isinstance(found, (tuple, list)) else found


class Act(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def network(function: Function | nn.Module) -> VisionModel:
    """Layer "1" is the function, on what the convolution "0" gives; "2" is a convolution behind it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        act = function if isinstance(function, nn.Module) else Act(function)
        return wrapped(nn.Sequential(conv(3, 8), act, conv(8, 8), Head(8)).double())


@torch.no_grad()
def signed(model: VisionModel, images: Tensor, *layers: str) -> dict[str, Tensor]:
    with capture_signed(model, layers) as acts:
        model(images)
    return acts


@torch.no_grad()
def plain(model: VisionModel, images: Tensor, *layers: str) -> dict[str, Tensor]:
    with tp.capture(model, layers) as acts:
        model(images)
    return acts


def hard_swish(x: Tensor) -> Tensor:
    """As timm wrote it: two in-place steps on the gate, one on x."""
    inner = F.relu6(x + 3.0).div_(6.0)
    return x.mul_(inner)


def shuffled(x: Tensor) -> Tensor:
    return torch.cat([part.relu() for part in x.chunk(2, 1)], 1).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


ENDINGS: dict[str, Function] = {
    "function": F.relu,
    "method": lambda x: x.relu(),
    "in place": lambda x: x.relu_(),
    "functional in place": lambda x: F.relu(x, inplace=True),
    "clamp": lambda x: x.clamp(min=0),
    "clamp in place": lambda x: torch.clamp_(x, min=0),
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, inplace=True),
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "elu": lambda x: F.elu_(x),
    "gelu": F.gelu,
    "silu": lambda x: F.silu(x, inplace=True),
    "hardswish": F.hardswish,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": lambda x: x.tanh(),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "swish by hand": lambda x: x * torch.sigmoid(x),
    "swish by hand, in place": lambda x: x.mul_(x.sigmoid()),
    "quick gelu by hand": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu by hand": lambda x: 0.5 * x * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0)))),
    "exact gelu by hand": lambda x: x * 0.5 * (1.0 + torch.erf(x / math.sqrt(2))),
    "mish by hand": lambda x: x.mul(F.softplus(x).tanh()),
    "hardswish by hand": hard_swish,
    "mish by hand, with a logarithm": lambda x: x * torch.tanh(torch.log(1 + torch.exp(x))),
    "swish by hand, of a negative": lambda x: x * (1 - torch.sigmoid(-x)),
    "logsigmoid": F.logsigmoid,
    "tanhshrink": F.tanhshrink,
    "transposed": lambda x: F.relu(x.mT).mT.clone(),
    "stacked": lambda x: torch.stack([part.relu() for part in x.chunk(2, 1)], 1).flatten(1, 2),
    "dropout behind": lambda x: F.dropout(F.relu(x), 0.5, training=False),
    "halves": shuffled,
    "views": lambda x: F.relu(x.flatten(2)).unflatten(2, x.shape[-2:]).clone(),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_an_activation_is_applied_to_is_kept_whatever_its_spelling(ending: str) -> None:
    function, images = ENDINGS[ending], pictures(2)
    model = network(function)
    before = signed(model, images, "1")["1"]
    assert taps(model, "1") == {"1": "pre-activation"}
    assert torch.equal(before, plain(model, images, "0")["0"])
    assert torch.equal(function(before.clone()), plain(model, images, "1")["1"])


@pytest.mark.parametrize(
    "module", [nn.ReLU(inplace=True), nn.GELU(), nn.PReLU(8), nn.Mish(), nn.Sequential(nn.SiLU(), nn.Identity(), nn.Dropout())]
)
def test_modules_are_followed_like_functions(module: nn.Module) -> None:
    model, images = network(module), pictures(2)
    assert torch.equal(signed(model, images, "1")["1"], plain(model, images, "0")["0"])


OTHER_ENDS: dict[str, Function] = {
    "square": lambda x: x * x,
    "squeeze and excite": lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "gated by neighbours": lambda x: x * torch.sigmoid(F.avg_pool2d(x, 3, 1, 1)),
    "sum": lambda x: x + F.relu(x),
    "scaled": lambda x: F.relu(x) * 2,
    "shifted in place": lambda x: F.relu(x).add_(1),
    "pooled": lambda x: F.max_pool2d(F.relu(x), 3, 1, 1),
    "half of the channels": lambda x: torch.cat([x[:, :4].relu(), x[:, 4:]], 1),
    "negated": lambda x: -x,
    "softmax": lambda x: x.softmax(1),
    "lower bound of one": lambda x: x.clamp(min=1),
    "a view overwritten": lambda x: F.relu(x) if F.relu_(x[:, :2]) is None else x,
}


@pytest.mark.parametrize("end", OTHER_ENDS)
def test_a_layer_that_ends_otherwise_gives_its_output(end: str) -> None:
    model, images = network(OTHER_ENDS[end]), pictures(2)
    assert taps(model, "1") == {"1": "output"}
    assert torch.equal(signed(model, images, "1")["1"], plain(model, images, "1")["1"])


def overwriting(x: Tensor) -> Tensor:
    y = F.relu(x)
    x += 1
    return y


def test_a_pre_activation_that_is_overwritten_inside_the_layer_is_not_made_up() -> None:
    model, images = network(overwriting), pictures(1)
    assert taps(model, "1") == {"1": "output"}
    assert torch.equal(signed(model, images, "1")["1"], plain(model, images, "1")["1"])


class LaterOverwritten(nn.Module):
    """The stream that the ReLU was applied to goes on, and is added to in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu, self.branch, self.head = conv(3, 8), nn.ReLU(), conv(8, 8), Head(8)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x += self.branch(self.relu(x))
        return self.head(x)


def test_what_is_overwritten_behind_the_layer_is_kept_as_it_was() -> None:
    with torch.random.fork_rng(devices=[]):
        model, images = wrapped(LaterOverwritten().double()), pictures(1)
    before = signed(model, images, "relu", "head")["relu"]
    assert torch.equal(before, model.module.get_submodule("stem")(images).detach())


EXPECTED = {  # of tests/zoo.py: the layers that end in an activation function
    "linear": set(), "linear_conv": set(), "functional": set(), "channels_last": set(), "vit_token": set(), "vit_mean": set(),
    "in_place": {"features", "features.2", "features.3", "features.6", "drop"},
    "reused": {"relu"},
    "residual": {"first", "first.relu", "second", "second.relu"},
    "as_dict": {"net.relu"},
    "as_dataclass": {"encoder"},
    "branches": {"relu"},
}  # fmt: skip


@pytest.mark.parametrize("name", NETS)
def test_the_taps_of_the_zoo_and_what_they_give(name: str) -> None:
    model, images = shared(name), pictures(3)
    found = taps(model, "*")
    assert {layer for layer, tap in found.items() if tap == "pre-activation"} == EXPECTED[name]
    with torch.no_grad(), tp.capture(model, "*", stop=False, raw=True) as outputs:
        answer = model(images)
    with torch.no_grad(), capture_signed(model, "*", stop=False, raw=True) as values:
        same = model(images)
    for layer, tap in found.items():
        assert torch.equal(values[layer].relu() if tap == "pre-activation" else values[layer], outputs[layer])
        if tap == "pre-activation":
            assert (values[layer] < 0).any()
    assert torch.equal(logits(answer), logits(same))  # the pass itself is the same


def random_net(name: str, size: int = 64, **options: object) -> VisionModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torchvision.models.get_model(name, weights=None, **options).eval()
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):  # units that are neither dead nor always on
                part.bias.data.normal_(0, 0.5)
    return tp.wrap(module, size=size, mean=(0.0,) * 3, std=(1.0,) * 3, name=name)


@torch.no_grad()
def test_a_residual_block_gives_its_sum() -> None:
    model, images = random_net("resnet18"), pictures(2, 64, dtype=torch.float32)
    layers = [f"layer{i}" for i in range(1, 5)]
    values = signed(model, images, *layers)
    parts = plain(model, images, *[f"{layer}.{part}" for layer in layers for part in ("0", "1.bn2")])
    outputs = plain(model, images, *layers)
    for layer in layers:
        assert torch.equal(values[layer], parts[f"{layer}.1.bn2"] + parts[f"{layer}.0"])  # the shortcut is the block's input
        assert torch.equal(values[layer].relu(), outputs[layer])
        assert (values[layer] < 0).any()


def test_an_inception_block_gives_its_branches_side_by_side() -> None:
    model = random_net("googlenet", num_classes=20, init_weights=False, aux_logits=False)
    images = pictures(2, 64, dtype=torch.float32)
    ends = [f"inception4a.{branch}.bn" for branch in ("branch1", "branch2.1", "branch3.1", "branch4.1")]
    parts = plain(model, images, *ends)
    values = signed(model, images, "inception4a", "inception3b")
    assert torch.equal(values["inception4a"], torch.cat([parts[end] for end in ends], 1))
    outputs = plain(model, images, "inception4a", "inception3b")
    assert all(torch.equal(values[layer].relu(), outputs[layer]) for layer in values)


def test_vgg_gives_what_its_relu_modules_are_applied_to() -> None:
    features = torchvision.models.vgg.make_layers([16, "M", 16, "M", 16, 16, "M"])
    model, images = wrapped(nn.Sequential(features, Head(16)).double()), pictures(1)
    assert torch.equal(signed(model, images, "0.9")["0.9"], plain(model, images, "0.8")["0.8"])
    assert taps(model, "0.10") == {"0.10": "output"}  # pooling


@pytest.mark.slow
def test_a_shuffled_block_whose_untouched_half_was_behind_a_relu_earlier() -> None:
    model, images = random_net("shufflenet_v2_x0_5", num_classes=5), pictures(1, 64, dtype=torch.float32)
    block, output = signed(model, images, "stage3.2")["stage3.2"], plain(model, images, "stage3.2")["stage3.2"]
    assert torch.equal(block.relu(), output)
    branch = plain(model, images, "stage3.2.branch2.6")["stage3.2.branch2.6"]
    assert torch.equal(block[:, 1::2], branch)  # the new half
    assert torch.equal(block[:, ::2], signed(model, images, "stage3.1")["stage3.1"][:, : branch.shape[1]])


VIT = "encoder.layers.encoder_layer_3"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "block", "act", "before"), [
    ("convnext_tiny", "features.3.1", "features.3.1.block.4", "features.3.1.block.3"),
    ("vit_b_32", VIT, f"{VIT}.mlp.1", f"{VIT}.mlp.0"),
])  # fmt: skip
def test_blocks_of_transformers_and_their_kin_end_in_a_sum_their_gelus_in_none(
    name: str, block: str, act: str, before: str
) -> None:
    model = random_net(name, 224, num_classes=5)
    images = pictures(1, 224, dtype=torch.float32)
    assert taps(model, [block, act]) == {block: "output", act: "pre-activation"}
    values, outputs = signed(model, images, block, before, act), plain(model, images, block)
    assert torch.equal(values[act], values[before])
    # under a function mode torch takes its general way through attention, which sums in another order
    torch.testing.assert_close(values[block], outputs[block])


def test_a_token_layer_arrives_as_a_map() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches, self.up, self.act, self.down = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.down(self.act(self.up(self.patches(images).flatten(2).transpose(1, 2))).mean(1))

    with torch.random.fork_rng(devices=[]):
        model, images = wrapped(Tokens().double()), pictures(2)
    assert torch.equal(signed(model, images, "act")["act"], plain(model, images, "up")["up"])
    assert signed(model, images, "act")["act"].shape == (2, 8, 4, 4)


@pytest.mark.weights
@pytest.mark.slow
def test_linear_bottlenecks_give_their_output() -> None:
    model = tp.load("efficientnet_lite0")
    assert set(taps(model, "blocks.*.?").values()) == {"output"}
    assert taps(model, "blocks.3.0.bn1") == {"blocks.3.0.bn1": "pre-activation"}


def test_the_pass_stops_after_the_last_layer_and_leaves_nothing_behind() -> None:
    model, images = network(F.relu), pictures(1)
    assert taps(model, "1")
    with capture_signed(model, "1") as acts:
        assert model(images) is None
    with capture_signed(model, "1", stop=False):
        assert model(images) is not None
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.replica.modules())
    assert set(acts) == {"1"}


def test_several_passes_in_one_block_keep_the_last() -> None:
    model, one, two = shared("residual"), pictures(1), pictures(1, seed=1)
    with torch.no_grad(), capture_signed(model, "second", stop=False) as acts:
        model(one)
        model(two)
    assert torch.equal(acts["second"], signed(model, two, "second")["second"])


def test_other_image_sizes_and_inference_mode() -> None:
    model = network(lambda x: x.relu_())
    with torch.inference_mode():
        values = signed(model, pictures(1, 24), "1")["1"]
    assert torch.equal(values, plain(model, pictures(1, 24), "0")["0"])


def test_gradients_reach_the_image_where_the_activation_would_stop_them() -> None:
    model, images = network(F.relu), pictures(1).requires_grad_()
    with capture_signed(model, "1") as acts:
        model(images)
    acts["1"].sum().backward()
    again = pictures(1).requires_grad_()
    model.module.get_submodule("0")(again).sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, again.grad)


def test_threads_do_not_see_each_others_values() -> None:
    model, results = network(lambda x: x.relu_()), dict[int, Tensor]()

    def work(seed: int) -> None:
        for _ in range(5):
            results[seed] = signed(model, pictures(1, seed=seed), "1")["1"]

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, values in results.items():
        assert torch.equal(values, plain(model, pictures(1, seed=seed), "0")["0"])


def test_a_network_that_decides_from_image_to_image_is_refused() -> None:
    model = network(lambda x: x.relu() if float(x.abs().max()) < 1.5 else x + 0)
    assert taps(model, "1") == {"1": "pre-activation"}  # of a blank image
    with pytest.raises(LayerError, match=r"^1 ends in an activation function for a blank image and not for these"):
        signed(model, 100 * pictures(1), "1")


def test_names_of_pre_relu_layers_are_refused_with_the_layer_that_has_them() -> None:
    with pytest.raises(LayerError, match="no layer 'second_pre_relu' in residual; close names: second"):
        taps(shared("residual"), "second_pre_relu")


def test_an_objective_in_front_of_the_relu_reads_and_raises_what_the_convolution_gives() -> None:
    """A channel that its ReLU silences everywhere gets no gradient behind it, and the convolution's own in front of it."""
    model = network(F.relu)
    model.module.get_submodule("0").bias.data[2] = -100.0
    behind, before, linear = channel("1", 2), channel("1", 2, pre_activation=True), channel("0", 2)
    pixels = pictures(3).clamp(0, 1)
    assert torch.equal(measure(model, before, pixels), measure(model, linear, pixels))
    assert not measure(model, behind, pixels).any()
    recipe = Recipe(n_steps=4, transforms=(), redirect=0)
    made = [render(model, [-one], recipe, size=(16, 16)) for one in (behind, before, linear)]
    assert [one.status for one in made] == [("silent",), ("ok",), ("ok",)]
    assert torch.equal(made[1].pixels, made[2].pixels)
    assert torch.equal(made[1].values, made[2].values)
    both = render(model, [-before, channel("1", 3), before + channel("2", 0)], recipe, size=(16, 16))
    assert torch.equal(both.pixels[:1], made[1].pixels)  # one of several, each as it would be alone
    assert str(before) == "channel(1, 2, pre_activation=True)"
