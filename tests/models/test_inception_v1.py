"""InceptionV1 has the published tensors and layers, and computes what TensorFlow's graph does, written here a second time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tapetum as tp
from tapetum.data import downloads
from tapetum.data.labels import find_label, imagenet_labels, inception_labels
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo import inception_v1
from tapetum.models.zoo.downloads import Published, blob_id, fetched
from tapetum.types import Cancelled, ModelError

# The published widths: 1x1 | 3x3 bottleneck, 3x3 | 5x5 bottleneck, 5x5 | pool_reduce, and what they make together
WIDTHS = """
    3a 64 96 128 16 32 32 256
    3b 128 128 192 32 96 64 480
    4a 192 96 204 16 48 64 508
    4b 160 112 224 24 64 64 512
    4c 128 128 256 24 64 64 512
    4d 112 144 288 32 64 64 528
    4e 256 160 320 32 128 128 832
    5a 256 160 320 48 128 128 832
    5b 384 192 384 48 128 128 1024
"""
ROWS = [line.split() for line in WIDTHS.strip().splitlines()]
FIELDS = {
    "conv2d0": 7, "conv2d1": 11, "conv2d2": 19, "mixed3a": 59, "mixed3b": 91, "mixed4a": 171, "mixed4b": 235, "mixed4c": 299,
    "mixed4d": 363, "mixed4e": 427, "mixed5a": 587, "mixed5b": 715,
}  # fmt: skip


def documented_shapes() -> dict[str, tuple[int, ...]]:
    convolutions = {"conv2d0": (64, 3, 7), "conv2d1": (64, 64, 1), "conv2d2": (192, 64, 3)}
    before = 192
    for block, *texts in ROWS:
        one, narrow3, three, narrow5, five, pool, total = map(int, texts)
        assert one + three + five + pool == total
        convolutions |= {
            f"mixed{block}_1x1": (one, before, 1),
            f"mixed{block}_3x3_bottleneck": (narrow3, before, 1),
            f"mixed{block}_3x3": (three, narrow3, 3),
            f"mixed{block}_5x5_bottleneck": (narrow5, before, 1),
            f"mixed{block}_5x5": (five, narrow5, 5),
            f"mixed{block}_pool_reduce": (pool, before, 1),
        }
        before = total
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (out, into, size) in convolutions.items():
        shapes |= {f"{name}_pre_relu_conv.weight": (out, into, size, size), f"{name}_pre_relu_conv.bias": (out,)}
    head = "softmax2_pre_activation_matmul"
    return shapes | {f"{head}.weight": (1008, 1024), f"{head}.bias": (1008,)}


@pytest.fixture(scope="module")
def model() -> VisionModel:
    """Random weights, and biases that are not zero, in float64."""
    found = tp.load("inception_v1", weights=None)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in found.module.state_dict().items():
        if name.endswith("bias"):
            tensor += 0.1 * torch.randn(tensor.shape, generator=generator)
    found.module.double()
    return found


def noise(*shape: int) -> Tensor:
    """Pixels from 0 to 255, less 117."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 255 - 117


# --- tensors and layers


def test_there_are_the_116_documented_tensors(model: VisionModel) -> None:
    tensors = model.module.state_dict()
    assert len(tensors) == 116
    assert {name: tuple(one.shape) for name, one in tensors.items()} == documented_shapes()
    assert sum(one.numel() for one in tensors.values()) == 7_066_380


def test_layers_have_the_published_receptive_fields(model: VisionModel) -> None:
    layers = {layer.name: layer for layer in model.layers()}
    assert {name: layers[name].receptive_field for name in FIELDS} == FIELDS
    assert [layers[f"mixed{block}"].channels for block, *_ in ROWS] == [int(row[-1]) for row in ROWS]
    # a branch sees no more than its own windows: mixed3a's input 27, and at its stride of 8 px 2 or 4 places more
    fields = [layers[f"mixed3a_{branch}"].receptive_field for branch in ("1x1", "3x3", "5x5", "pool_reduce")]
    assert fields == [27, 27 + 2 * 8, 27 + 4 * 8, 27 + 2 * 8]
    assert layers["mixed5b"].grid == (7, 7)


# --- the graph, written from its nodes with functions alone


def same(x: Tensor, size: int, stride: int, value: float = 0.0) -> Tensor:
    """tf.nn, padding="SAME": ceil(side / stride) places, the larger half of the padding at the far side."""
    pads = []
    for side in (x.shape[3], x.shape[2]):
        along = max(size - (side % stride or stride), 0)
        pads += [along // 2, along - along // 2]
    return F.pad(x, pads, value=value)


def lrn(x: Tensor) -> Tensor:
    """tf.nn.lrn(depth_radius=5, bias=2, alpha=1e-4, beta=.5), channel by channel."""
    channels = []
    for c in range(x.shape[1]):
        power = sum(x[:, d] ** 2 for d in range(max(c - 5, 0), min(c + 6, x.shape[1])))
        channels.append(x[:, c] / (2 + 1e-4 * power) ** 0.5)
    return torch.stack(channels, 1)


def graph(tensors: dict[str, Tensor], images: Tensor) -> dict[str, Tensor]:
    """Every named layer's values."""
    seen: dict[str, Tensor] = {}

    def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
        weight, bias = (tensors[f"{name}_pre_relu_conv.{kind}"] for kind in ("weight", "bias"))
        seen[f"{name}_pre_relu_conv"] = F.conv2d(same(x, weight.shape[-1], stride), weight, bias, stride)
        seen[name] = seen[f"{name}_pre_relu_conv"].clamp(min=0)
        return seen[name]

    def pool(name: str, x: Tensor, stride: int = 2) -> Tensor:
        seen[name] = F.max_pool2d(same(x, 3, stride, -torch.inf), 3, stride)
        return seen[name]

    x = seen["localresponsenorm0"] = lrn(pool("maxpool0", conv("conv2d0", images, 2)))
    x = seen["localresponsenorm1"] = lrn(conv("conv2d2", conv("conv2d1", x)))
    x = pool("maxpool1", x)
    for name in (f"mixed{block}" for block, *_ in ROWS):
        x = pool({"mixed4a": "maxpool4", "mixed5a": "maxpool10"}[name], x) if name in ("mixed4a", "mixed5a") else x
        conv(f"{name}_1x1", x)
        conv(f"{name}_3x3", conv(f"{name}_3x3_bottleneck", x))
        conv(f"{name}_5x5", conv(f"{name}_5x5_bottleneck", x))
        conv(f"{name}_pool_reduce", pool(f"{name}_pool", x, 1))
        branches = [f"{name}_{branch}" for branch in ("1x1", "3x3", "5x5", "pool_reduce")]
        seen[f"{name}_pre_relu"] = torch.cat([seen[f"{branch}_pre_relu_conv"] for branch in branches], 1)
        x = seen[name] = torch.cat([seen[branch] for branch in branches], 1)
    x = seen["avgpool0"] = F.avg_pool2d(x, 7, 1) if x.shape[2:] == (7, 7) else x.mean((2, 3), keepdim=True)
    head = "softmax2_pre_activation_matmul"
    seen[head] = x.flatten(1) @ tensors[f"{head}.weight"].T + tensors[f"{head}.bias"]
    seen["softmax2"] = seen[head].exp() / seen[head].exp().sum(1, keepdim=True)
    return seen


@pytest.mark.parametrize("size", [(224, 224), (97, 66)])
def test_every_layer_gives_what_the_graph_gives(model: VisionModel, size: tuple[int, int]) -> None:
    images = noise(1, 3, *size)
    expected = graph(model.module.state_dict(), images)
    assert set(expected) == {layer.name for layer in model.layers()}
    with torch.no_grad(), tp.capture(model, list(expected)) as acts:
        model(images)
    for name, values in expected.items():
        scale = float(values.abs().max())
        torch.testing.assert_close(acts[name], values, rtol=0, atol=1e-11 * scale)  # rounding of 60 layers in float64
        assert scale > 0.05 or name == "softmax2", f"{name}: random weights let the activations vanish"
    with torch.no_grad():
        assert torch.equal(model(images), acts["softmax2_pre_activation_matmul"])  # what targets take for the logits


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_nearly_the_same(dtype: torch.dtype) -> None:
    module = tp.load("inception_v1", weights=None).module
    images = noise(1, 3, 32, 32).float()
    with torch.no_grad():
        expected, found = module(images), module.to(dtype)(images.to(dtype))
    assert found.dtype == dtype
    # sixty layers, each rounded to 8 (bfloat16) or 11 bits
    assert float((found.float() - expected).norm() / expected.norm()) < 8 * torch.finfo(dtype).eps


def test_larger_images_keep_one_row_each(model: VisionModel) -> None:
    images = noise(2, 3, 257, 97)
    with torch.no_grad():
        together, apart = model(images), torch.cat([model(one[None]) for one in images])
    assert together.shape == (2, 1008)
    torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-10)  # other sums in other batch sizes


def test_every_named_layer_is_on_the_way_to_the_logits(model: VisionModel) -> None:
    """Changing a layer changes the answer: pre-ReLU maps and branches are no copies on the side."""
    names = ["conv2d1", "mixed4a", "mixed4a_pre_relu", "mixed4a_3x3", "mixed4a_3x3_pre_relu_conv", "mixed4a_pool_reduce"]
    images = noise(1, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        with tp.capture(model, ["mixed4a", "mixed4a_pre_relu"]) as acts:
            model(images)
        for name in names:
            with tp.edit(model, {name: lambda x: x * 0.5}):
                assert not torch.allclose(model(images), before), name
    assert acts["mixed4a"].shape[1] == 508
    assert torch.equal(acts["mixed4a"], acts["mixed4a_pre_relu"].relu())


# --- pixels and classes


def test_pixels_are_255_x_minus_117(model: VisionModel) -> None:
    pixels = torch.zeros(1, 3, 300, 400)
    pixels[..., 200:] = 1
    ready = model.preprocess(pixels)
    assert ready.shape == (1, 3, 224, 224)
    torch.testing.assert_close(ready.min(), torch.tensor(-117.0).double(), rtol=1e-6, atol=0)  # preprocessed in float32
    torch.testing.assert_close(ready.max(), torch.tensor(138.0).double(), rtol=1e-6, atol=0)


def test_labels_are_in_the_challenges_own_order() -> None:
    labels = inception_labels()
    assert (len(labels), len(set(labels))) == (1008, 1008)
    assert labels[:4] == ("dummy", "kit fox", "English setter", "Siberian husky")
    assert set(labels[1:1001]) == set(imagenet_labels())
    assert all(label.startswith("dummy") for label in labels[1001:])
    # numbers of the development kit's table (map_clsloc.txt), of which two pairs share a name there
    known = {8: "Egyptian cat", 229: "strawberry", 429: "crane bird", 545: "crane", 782: "maillot", 977: "maillot tank suit"}
    known |= {50: "Cardigan", 836: "cardigan", 712: "fountain", 535: "sunglasses", 574: "sunglass", 1000: "dumbbell"}
    assert {index: labels[index] for index in known} == known
    assert [find_label(labels, text) for text in ("dummy", "strawberry")] == [0, 229]


# --- weights from a file


def test_a_file_with_the_documented_names_loads(tmp_path: Path) -> None:
    source = tp.load("inception_v1", weights=None, seed=5)
    tensors = source.module.state_dict()
    torch.save({name: tensors[name] for name in sorted(tensors)}, tmp_path / "mine.pth")
    model = tp.load("inception_v1", weights=tmp_path / "mine.pth")
    images = noise(1, 3, 64, 64).float()
    with torch.no_grad():
        assert torch.equal(model(images), source(images))
        assert not torch.equal(model(images), tp.load("inception_v1", weights=None)(images))


def test_a_file_that_does_not_fit_is_refused_with_the_reason(tmp_path: Path) -> None:
    tensors = {name: torch.zeros(shape) for name, shape in documented_shapes().items()}
    conv = "mixed4a_3x3_pre_relu_conv.weight"
    wrong: dict[str, tuple[dict[str, Tensor], str]] = {
        "1 tensors are missing": ({name: one for name, one in tensors.items() if name != conv}, conv),
        "1 are unknown": ({**tensors, f"{conv}_g": torch.zeros(2)}, f"{conv}_g"),
        "1 differ in shape or kind": (
            {**tensors, conv: torch.zeros(208, 96, 3, 3)},
            rf"{conv}: \(208, 96, 3, 3\), not \(204, 96, 3, 3\)",
        ),
    }
    for reason, (content, shown) in wrong.items():
        torch.save(content, tmp_path / "wrong.pth")
        with pytest.raises(ModelError, match=rf"^wrong.pth does not fit InceptionV1: {reason} \({shown}"):
            tp.load("inception_v1", weights=tmp_path / "wrong.pth")


# --- weights from their address


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


def published(source: Path, **changed: Any) -> Published:
    facts = {"name": "weights.pth", "url": source.as_uri(), "size": source.stat().st_size, "blob": blob_id(source)}
    return Published(**{**facts, **changed})


def written(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_blob_ids_are_gits(tmp_path: Path) -> None:
    # printf '' | git hash-object --stdin; printf 'hello\n' | git hash-object --stdin
    assert blob_id(written(tmp_path / "a", b"")) == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert blob_id(written(tmp_path / "b", b"hello\n")) == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_published_weights_are_downloaded_once_checked_and_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tensors = tp.load("inception_v1", weights=None, seed=7).module.state_dict()
    torch.save(tensors, tmp_path / "remote.pth")
    file = published(tmp_path / "remote.pth", name="inception5h.pth")
    monkeypatch.setattr(inception_v1, "PUBLISHED", file)
    events: list[int] = []
    with tp.watching(lambda progress: events.append(progress.done)):
        model = tp.load("inception_v1")
    assert all(torch.equal(one, tensors[name]) for name, one in model.module.state_dict().items())
    assert (events[0], events[-1]) == (0, file.size)
    assert (model.weights, [path.name for path in cache.iterdir()]) == ("default", ["inception5h.pth"])
    (tmp_path / "remote.pth").unlink()
    assert tp.load("inception_v1").weights_sha256 == model.weights_sha256  # from the cache


def test_nothing_wrong_or_incomplete_is_kept(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "CHUNK", 10)
    source = written(tmp_path / "remote.pth", bytes(range(100)))
    right = published(source)
    for content, size in (
        (bytes(100), 100),
        (bytes(range(60)), 60),
        (bytes(range(200)), 101),
    ):  # one byte more is enough to tell
        source.write_bytes(content)
        with pytest.raises(ModelError, match=rf"is not the published weights.pth \({size} bytes of 100, .* was not kept; try"):
            fetched(right)
        assert list(cache.iterdir()) == []
    source.write_bytes(bytes(range(100)))
    with pytest.raises(Cancelled), tp.watching(lambda progress: progress.done < 50):
        fetched(right)
    assert list(cache.iterdir()) == []
    assert fetched(right).read_bytes() == bytes(range(100))


def test_a_kept_file_that_is_another_is_refused_by_name(tmp_path: Path, cache: Path) -> None:
    right = published(written(tmp_path / "remote.pth", b"right"))
    path = written(cache / "weights.pth", b"wrong")
    with pytest.raises(ModelError, match=r"^.*weights.pth is not the published weights.pth \(5 bytes, git blob .*: delete it"):
        fetched(right)
    assert path.read_bytes() == b"wrong"


def test_without_a_network_one_line_says_what_works(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = (tmp_path / "absent.pth").as_uri()
    for url in (nowhere, "http://127.0.0.1:9/inception5h.pth"):  # port 9: nobody listens
        monkeypatch.setattr(inception_v1, "PUBLISHED", Published("inception5h.pth", url, 3, "0" * 40))
        with pytest.raises(
            ModelError, match=r"^the weights of inception_v1 cannot be downloaded \(URLError\); give weights=FILE"
        ):
            tp.load("inception_v1")
        assert list(cache.iterdir()) == []
    assert tp.load("inception_v1", weights=None).weights == "random"  # which asks nobody


# --- explanations


def test_the_layer_of_cams_is_the_last_block_and_cam_sums_to_the_logit(model: VisionModel) -> None:
    images = noise(2, 3, 96, 96)
    result = tp.cam(model, images, [3, 229])
    assert result.layer == "mixed5b"
    with torch.no_grad():
        logits = model(images)[[0, 1], [3, 229]]
    bias = model.module.get_parameter("softmax2_pre_activation_matmul.bias").detach()[[3, 229]]
    torch.testing.assert_close(result.values.mean((1, 2, 3)), logits - bias, rtol=1e-9, atol=1e-12)
    grad_cam = tp.grad_cam(model, images, [3, 229])  # the same map: its weights are the head's, divided by the places
    assert grad_cam.layer == "mixed5b"
    torch.testing.assert_close(grad_cam.values * 9, result.values, rtol=1e-9, atol=1e-12)
    assert tp.layer_cam(model, images[:1], 3).layer == "mixed5b"  # a method that wants a layer without negative values


def test_relevance_goes_through_response_norms_and_is_conserved() -> None:
    """Without biases, as random weights start, and with each channel's divisor held constant."""
    model = tp.load("inception_v1", weights=None, seed=3)
    model.module.double()
    images = noise(2, 3, 32, 32)
    total = tp.lrp(model, images, [3, 229], composite="zero").values.sum((1, 2, 3))
    with torch.no_grad():
        logits = model(images)[[0, 1], [3, 229]]
    torch.testing.assert_close(total, logits, rtol=1e-8, atol=0)


def test_it_is_listed_and_near_names_lead_to_it() -> None:
    assert "inception_v1" in tp.known_models()["built in"]
    with pytest.raises(ModelError, match=r"close names: .*inception_v1"):
        tp.load("inceptionv1")
