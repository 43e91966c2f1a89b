"""Names, maps and the choice of a layer: small nets where every number can be counted, and the families we claim."""

from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torchvision.ops import DeformConv2d

from tapetum.models.choice import choose_layer
from tapetum.models.layers import from_map, resolve, survey, to_map
from tapetum.models.operations.nested import main_tensor, outputs, with_main_tensor
from tapetum.types import LayerError


class Residual(nn.Module):
    """A stem, a reused and a functional ReLU, `+=`, a pool and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.left, self.right = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.relu, self.head = nn.ReLU(inplace=True), nn.Linear(8, 5)

    def forward(self, x):
        x = self.relu(self.stem(x))
        y = F.relu(self.left(x))
        y += self.right(x)
        return {"logits": self.head(self.relu(y).mean((2, 3)))}


class ChannelsLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6)
        self.mlp = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))
        self.conv, self.head = nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.conv(self.stem(x)).permute(0, 2, 3, 1)
        return self.head((x + self.mlp(self.norm(x))).mean((1, 2)))


class Attend(nn.Module):
    """One block of attention by hand, with the batch axis first."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        y = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        return x + self.out(y.transpose(1, 2).reshape(n, t, c))


class TinyViT(nn.Module):
    def __init__(self, pool="token", width=8):
        super().__init__()
        self.pool = pool
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.cls = nn.Parameter(torch.randn(1, 2, width))
        self.blocks = nn.Sequential(*[Attend(width) for _ in range(3)])
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 5)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.norm(self.blocks(torch.cat([self.cls.expand(len(x), -1, -1), x], 1)))
        return self.head(x[:, 0] if self.pool == "token" else x[:, 2:].mean(1))


class NeedsNumbers(nn.Module):
    """Leaves the device it was given and branches on a value, so the meta device cannot run it."""

    def __init__(self, fails=False):
        super().__init__()
        self.fails, self.conv, self.head = fails, nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        x = self.conv(x)
        if self.fails:
            raise RuntimeError("on purpose")
        return self.head((x if x.mean().item() > 0 else -x).mean((2, 3)))


def images(h=32, w=None):
    return torch.zeros(1, 3, h, w or h)


def hook_count(net):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in net.modules())


def captured(net, names, x):
    acts, handles = {}, []
    for name in names:
        keep = lambda _, args, out, name=name: acts.__setitem__(name, main_tensor(out))  # noqa: E731
        handles.append(net.get_submodule(name).register_forward_hook(keep))
    out = main_tensor(net(x))
    for handle in handles:
        handle.remove()
    return acts, out


def test_survey_counts_calls_parameters_and_bytes() -> None:
    found = survey(Residual().eval(), images())
    assert [layer.name for layer in found.layers] == ["stem", "left", "right", "relu", "head"]
    assert found["stem"].shape == (1, 8, 16, 16)
    assert found["stem"].parameters == 3 * 8 * 9 + 8
    assert found["relu"].calls == 2
    assert found.order == ("stem", "left", "right", "relu", "head")
    assert found.activation_bytes == 4 * (8 * 16 * 16 * 5 + 5)
    assert found.largest_bytes == 4 * 8 * 16 * 16
    assert found.device == "meta"


def test_survey_computes_nothing_where_it_can_and_runs_for_real_where_it_must() -> None:
    assert survey(TinyViT().eval(), images()).device == "meta"
    found = survey(NeedsNumbers().eval(), images())
    assert found.device == "real"
    assert choose_layer(found)[0] == "conv"


@pytest.mark.parametrize("net", [Residual(), NeedsNumbers(), NeedsNumbers(fails=True)])
def test_survey_leaves_the_network_as_it_came(net: Any) -> None:
    net.eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    try:
        survey(net, images())
    except RuntimeError as error:
        assert str(error) == "on purpose"
        assert net.fails
    assert hook_count(net) == 0
    assert all(tensor.device.type == "cpu" and tensor.grad is None for tensor in net.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_main_tensor_is_the_first_of_floating_point_in_any_output_and_others_have_their_way_there() -> None:
    @dataclass
    class Output:
        loss: None
        logits: torch.Tensor

    x, y = torch.zeros(1), torch.ones(1)
    for output in (x, (None, x, y), [{"a": None, "b": x}], Output(None, x), namedtuple("Pair", "a b")(x, y)):
        assert main_tensor(output) is x
    ids = torch.zeros(1, dtype=torch.int64)
    assert main_tensor((ids, {"maps": [y, x]})) is y
    assert [way for way, _ in outputs((ids, {"maps": [y, x]}))] == ["1.maps.0", "1.maps.1"]
    assert main_tensor((ids, {"maps": [y, x]}), way="1.maps.1") is x
    assert with_main_tensor((ids, {"maps": [y, x]}), 2 * y, "1.maps.1") == (ids, {"maps": [y, 2 * y]})
    with pytest.raises(LayerError, match="head returns no floating point tensor"):
        main_tensor({"a": 1}, "head")
    with pytest.raises(LayerError, match="head returned no output 'b' this time"):
        main_tensor({"a": x}, "head", "b")


def test_channels_last_layers_are_known_by_their_axes_not_by_their_sizes() -> None:
    # width 6 on a grid of 6 x 6: no shape argument can tell channels from rows
    found = survey(ChannelsLast().eval(), images(24))
    assert {name: found.maps[name].layout for name in ("stem", "conv", "norm", "mlp.0", "mlp", "head")} == {
        "stem": "nchw", "conv": "nchw", "norm": "nhwc", "mlp.0": "nhwc", "mlp": "nhwc", "head": "none",
    }  # fmt: skip
    assert found["mlp.0"].channels == 12


def test_tokens_keep_their_prefix_and_windows_are_no_map() -> None:
    found = survey(TinyViT().eval(), images(32, 48))
    where = found.maps["blocks.1.qkv"]
    assert (where.layout, where.prefix, where.grid, where.channels) == ("tokens", 2, (4, 6), 24)
    with torch.device("meta"):
        swin_t, maxvit_t = torchvision.models.swin_t(weights=None), torchvision.models.maxvit_t(weights=None)
    swin = survey(swin_t.eval(), images(224))
    assert swin.maps["features.3.0.mlp.0"].layout == "nhwc"
    maxvit = survey(maxvit_t.eval(), images(224))
    assert maxvit.maps["blocks.0.layers.0.layers.window_attention.attn_layer.0"].layout == "none"


@pytest.mark.parametrize("name", ["patches", "blocks.1", "blocks.2.qkv"])
def test_to_map_and_back_at_another_size(name: str) -> None:
    net, x = TinyViT().eval(), torch.randn(2, 3, 40, 24)
    found = survey(net, images(32))
    acts, _ = captured(net, [name], x)
    act, where = acts[name].detach().requires_grad_(), found.maps[name]
    values = to_map(where, act, (40, 24))
    assert values.shape[-2:] == (5, 3)
    assert torch.equal(from_map(where, values, act), act)
    (gradient,) = torch.autograd.grad(values[1, :, 4, 1].sum(), act)
    expected = torch.zeros_like(act)
    expected[(1, slice(None), 4, 1) if act.ndim == 4 else (1, where.prefix + 4 * 3 + 1)] = 1
    assert torch.equal(gradient, expected)


def test_to_map_refuses_what_does_not_fit() -> None:
    found = survey(TinyViT().eval(), images(32))
    with pytest.raises(LayerError, match="head gives no map"):
        to_map(found.maps["head"], torch.zeros(1, 5), (32, 32))
    with pytest.raises(LayerError, match="16 patch tokens; an image of 64 x 64 at stride 8 x 8 has 8 x 8"):
        to_map(found.maps["norm"], torch.zeros(1, 18, 8), (64, 64))


def test_resolve_takes_names_and_globs_and_suggests() -> None:
    found = survey(torchvision.models.googlenet(weights=None, init_weights=False).eval(), images(224), "googlenet")
    assert resolve(found, "inception4a") == ["inception4a"]
    assert resolve(found, "inception5?") == ["inception5a", "inception5b"]
    with pytest.raises(LayerError, match=r"no layer 'inception4z' in googlenet; close names: inception4"):
        resolve(found, "inception4z")
    with pytest.raises(LayerError, match=r"no layer 'nothing\*'"):
        resolve(found, "nothing*")


def test_an_unknown_operation_with_weights_may_be_the_last_that_looks_at_several_places() -> None:
    class Deformed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.where, self.then = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 18, 3, padding=1), DeformConv2d(6, 8, 3)
            self.point, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 3)

        def forward(self, x):
            x = self.first(x).relu()
            return self.head(self.point(self.then(x, self.where(x))).mean((2, 3)))

    class Filter(nn.Module):
        """Multiplied where the map is a sum of waves."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 16, 9, 2))

        def forward(self, x):
            return torch.fft.irfft2(torch.fft.rfft2(x) * torch.view_as_complex(self.weight), s=x.shape[-2:])

    waves = nn.Sequential(nn.Conv2d(3, 8, 2, 2), nn.ReLU(), Filter(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    assert choose_layer(survey(Deformed().eval(), images()))[0] == "then"
    assert choose_layer(survey(waves.eval(), images()))[0] == "2"


def test_choice_on_small_nets() -> None:
    assert choose_layer(survey(Residual().eval(), images()))[0] == "left"
    # the last block attends in its own forward, so what feeds it is the block before
    assert choose_layer(survey(TinyViT("token").eval(), images()))[0] == "blocks.1"
    assert choose_layer(survey(TinyViT("mean").eval(), images()))[0] == "norm"
    classes = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3), nn.Upsample(scale_factor=2))
    assert choose_layer(survey(classes.eval(), images()))[0] == "1", "a map of classes is the answer, not evidence"


class Branches(nn.Module):
    """Two branches of 3 x 3 convolutions and their sum."""

    def __init__(self, **options):
        super().__init__()
        self.left, self.right = nn.Conv2d(8, 8, 3, **options), nn.Sequential(nn.Conv2d(8, 8, 3, **options), nn.ReLU())

    def forward(self, x):
        return self.left(x) + self.right(x)


class BranchesAtTheTop(Branches):
    """As HRNet: the sum is made by the network itself, and a 1 x 1 convolution with its activation reads it."""

    def __init__(self):
        super().__init__(padding=1)
        self.stem, self.fused, self.act = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.ReLU()

    def forward(self, x):
        return self.act(self.fused(super().forward(self.stem(x)))).mean((2, 3))


def test_choice_sees_every_branch() -> None:
    assert choose_layer(survey(BranchesAtTheTop().eval(), images()))[0] == "act", "not right, which is half of the sum"
    stem = [nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU()]
    cell = Branches(padding=1, stride=2)  # as Inception on small images: of 2 x 2 it makes one cell
    cell.right = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, 2, 1))
    net = nn.Sequential(*stem, cell, nn.Conv2d(8, 8, 3, padding=1), nn.Flatten(), nn.Linear(8, 5)).eval()
    name, reason = choose_layer(survey(net, images(16)))
    assert name == "3", "not 4.right.0, one branch of two"
    assert reason == "the last 2 x 2 map that all of 4 reads, which makes one cell of it"


def test_a_net_without_places_says_so() -> None:
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)).eval()
    with pytest.raises(LayerError, match=r"mlp has no spatial map; none of its layers gives an output with places"):
        choose_layer(survey(mlp, images(), "mlp"))


# The family, its size, the layer expected by hand, (layout, prefix, h, w, c), and an earlier layer of the same kind to
# look for the blob in, where random weights spread it over the whole of the chosen one.
ZOO = [
    ("alexnet", 224, "features.11", ("nchw", 0, 13, 13, 256), None),
    ("vgg16", 224, "features.29", ("nchw", 0, 14, 14, 512), None),
    ("resnet18", 224, "layer4", ("nchw", 0, 7, 7, 512), None),
    ("resnet50", 224, "layer4", ("nchw", 0, 7, 7, 2048), None),
    ("densenet121", 224, "features.norm5", ("nchw", 0, 7, 7, 1024), None),
    ("googlenet", 224, "inception5b", ("nchw", 0, 7, 7, 1024), None),
    ("inception_v3", 299, "Mixed_7c", ("nchw", 0, 8, 8, 2048), None),
    ("mobilenet_v3_large", 224, "features.15", ("nchw", 0, 7, 7, 160), None),
    ("efficientnet_b0", 224, "features.7", ("nchw", 0, 7, 7, 320), None),
    ("convnext_tiny", 224, "features.7", ("nchw", 0, 7, 7, 768), None),
    ("regnet_y_400mf", 224, "trunk_output.block4", ("nchw", 0, 7, 7, 440), None),
    ("shufflenet_v2_x1_0", 224, "stage4", ("nchw", 0, 7, 7, 464), None),
    ("squeezenet1_1", 224, "features.12", ("nchw", 0, 13, 13, 512), None),
    ("mnasnet0_5", 224, "layers.13", ("nchw", 0, 7, 7, 160), None),
    ("swin_t", 224, "norm", ("nhwc", 0, 7, 7, 768), None),
    ("swin_v2_t", 224, "norm", ("nhwc", 0, 7, 7, 768), "features.5"),
    ("vit_b_16", 224, "encoder.layers.encoder_layer_11.ln_1", ("tokens", 1, 14, 14, 768), "encoder.dropout"),
    ("maxvit_t", 224, "blocks.3", ("nchw", 0, 7, 7, 512), "stem"),
    ("timm:deit_tiny_patch16_224", 224, "blocks.11.norm1", ("tokens", 1, 14, 14, 192), "blocks.0.norm1"),
    ("timm:pit_xs_224", 224, "transformers.2.blocks.3.norm1", ("tokens", 1, 7, 7, 384), "patch_embed"),
    ("timm:coat_tiny", 224, "parallel_blocks.5.norm14", ("tokens", 1, 7, 7, 152), "patch_embed1"),
    ("timm:vit_medium_patch16_reg4_gap_256", 256, "blocks", ("tokens", 4, 16, 16, 512), None),
    ("timm:vit_small_patch14_reg4_dinov2", 224, "blocks.11.norm1", ("tokens", 5, 16, 16, 384), None),
    ("timm:resnetv2_50", 224, "norm", ("nchw", 0, 7, 7, 2048), None),
    ("timm:repvgg_a0", 224, "stages.3", ("nchw", 0, 7, 7, 1280), "stages.1"),
    ("timm:mixer_s16_224", 224, "norm", ("tokens", 0, 14, 14, 512), "blocks.0.norm1"),
    ("timm:poolformer_s12", 224, "stages.3", ("nchw", 0, 7, 7, 512), None),
    ("timm:swin_tiny_patch4_window7_224", 224, "norm", ("nhwc", 0, 7, 7, 768), None),
    ("timm:convnext_tiny", 224, "stages.3", ("nchw", 0, 7, 7, 768), None),
    ("timm:hrnet_w18_small", 224, "final_layer", ("nchw", 0, 7, 7, 2048), None),
    ("timm:tnt_s_patch16_224", 224, "blocks.11.norm_out", ("tokens", 1, 14, 14, 384), "norm2_proj"),
    ("timm:tf_efficientnet_lite0", 224, "blocks.6", ("nchw", 0, 7, 7, 320), "blocks.4"),
]


def build(name, size):
    if name.startswith("timm:"):
        options = {"img_size": size} if "dinov2" in name else {}
        return timm.create_model(name[5:], pretrained=False, **options).eval()
    options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(torchvision.models, name)(weights=None, **options).eval()


@pytest.mark.parametrize(("name", "size", "chosen", "expected"), [row[:4] for row in ZOO], ids=[row[0] for row in ZOO])
def test_zoo_choice_and_layout(name: Any, size: Any, chosen: Any, expected: Any) -> None:
    with torch.device("cpu" if name == "regnet_y_400mf" else "meta"):
        net = build(name, size)
    found = survey(net, torch.empty(1, 3, size, size, device="meta"), name)
    where = found.maps[choose_layer(found)[0]]
    assert (where.name, (where.layout, where.prefix, *where.grid, where.channels)) == (chosen, expected)
    assert found.device == "meta"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "chosen", "expected", "placed"), ZOO, ids=[row[0] for row in ZOO])
def test_zoo_against_a_real_pass(name: Any, size: Any, chosen: Any, expected: Any, placed: Any) -> None:
    """Shapes are those of a real pass; a blob in a corner moves that corner; the score's gradient reaches the map."""
    torch.manual_seed(0)
    net = build(name, size).requires_grad_(False)
    for part in net.modules():
        if isinstance(part, nn.Linear) and not part.weight.any():  # heads that start at zero have no gradient
            nn.init.normal_(part.weight)
    found, quarter = survey(net, images(size), name), size // 4
    x = torch.zeros(3, 3, size, size)
    x[1, :, :quarter, :quarter] = 3
    x[2, :, :quarter, -quarter:] = 3
    acts, logits = captured(net, found.maps, x.requires_grad_())
    once = [layer for layer in found.layers if layer.calls == 1 and layer.shape[0] == 1]
    assert [layer.name for layer in once if acts[layer.name].shape[1:] != layer.shape[1:]] == []

    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), acts[chosen])
    reached = to_map(found.maps[chosen], gradient, (size, size)).abs().sum(1) > 0
    assert reached.float().mean() > 0.05, "the gradient stops at the class token"

    placed = placed or chosen
    values = to_map(found.maps[placed], acts[placed].detach(), (size, size))
    left, right = (values[1:] - values[:1]).abs().sum(1)
    rows, half = (left.shape[0] + 1) // 2, (left.shape[1] + 1) // 2
    assert left[:rows, :half].sum() > 0.35 * left.sum()
    assert left[:rows, :half].sum() > 1.2 * left[:rows, -half:].sum()
    assert right[:rows, -half:].sum() > 1.2 * right[:rows, :half].sum()
    assert right[:rows, -half:].sum() > 1.2 * right[-rows:, :half].sum(), "rows and columns are swapped"
