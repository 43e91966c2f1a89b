"""Networks as people write them, each a kind: how it answers, how it is built, what it takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from row import Other
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CLASSES = 4


def seeded(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The same weights each time; torch's own generator is left as it was."""

    def again() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build().eval()

    return again


class Plain(nn.Module):
    """Three convolutions, pooled, one linear layer."""

    def __init__(self, channels: int = 3, outputs: int = CLASSES) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 10, 3, 2, padding=1), nn.ReLU(),
            nn.Conv2d(10, 10, 3, 2, padding=1), nn.BatchNorm2d(10), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(10, outputs)

    def maps(self, images: Tensor) -> Tensor:
        return self.body(images)

    def forward(self, images: Tensor) -> Any:
        return 3 * self.head(self.maps(images).mean((2, 3)))


class Vgg(nn.Module):
    """Features, average pool, classifier with dropout."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 6), (6, 10), (10, 10)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features, self.avgpool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(40, 16), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(16, CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(images)), 1))


class Functional(nn.Module):
    """ReLUs and pools as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 8, 5)
        self.fc1, self.fc2 = nn.Linear(8 * 5 * 5, 12), nn.Linear(12, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.one(images)), 2)
        x = F.max_pool2d(torch.relu(self.two(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class MapAndPooled(nn.Module):
    """A backbone that gives (map, pooled) of which the head reads the second."""

    class Backbone(Plain):
        def forward(self, images: Tensor) -> Any:
            maps = self.maps(images)
            return maps, maps.mean((2, 3))

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = self.Backbone(), nn.Linear(10, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        _, pooled = self.backbone(images)
        return 3 * self.head(pooled)


class FeaturesFirst(Plain):
    def forward(self, images: Tensor) -> Any:
        features = self.maps(images).mean((2, 3))
        return features, 3 * self.head(features)


class Heads(Plain):
    """{"age": a number, "kind": logits}."""

    def __init__(self) -> None:
        super().__init__()
        self.age = nn.Linear(10, 1)

    def forward(self, images: Tensor) -> Any:
        features = self.maps(images).mean((2, 3))
        return {"age": self.age(features), "kind": 3 * self.head(features)}


class Ended(Plain):
    """Ends in a function of the numbers."""

    def __init__(self, end: Callable[[Tensor], Tensor], outputs: int = CLASSES) -> None:
        super().__init__(outputs=outputs)
        self.end = end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(super().forward(images))


class Normalising(nn.Module):
    """The user's own wrapper, whose network lies in `.module`."""

    def __init__(self) -> None:
        super().__init__()
        self.module = Plain()

    def forward(self, images: Tensor) -> Tensor:
        return self.module((images - 0.4) / 0.25)


class Flipping(nn.Module):
    """A wrapper that turns the sign around."""

    def __init__(self) -> None:
        super().__init__()
        self.module = Plain()

    def forward(self, images: Tensor) -> Tensor:
        return -self.module(images)


class Siamese(nn.Module):
    """The same trunk on the picture and on its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.head = Plain(outputs=6), nn.Linear(6, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head((self.trunk(images) - 0.5 * self.trunk(images.flip(3).flip(2))).relu())


class InLists(nn.Module):
    """Modules that torch does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = [nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, 2, padding=1)]
        self.parts = {"head": nn.Linear(8, CLASSES)}

    def forward(self, images: Tensor) -> Tensor:
        for conv in self.convs:
            images = conv(images).relu()
        return 3 * self.parts["head"](images.mean((2, 3)))


def patched() -> nn.Module:
    module = Plain()
    original = module.forward
    module.forward = lambda images: -2 * original(images)
    return module


class ChangesItsInput(Plain):
    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            images.detach().sub_(0.4).div_(0.25)
        return super().forward(images)


class MulInPlace(Plain):
    def forward(self, images: Tensor) -> Tensor:
        images = images.clone()
        images.mul_(2).sub_(0.5)
        return super().forward(images)


class FixedLinear(nn.Module):
    """Takes 28 x 28 and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 6, 3), nn.Linear(6 * 13 * 13, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(F.max_pool2d(F.relu(self.conv(images)), 2).flatten(1))


class Strips(nn.Module):
    """Spectrograms of 64 x 128 with a fixed linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 6, 3, 2, padding=1), nn.Conv2d(6, 8, 3, 4, padding=1)
        self.fc = nn.Linear(8 * 8 * 16, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.two(self.one(images).relu()).relu().flatten(1))


class UNet(nn.Module):
    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, 2, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(12, outputs, 1)

    def forward(self, images: Tensor) -> Tensor:
        first = self.down(images).relu()
        return self.out(torch.cat([first, self.up(self.deep(first).relu())], 1))


class Autoencoder(nn.Module):
    """Gives a picture back: no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(3, 6, 3, 2, padding=1), nn.ConvTranspose2d(6, 3, 2, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.encoder(images).relu())


class Rows(nn.Module):
    """An LSTM over the rows of the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lstm, self.fc = (
            nn.Conv2d(3, 4, 3, 2, padding=1),
            nn.LSTM(64, 8, batch_first=True),
            nn.Linear(8, CLASSES),
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images).relu()
        _, (last, _) = self.lstm(x.transpose(1, 2).flatten(2))
        return self.fc(last[-1])


class Rectify(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x > 0)


class OwnRelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return Rectify.apply(x)


def own_relu() -> nn.Module:
    module = Plain()
    module.body[3] = OwnRelu()
    return module


class Checkpointed(Plain):
    def maps(self, images: Tensor) -> Tensor:
        return checkpoint(self.body, images, use_reentrant=False)


class CheckpointedAgain(Plain):
    def maps(self, images: Tensor) -> Tensor:
        if torch.is_grad_enabled() and not images.requires_grad:
            images = images.requires_grad_()
        return checkpoint(self.body, images, use_reentrant=True)


class Attending(nn.Module):
    """nn.TransformerEncoder over patches with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, CLASSES)

    def tokens(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(self.tokens(images))[:, 0])

    def attentions(self, images: Tensor) -> list[Tensor]:
        """(n, heads, t, t) of each layer, for whoever wants to check."""
        found, x = [], self.tokens(images)
        for layer in self.encoder.layers:
            found.append(layer.self_attn(x, x, x, need_weights=True, average_attn_weights=False)[1])
            x = layer(x)
        return found


class OwnAttention(nn.Module):
    """Squeezes and excites by a sigmoid gate."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 8, 3, 2, padding=1), nn.Conv2d(8, 8, 1)
        self.last, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = F.silu(self.conv(images))
        x = x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid()
        return 3 * self.head(F.gelu(self.last(x)).mean((2, 3)))


class Frozen(Plain):
    """Runs its body without gradients, as a feature extractor."""

    def maps(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            return self.body(images)


class WithKeywords(Plain):
    def forward(self, images: Tensor, *, scale: float = 3.0, training: bool = False) -> Tensor:
        return scale * self.head(self.maps(images).mean((2, 3)))


class Squeezed(Plain):
    """One logit as (n,)."""

    def __init__(self) -> None:
        super().__init__(outputs=1)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images).squeeze(1)


class OneByOne(Plain):
    """Takes the images of a batch in a loop."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([super(OneByOne, self).forward(image[None]) for image in images])


def traced() -> nn.Module:
    return torch.jit.trace(Plain().eval(), torch.zeros(1, 3, 32, 32))


def scripted() -> nn.Module:
    return torch.jit.script(Plain().eval())


def compiled() -> nn.Module:
    return torch.compile(Plain().eval(), backend="eager")


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(Plain().eval(), {nn.Linear}, torch.qint8)


def graph() -> nn.Module:
    return torch.fx.symbolic_trace(Plain())


def averaged() -> nn.Module:
    return torch.optim.swa_utils.AveragedModel(Plain().eval())


def parametrized() -> nn.Module:
    module = Plain()
    nn.utils.parametrizations.spectral_norm(module.head)
    nn.utils.parametrizations.weight_norm(module.body[0])
    return module


def mixed_dtypes() -> nn.Module:
    """Its head is in another precision, and the forward pass converts."""

    class Mixed(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.head = self.head.double()

        def _apply(self, fn: Any, recurse: bool = True) -> Any:
            super()._apply(fn, recurse)
            self.head.weight.data, self.head.bias.data = self.head.weight.data.double(), self.head.bias.data.double()
            return self

        def forward(self, images: Tensor) -> Tensor:
            return 3 * self.head(self.maps(images).mean((2, 3)).double())

    return Mixed()


TWO = ("benign", "malignant")
FOUR = tuple("abcd")

KINDS: dict[str, Other] = {
    "plain": Other(seeded(Plain)),
    "vgg": Other(seeded(Vgg)),
    "functional": Other(seeded(Functional)),
    "map_and_pooled": Other(seeded(MapAndPooled)),
    "features_then_logits": Other(seeded(FeaturesFirst), table=lambda output: output[1], options={"labels": FOUR}),
    "dict_of_heads": Other(seeded(Heads), table=lambda output: output["kind"], options={"labels": FOUR}),
    "softmax_inside": Other(seeded(lambda: Ended(functools.partial(torch.softmax, dim=1))), words="probabilities"),
    "log_softmax_inside": Other(seeded(lambda: Ended(functools.partial(F.log_softmax, dim=1))), words="log_probabilities"),
    "sigmoid_inside": Other(seeded(lambda: Ended(torch.sigmoid)), words="independent"),
    "multi_label": Other(seeded(Plain), words="sigmoid", options={"outputs": "sigmoid"}),
    "one_logit_two_names": Other(seeded(lambda: Plain(outputs=1)), words="binary", options={"labels": TWO}),
    "one_logit_flat": Other(seeded(Squeezed), words="binary", options={"labels": TWO}),
    "regression": Other(seeded(lambda: Plain(outputs=1)), words="numbers"),
    "regression_of_three": Other(seeded(lambda: Plain(outputs=3)), words="numbers", options={"outputs": "numbers"}, target=1),
    "normalising_wrapper": Other(seeded(Normalising)),
    "flipping_wrapper": Other(seeded(Flipping)),
    "siamese": Other(seeded(Siamese)),
    "in_lists": Other(seeded(InLists), dtype=torch.float32),
    "patched_forward": Other(seeded(patched)),
    "changes_its_input": Other(seeded(ChangesItsInput)),
    "in_place_on_a_copy": Other(seeded(MulInPlace)),
    "fixed_linear_28": Other(seeded(FixedLinear), (1, 28, 28)),
    "one_channel": Other(seeded(lambda: Plain(1)), (1, 32, 32)),
    "twelve_bands": Other(seeded(lambda: Plain(12)), (12, 32, 32)),
    "strips_64_128": Other(seeded(Strips), (1, 64, 128)),
    "u_net": Other(seeded(UNet), words="maps", options={"labels": ("sky", "road", "tree")}),
    "autoencoder": Other(seeded(Autoencoder), words="maps"),
    "lstm_over_rows": Other(seeded(Rows)),
    "own_relu_function": Other(seeded(own_relu)),
    "checkpointed": Other(seeded(Checkpointed), twin=seeded(Plain)),
    "checkpointed_reentrant": Other(seeded(CheckpointedAgain), twin=seeded(Plain)),
    "transformer_encoder": Other(seeded(Attending)),
    "one_by_one": Other(seeded(OneByOne), twin=seeded(Plain)),
    "gated": Other(seeded(OwnAttention)),
    "frozen_body": Other(seeded(Frozen)),
    "keywords": Other(seeded(WithKeywords)),
    "traced": Other(seeded(traced), twin=seeded(Plain)),
    "scripted": Other(seeded(scripted), twin=seeded(Plain)),
    "graph": Other(seeded(graph), twin=seeded(Plain)),
    "compiled": Other(seeded(compiled), twin=seeded(Plain)),
    "quantised": Other(seeded(quantised), dtype=torch.float32, rough=0.3),
    "data_parallel": Other(seeded(lambda: nn.DataParallel(Plain())), twin=seeded(Plain)),
    "averaged_model": Other(seeded(averaged), twin=seeded(Plain)),
    "parametrized": Other(seeded(parametrized)),
    "mixed_dtypes": Other(seeded(mixed_dtypes), dtype=torch.float32),
}
