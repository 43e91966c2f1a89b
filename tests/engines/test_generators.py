"""Generators as priors: files of random or constant numbers under the documented names."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu
from zoo import shared as network

from tapetum.engines.render import Recipe, optimize
from tapetum.engines.render.objectives import channel, each
from tapetum.engines.render.optimizers import adam
from tapetum.engines.render.parametrizations import Start, as_parametrization, gan
from tapetum.engines.render.parametrizations.generators import load_generator
from tapetum.types import ModelError

TAIL = {
    "conv5_1": (256, 512, 3), "deconv4": (512, 256, 4), "conv4_1": (256, 256, 3), "deconv3": (256, 128, 4),
    "conv3_1": (128, 128, 3), "deconv2": (128, 64, 4), "deconv1": (64, 32, 4), "deconv0": (32, 3, 4),
}  # fmt: skip
SHAPES = {
    "fc6": {"defc7": (4096, 4096), "defc6": (4096, 4096), "defc5": (4096, 4096), "deconv5": (256, 256, 4), **TAIL},
    "fc8": {"defc7": (4096, 1000), "defc6": (4096, 4096), "defc5": (4096, 4096), "deconv5": (256, 256, 4), **TAIL},
    "pool5": {"Rconv6": (512, 256, 3), "Rconv7": (512, 512, 3), "Rconv8": (512, 512, 3), "deconv5": (512, 256, 4), **TAIL},
}
"""Of the weights; the kernel once. Linear and convolution have what comes out first, transposed convolution what goes in."""


def shapes(kind: str) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in SHAPES[kind].items():
        found[f"{name}.1.weight"] = (*shape, shape[2]) if len(shape) == 3 else shape
        found[f"{name}.1.bias"] = (shape[1] if "conv" in name and name[0] != "R" else shape[0],)
    return found


def constant(kind: str, **values: Tensor) -> dict[str, Tensor]:
    """Zeros that take no place in a file, and some that are given."""
    return {name: values.get(name.replace(".1.", "_"), torch.zeros(()).expand(shape)) for name, shape in shapes(kind).items()}


@pytest.fixture(scope="module")
def pool5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes("pool5").items():
        fan = 1.0 * torch.Size(shape).numel() / shape[0]
        scale = 30 if "deconv0" in name else 1.5
        tensors[name] = (scale * torch.randn(shape, generator=generator) / fan**0.5).half()
    path = tmp_path_factory.mktemp("generator") / "pool5.pt"
    torch.save(tensors, path)
    return path


def by_hand(path: Path, code: Tensor) -> Tensor:
    """(n, 3, 256, 256), layer by layer."""
    tensors = {name: tensor.to(code.dtype) for name, tensor in torch.load(path).items()}
    x = code
    for name in SHAPES["pool5"]:
        weight, bias = tensors[f"{name}.1.weight"], tensors[f"{name}.1.bias"]
        if name.startswith("R"):
            x = conv2d(x, weight, bias, padding=0 if name == "Rconv8" else 1)
        else:
            x = conv_transpose2d(x, weight, bias, stride=2 if weight.shape[-1] == 4 else 1, padding=1)
        x = x if name == "deconv0" else leaky_relu(x, 0.3)
    rgb = x[:, [2, 1, 0]] + torch.tensor([123.0, 117.0, 104.0])[:, None, None]
    return rgb.clamp(0, 255) / 255


def test_pool5_is_its_layers_one_after_the_other(pool5: Path) -> None:
    canvas = gan(pool5)(Start((256, 256)))
    (code,) = canvas.parameters
    assert code.shape == (1, 256, 6, 6)
    expected = by_hand(pool5, code.detach())
    assert expected.std() > 0.05
    torch.testing.assert_close(canvas.pixels().detach(), expected, atol=1e-5, rtol=0)  # float32 sums of some thousand numbers


def test_a_wide_canvas_shows_the_middle(pool5: Path) -> None:
    canvas = gan(pool5)(Start((32, 64)))
    expected = torch.nn.functional.avg_pool2d(by_hand(pool5, canvas.parameters[0].detach())[..., 64:192, :], 4)
    found = canvas.pixels().detach()
    assert found.shape == (1, 3, 32, 64)
    # the filter of resizing is a triangle twice as wide as the mean of four
    assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.9


def test_codes_of_a_batch_are_those_of_single_runs_and_raise_a_channel(pool5: Path) -> None:
    prior = as_parametrization(f"gan:{pool5}")

    def run(rows: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        objective = each([channel("two", i) for i in rows])
        start = Start((16, 16), (0,) * len(rows), rows, dtype=torch.float64)
        steps = list(optimize(network("reused"), objective, Recipe(prior, (), adam(0.05), 3), start))
        return steps[-1].pixels(), steps[-1].values - steps[0].values

    together, gains = run((0, 1))
    alone, _ = run((1,))
    assert torch.equal(together[1], alone[0])
    assert (gains > 0).all()


def test_fc8_answers_blue_first_and_as_a_difference_from_the_mean(tmp_path: Path) -> None:
    torch.save(constant("fc8", deconv0_bias=torch.tensor([10.0, 20.0, -200.0])), tmp_path / "fc8.pt")
    canvas = gan(tmp_path / "fc8.pt")(Start((8, 8), (0, 1), (0, 1)))
    assert canvas.parameters[0].shape == (2, 1000)
    expected = torch.tensor([0.0, (117 + 20) / 255, (104 + 10) / 255])  # red: 123 - 200, clipped
    torch.testing.assert_close(canvas.pixels().detach()[1], expected[:, None, None].expand(3, 8, 8))


def test_the_code_is_told_from_the_first_layer(tmp_path: Path) -> None:
    torch.save({name.replace(".1.", "."): tensor for name, tensor in constant("fc6").items()}, tmp_path / "plain.pt")
    assert load_generator(tmp_path / "plain.pt").code == (4096,)
    assert sum(tensor.numel() for tensor in load_generator(tmp_path / "plain.pt").state_dict().values()) == sum(
        torch.Size(shape).numel() for shape in shapes("fc6").values()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"deconv3.1.weight": torch.zeros(3)}, r"deconv3\.weight is \(3,\), not \(256, 128, 4, 4\)"),
        ({"defc7.1.weight": torch.zeros(4096, 7)}, r"defc7\.weight is \(4096, 7\), not \(4096, 4096\)"),
        ({"deconv0.1.bias": None}, r"deconv0\.bias is missing"),
        ({"defc7.1.weight": None}, r"no generator for fc6, fc7, fc8, pool5"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, change: dict[str, Tensor | None], message: str) -> None:
    tensors = {name: tensor for name, tensor in {**constant("fc6"), **change}.items() if tensor is not None}
    torch.save(tensors, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=message):
        gan(tmp_path / "other.pt")
    with pytest.raises(ModelError, match="no weights file"):
        gan(tmp_path / "none.pt")
