"""Attention methods against a network computed by hand in NumPy, whose attention can be nudged.

Derivatives there are central differences of step 1e-5 in float64: exact to about 1e-10 of values near one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from transformers import (
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from zoo import net, pictures, shared, wrapped

import tapetum as tp
from tapetum.engines.attention import attention_weights
from tapetum.types import LayerError, MethodError

METHODS = ("attention_rollout", "gradient_attention", "le_grad")
CLASS = 3


# --- by hand


class ByHand:
    """The zoo's ViT on one image, in NumPy. `nudge[l]` is added to the attention of layer l after its softmax."""

    def __init__(self, module: nn.Module) -> None:
        self.w = {name: value.detach().numpy() for name, value in module.state_dict().items()}
        self.token = self.w.get("token")

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]
        )

    def tokens(self, image: np.ndarray) -> np.ndarray:
        rows = []
        for i in range(4):
            for j in range(4):
                patch = image[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
                rows.append((self.w["patches.weight"] * patch).sum((1, 2, 3)) + self.w["patches.bias"])
        first = [] if self.token is None else [self.token[0, 0]]
        return np.array(first + rows) + self.w["positions"][0]

    def run(self, image: np.ndarray, nudge: dict[int, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The attention and the tokens of both layers."""
        x, attentions, states = self.tokens(image), [], []
        for layer in (0, 1):
            block = f"blocks.{layer}"
            q, k, v = np.split(self.linear(self.norm(x, f"{block}.norm1"), f"{block}.qkv"), 3, axis=1)
            raised = np.exp(q @ k.T / math.sqrt(q.shape[1]))
            attention = raised / raised.sum(1, keepdims=True)
            attentions.append(attention)
            x = x + self.linear((attention + nudge.get(layer, 0)) @ v, f"{block}.out")
            inner = self.linear(self.norm(x, f"{block}.norm2"), f"{block}.up")
            inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = x + self.linear(inner, f"{block}.down")
            states.append(x)
        return attentions, states

    def head(self, tokens: np.ndarray) -> float:
        x = self.norm(tokens, "norm")
        return float(self.linear(x.mean(0) if self.token is None else x[0], "linear")[CLASS])

    def derivative(self, image: np.ndarray, layer: int, read: int) -> np.ndarray:
        """d head(tokens of layer `read`) / d attention of `layer`, entry by entry."""
        t, step = len(self.tokens(image)), 1e-5
        result = np.zeros((t, t))
        for i in range(t):
            for j in range(t):
                nudge = np.zeros((t, t))
                nudge[i, j] = step
                up, down = (self.head(self.run(image, {layer: sign * nudge})[1][read]) for sign in (1, -1))
                result[i, j] = (up - down) / (2 * step)
        return result

    def read(self, relevance: np.ndarray) -> np.ndarray:
        """The row of the class token at the patches, or the mean row."""
        return relevance.mean(0).reshape(4, 4) if self.token is None else relevance[0, 1:].reshape(4, 4)


def rollout(hand: ByHand, image: np.ndarray) -> np.ndarray:
    first, second = hand.run(image, {})[0]
    eye = np.eye(len(first))
    return hand.read((second + eye) / 2 @ ((first + eye) / 2))


def chefer(hand: ByHand, image: np.ndarray) -> np.ndarray:
    attentions, relevance = hand.run(image, {})[0], np.eye(len(hand.tokens(image)))
    for layer, attention in enumerate(attentions):
        relevance = relevance + np.maximum(attention * hand.derivative(image, layer, read=1), 0) @ relevance
    return hand.read(relevance - np.eye(len(relevance)))


def legrad(hand: ByHand, image: np.ndarray) -> np.ndarray:
    total = sum(np.maximum(hand.derivative(image, layer, read=layer), 0).mean(0) for layer in (0, 1))
    return total[len(total) - 16 :].reshape(4, 4)


@pytest.mark.parametrize("name", ["vit_token", "vit_mean"])
@pytest.mark.parametrize(
    ("method", "derive"), [("attention_rollout", rollout), ("gradient_attention", chefer), ("le_grad", legrad)]
)
def test_the_values_are_those_derived_by_hand(
    method: str, derive: Callable[[ByHand, np.ndarray], np.ndarray], name: str
) -> None:
    images = pictures(1)
    hand = ByHand(net(name))
    logit = hand.head(hand.run(images[0].numpy(), {})[1][-1])
    assert logit == pytest.approx(float(shared(name)(images)[0, CLASS]), abs=1e-12)
    expected = derive(hand, images[0].numpy())
    values = getattr(tp, method)(shared(name), images, CLASS).values[0, 0].numpy()
    tolerance = 1e-12 if method == "attention_rollout" else 1e-8  # the second: of the differences
    assert np.abs(values - expected).max() <= tolerance * max(1, np.abs(expected).max())
    assert np.ptp(expected) > 1e-3 * np.abs(expected).max()


def test_le_grad_of_one_layer_is_the_last_one() -> None:
    hand, images = ByHand(net("vit_token")), pictures(1)
    expected = np.maximum(hand.derivative(images[0].numpy(), 1, read=1), 0).mean(0)[1:].reshape(4, 4)
    values = tp.le_grad(shared("vit_token"), images, CLASS, n_layers=1).values[0, 0].numpy()
    assert np.abs(values - expected).max() <= 1e-8 * np.abs(expected).max()


# --- registration


class Spotter(nn.Module):
    """One attention by hand: the class token looks at the brightest patch and takes its red."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 3, 4, 4, bias=False)
        self.patches.weight.data = torch.eye(3)[:, :, None, None].expand(3, 3, 4, 4) / 16
        self.token = nn.Parameter(torch.zeros(1, 1, 3))
        self.look = self.Look()
        self.linear = nn.Linear(3, 2)
        self.linear.weight.data = torch.tensor([[1.0, 0, 0], [0, 1, 0]])

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            brightness = 20 * x.sum(-1)[:, None].expand(-1, x.shape[1], -1)
            return x + brightness.softmax(-1) @ x

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
        return self.linear(self.look(x)[:, 0])


@pytest.mark.parametrize("method", METHODS)
def test_the_patch_that_is_looked_at_lights_up_where_it_is(method: str) -> None:
    model, row, column = wrapped(Spotter().double()), 1, 2
    image = torch.zeros(1, 3, 16, 24, dtype=torch.float64)  # four rows, six columns: a transposed grid would not fit
    image[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    values = getattr(tp, method)(model, image, 0).values
    assert values.shape == (1, 1, 4, 6)
    assert int(values.argmax()) == 6 * row + column
    heatmap = getattr(tp, method)(model, image, 0).heatmap()[0]
    top, left = divmod(int(heatmap.argmax()), 24)
    assert (top // 4, left // 4) == (row, column)


# --- architectures


def tiny(name: str, **keywords: Any) -> nn.Module:
    return timm.create_model(name, num_classes=5, depth=2, img_size=56, **keywords)


def torchvisions() -> nn.Module:
    module = VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=5)
    nn.init.normal_(module.heads.head.weight)  # torchvision starts with zeros
    return module


SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "image_size": 32}


def hugging_face(model: Any, config: Any, attention: str) -> nn.Module:
    return model._from_config(config(**SIZES, patch_size=8, num_labels=5), attn_implementation=attention)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "timm_class_token": (lambda: tiny("vit_tiny_patch16_224", patch_size=14), 56, 1),
    "timm_mean": (lambda: tiny("vit_tiny_patch16_224", patch_size=14, global_pool="avg"), 56, 1),
    "timm_distilled": (lambda: tiny("deit_tiny_distilled_patch16_224", patch_size=14), 56, 2),
    "timm_registers": (lambda: tiny("vit_small_patch14_reg4_dinov2", embed_dim=32, num_heads=2), 56, 5),
    "timm_beit": (lambda: tiny("beit_base_patch16_224", patch_size=14, embed_dim=32, num_heads=2), 56, 1),
    "timm_eva02": (lambda: tiny("eva02_tiny_patch14_224"), 56, 1),
    "timm_siglip": (lambda: tiny("vit_base_patch16_siglip_224", patch_size=14, embed_dim=32, num_heads=2), 56, 0),
    "torchvision": (torchvisions, 32, 1),
    "hugging_face_sdpa": (lambda: hugging_face(ViTForImageClassification, ViTConfig, "sdpa"), 32, 1),
    "hugging_face_eager": (lambda: hugging_face(ViTForImageClassification, ViTConfig, "eager"), 32, 1),
    "hugging_face_registers": (
        lambda: hugging_face(Dinov2WithRegistersForImageClassification, Dinov2WithRegistersConfig, "sdpa"), 32, 5,
    ),
}  # fmt: skip


def build(name: str) -> tuple[nn.Module, Tensor]:
    module, side, _ = NETWORKS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return module().eval().double(), pictures(2, side)


def answer(output: Any) -> Tensor:
    return output if isinstance(output, Tensor) else output.logits


def pooling_weights(part: AttentionPoolLatent, x: Tensor) -> Tensor:
    q = part.q(part.latent).unflatten(-1, (part.num_heads, -1)).transpose(1, 2)
    k = part.kv(x).unflatten(-1, (2, part.num_heads, -1))[:, :, 0].transpose(1, 2)
    return (q @ k.mT * part.scale).softmax(-1)


def own_weights(module: nn.Module, images: Tensor) -> list[Tensor]:
    """What the library itself says its attention is, by its own means: hooks, arguments."""
    if hasattr(module, "config"):
        module.set_attn_implementation("eager")
        return list(module(images, output_attentions=True).attentions)
    seen: list[Tensor] = []
    for part in module.modules():
        if isinstance(part, AttentionPoolLatent):
            part.register_forward_pre_hook(lambda part, args: seen.append(pooling_weights(part, args[0])))
        elif hasattr(part, "fused_attn"):
            part.fused_attn = False
            part.attn_drop.register_forward_hook(lambda _, args, __: seen.append(args[0]))
        if isinstance(part, nn.MultiheadAttention):
            part.register_forward_pre_hook(
                lambda part, args, kwargs: seen.append(
                    F.multi_head_attention_forward(
                        *(one.transpose(0, 1) for one in args), part.embed_dim, part.num_heads, part.in_proj_weight,
                        part.in_proj_bias, None, None, False, 0, part.out_proj.weight, part.out_proj.bias,
                        training=False, average_attn_weights=False,
                    )[1]
                ),
                with_kwargs=True,
            )  # fmt: skip
    module(images)
    return seen


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_are_the_librarys_own_and_its_answer_stays(name: str) -> None:
    module, images = build(name)
    with torch.no_grad():
        plain = answer(module(images))
        with attention_weights() as found:
            seen = answer(module(images))
        theirs = own_weights(module, images)
    torch.testing.assert_close(seen, plain, rtol=0, atol=1e-10)
    assert len(found.used) == len(theirs) >= 2
    for ours, weights in zip(found.used, theirs, strict=True):
        ours.n = len(images)
        # Hugging Face computes its own softmax in single precision
        tolerance = 1e-6 if name.startswith("hugging") else 1e-12
        torch.testing.assert_close(ours.weights, weights.to(ours.weights), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", NETWORKS)
def test_rollout_reads_the_tokens_that_the_network_reads(name: str) -> None:
    module, images = build(name)
    side, prefix = images.shape[-1], NETWORKS[name][2]
    values = tp.attention_rollout(tp.wrap(module, size=side, mean=(0.0,) * 3, std=(1.0,) * 3), images, [1, 2]).values
    with torch.no_grad():
        weights = [layer.double().mean(1) for layer in own_weights(module, images)]
    eye = torch.eye(weights[0].shape[-1], dtype=torch.float64)
    relevance = (weights[1] + eye) / 2 @ ((weights[0] + eye) / 2)
    reads = {
        "timm_distilled": relevance[:, :2].mean(1),
        "timm_mean": relevance[:, 1:].mean(1),
        "timm_beit": relevance[:, 1:].mean(1),
        "timm_eva02": relevance[:, 1:].mean(1),
        # the classifier reads the class token and the mean of the patches: each of them has the same share
        "hugging_face_registers": relevance[:, [0, *range(5, relevance.shape[1])]].mean(1),
        "timm_siglip": (weights[-1] @ relevance)[:, 0],
    }
    expected = reads.get(name, relevance[:, 0])[:, prefix:].view_as(values)
    # Hugging Face computes its own softmax in single precision
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-6 if name.startswith("hugging") else 1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_vision_transformer_gives_a_map_and_a_batch_is_its_images(method: str, name: str) -> None:
    module, images = build(name)
    model = tp.wrap(module, size=images.shape[-1], mean=(0.0,) * 3, std=(1.0,) * 3)
    both = getattr(tp, method)(model, images, [1, 2])
    assert both.status == ("ok", "ok")
    alone = getattr(tp, method)(model, images[1:], 2)
    # the eager attention of Hugging Face is in single precision
    torch.testing.assert_close(both.values[1:], alone.values, rtol=1e-9 if "eager" not in name else 1e-4, atol=1e-20)


# --- keywords


def test_fusion_and_discard_are_what_they_say() -> None:
    model, images = tp.wrap(build("timm_class_token")[0], size=56, mean=(0.0,) * 3, std=(1.0,) * 3), pictures(2, 56)
    with torch.no_grad(), attention_weights() as found:
        model(images)
    for fusion, discard in (("max", 0.0), ("min", 0.3), ("mean", 0.9)):
        for row in range(2):
            relevance = np.eye(17)
            for one in found.used:
                fused = getattr(one.raw[row].numpy(), fusion)(0)
                smallest = np.sort(fused.ravel())[: int(discard * fused.size)]
                fused = np.where(np.isin(fused, smallest), 0, fused)
                step = fused + np.eye(17)
                relevance = step / step.sum(1, keepdims=True) @ relevance
            values = tp.attention_rollout(model, images, head_fusion=fusion, discard=discard).values[row, 0].numpy()
            assert np.abs(values.ravel() - relevance[0, 1:]).max() < 1e-12


def test_rollout_gives_a_distribution_over_all_tokens_and_knows_no_class() -> None:
    images = pictures(2)
    one, two = (tp.attention_rollout(shared("vit_mean"), images, target).values for target in (1, 4))
    assert torch.equal(one, two)
    torch.testing.assert_close(one.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-12)


# --- refusals


class Folded(nn.Module):
    """Attention whose heads are folded into the batch, heads outside: read as images outside it would mix the images."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.linear = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 5)
        self.look = self.Look()

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            heads = torch.cat(x.chunk(2, -1))  # (2 n, t, 4)
            mixed = torch.bmm(torch.bmm(heads, heads.mT).softmax(-1), heads)
            return x + torch.cat(mixed.chunk(2), -1)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.look(self.patches(images).flatten(2).mT).mean(1))


@pytest.mark.parametrize("method", METHODS)
def test_heads_folded_into_the_batch_never_mix_images(method: str) -> None:
    torch.manual_seed(0)
    model, images = wrapped(Folded().double()), pictures(3)
    together = getattr(tp, method)(model, images, [0, 1, 2]).values
    for row in range(3):
        alone = getattr(tp, method)(model, images[row : row + 1], row).values
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-14)


class TalkingHeads(nn.Module):
    """Mixes the heads after the softmax."""

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(2, (2, 4)).transpose(1, 2)
        weights = (heads @ heads.mT).softmax(-1)
        return x + ((weights + weights.flip(1)) @ heads).transpose(1, 2).flatten(2)


class Twins(nn.Module):
    """Two attentions side by side, one minus the other."""

    def forward(self, x: Tensor) -> Tensor:
        one, two = (F.scaled_dot_product_attention(x * factor, x, x) for factor in (1, 2))
        return x + one - 0.5 * two


def with_layer(layer: nn.Module) -> nn.Module:
    module = Folded()
    module.look = layer
    return module.double()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("build_net", "side", "words"),
    [
        (lambda: net("residual"), 16, "no attention"),
        (lambda: with_layer(TalkingHeads()), 16, "no attention|changes its attention"),
        (lambda: with_layer(Twins()), 16, "side by side|layer of its own"),
        (
            lambda: timm.create_model("swin_tiny_patch4_window7_224", depths=(1, 1, 1, 1), embed_dim=24).double(),
            224,
            "one grid",
        ),
        (lambda: timm.create_model("xcit_nano_12_p16_224", depth=1, img_size=64).double(), 64, "one grid"),
        (lambda: timm.create_model("pvt_v2_b0", depths=(1, 1, 1, 1)).double(), 64, "one grid"),
    ],
    ids=["cnn", "talking_heads", "side_by_side", "swin", "xcit", "pvt"],
)
def test_what_is_no_attention_over_one_grid_is_refused(
    method: str, build_net: Callable[[], nn.Module], side: int, words: str
) -> None:
    model = tp.wrap(build_net(), size=side, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(MethodError, match=words) as caught:
        getattr(tp, method)(model, pictures(1, side), 1)
    assert "\n" not in str(caught.value)


def test_le_grad_needs_a_target_that_the_head_can_be_asked_for() -> None:
    model, images = shared("vit_token"), pictures(2)
    with pytest.raises(MethodError, match="not a unit"):
        tp.le_grad(model, images, tp.Unit("blocks.0", 1))
    with pytest.raises((MethodError, LayerError), match="batches of any size"):
        tp.le_grad(model, images, lambda logits: logits[:2, 1])


def test_a_unit_can_be_asked_for_what_it_looked_at() -> None:
    model, images = shared("vit_token"), pictures(2)
    result = tp.gradient_attention(model, images, tp.Unit("blocks.1", 1, (0, 3)))
    assert result.status == ("ok", "ok")


@pytest.mark.parametrize("method", METHODS)
def test_an_attention_that_nobody_reads_changes_nothing(method: str) -> None:
    class Pooling(nn.Module):
        """SigLIP's classifiers pool by attention, and then read the mean."""

        def __init__(self, pools: bool) -> None:
            super().__init__()
            self.net, self.pools = net("vit_mean"), pools
            self.pool = nn.MultiheadAttention(8, 1, batch_first=True, dtype=torch.float64)

        def forward(self, images: Tensor) -> Tensor:
            x = self.net.blocks(self.net.patches(images).flatten(2).transpose(1, 2) + self.net.positions)
            if self.pools:
                self.pool(x.mean(1, keepdim=True), x, x)
            return self.net.linear(self.net.norm(x).mean(1))

    with torch.random.fork_rng(devices=[]):
        found, wanted = (getattr(tp, method)(wrapped(Pooling(pools)), pictures(2)) for pools in (True, False))
    assert found.status == ("ok", "ok")
    torch.testing.assert_close(found.values, wanted.values, rtol=1e-9, atol=1e-12)
