"""The layers that a scan covers when nobody names any."""

import pytest

import tapetum as tp
from tapetum.models.blocks import block_layers
from tapetum.models.vision_model import VisionModel

SLOW = pytest.mark.slow
"""Random weights take a while to draw."""
MIXED = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")


def blocks(name: str) -> tuple[str, ...]:
    return block_layers(tp.load(name, weights=None).survey)


def units(model: VisionModel) -> int:
    layers = {layer.name: layer for layer in model.layers()}
    return sum(layers[name].channels or 0 for name in block_layers(model.survey))


def test_the_built_in_network_has_16_blocks_with_1808_units() -> None:
    model = tp.load("efficientnet_lite0", weights=None)
    repeats = (1, 2, 2, 3, 3, 4, 1)  # of the paper's table of EfficientNet-B0
    assert block_layers(model.survey) == tuple(f"blocks.{i}.{j}" for i, n in enumerate(repeats) for j in range(n))
    assert units(model) == 16 + 2 * 24 + 2 * 40 + 3 * 80 + 3 * 112 + 4 * 192 + 320


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet18", [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]),
        pytest.param("googlenet", [f"inception{x}" for x in MIXED], marks=SLOW),
        pytest.param("vgg11_bn", [f"features.{i}" for i in (2, 6, 10, 13, 17, 20, 24, 27)], marks=SLOW),  # its ReLUs
        ("alexnet", [f"features.{i}" for i in (1, 4, 7, 9, 11)]),
        ("timm:vit_tiny_patch16_224", [f"blocks.{i}" for i in range(12)]),
        ("timm:convnext_atto", [f"stages.{i}.blocks.{j}" for i, n in enumerate((2, 2, 6, 2)) for j in range(n)]),
        pytest.param("densenet121", [f"features.denseblock{i}" for i in range(1, 5)], marks=SLOW),
        ("mobilenet_v2", [f"features.{i}" for i in range(1, 18)]),
        pytest.param(
            "regnet_y_400mf",
            [f"trunk_output.block{i}.block{i}-{j}" for i, n in enumerate((1, 3, 6, 6), 1) for j in range(n)],
            marks=SLOW,
        ),
        ("timm:mixer_s32_224", [f"blocks.{i}" for i in range(8)]),
    ],
)  # fmt: skip
def test_blocks_of_families(name: str, expected: list[str]) -> None:
    assert blocks(name) == tuple(expected)


def test_a_flat_network_has_what_joins_its_branches() -> None:
    found = blocks("inception_v1")
    assert found[-9:] == tuple(f"mixed{x}" for x in MIXED)
    assert len(found) == 11  # and the two wide convolutions before them
