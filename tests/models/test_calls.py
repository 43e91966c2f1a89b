"""Models with further inputs, and models whose answer is an embedding: what `call=` and `encode_text=` are for."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from zoo import NETS, net, pictures, wrapped

import tapetum as tp
from tapetum.engines.scores import as_score
from tapetum.types import ModelError, TargetError

IMAGES = pictures(2)
IDENTITY: dict[str, Any] = {"size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3}
METHODS: dict[str, dict[str, Any]] = {
    "saliency": {}, "integrated_gradients": {"n_steps": 3}, "grad_cam": {}, "layer_cam": {}, "score_cam": {},
    "ablation_cam": {}, "occlusion": {"window": 8, "stride": 8}, "rise": {"n_masks": 8, "cells": 2},
}  # fmt: skip


class WithMetadata(nn.Module):
    """Logits of an image and of a row of metadata that shifts and scales them; the images have a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.table = net("residual"), nn.Linear(2, 5)

    def forward(self, metadata: Tensor, *, images: Tensor) -> dict[str, Tensor]:
        return {"loss": metadata.sum(), "logits": self.net(images) * self.table(metadata)}


@pytest.mark.parametrize("method", METHODS)
def test_a_model_with_further_inputs_is_the_model_with_them_built_in(method: str) -> None:
    torch.manual_seed(0)
    module, metadata = WithMetadata().double(), torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    whole = tp.wrap(module, **IDENTITY, call=lambda module, images: module(metadata.expand(len(images), -1), images=images))

    class BuiltIn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, images: Tensor) -> Tensor:
            return self.inner(metadata.expand(len(images), -1), images=images)["logits"]

    plain, run = tp.wrap(BuiltIn(), **IDENTITY), getattr(tp, method)
    for target in (None, [1, 3], tp.contrast(0, 4), "probability of 2"):
        one, two = (run(model, IMAGES, target, **METHODS[method]) for model in (whole, plain))
        assert torch.equal(one.values, two.values)
        assert one.target == two.target
        assert (one.layer or "") == (two.layer or "").removeprefix("inner.")
    assert [layer.name for layer in whole.layers() if layer.name.startswith("net.")]
    with tp.capture(whole, "net.first") as acts:
        whole(IMAGES)
    with tp.capture(plain, "inner.net.first") as same:
        plain(IMAGES)
    assert torch.equal(acts["net.first"], same["inner.net.first"])


def test_the_call_gets_the_private_replica() -> None:
    seen: list[nn.Module] = []
    modes: list[bool] = []

    def call(module: nn.Module, images: Tensor) -> Tensor:
        seen.append(module)
        modes.append(module.training)
        return module(images)

    module = net("vit_token").train()  # tokens: the size of the image says where they are
    model = tp.wrap(module, **IDENTITY, call=call)
    tp.grad_cam(model, IMAGES, 1)
    assert module.training
    assert not any(modes)
    assert sum(one is module for one in seen) == 1  # to be compared with its copy, and put back
    for method in ("grad_cam", "saliency"):
        torch.testing.assert_close(
            getattr(tp, method)(model, IMAGES, 1).values, getattr(tp, method)(wrapped(module), IMAGES, 1).values
        )


def test_two_streams_of_one_image() -> None:
    class TwoStreams(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left, self.right, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3), nn.Linear(8, 3)

        def forward(self, colour: Tensor, depth: Tensor) -> tuple[Tensor, None]:
            maps = torch.cat([self.left(colour), self.right(depth)], 1).relu()
            return self.head(maps.mean((2, 3))), None

    torch.manual_seed(0)
    mean = (0.0,) * 4
    model = tp.wrap(TwoStreams().double(), size=16, mean=mean, std=(1.0,) * 4, call=lambda m, x: m(x[:, :3], x[:, 3:]))
    images = torch.cat([IMAGES, IMAGES.mean(1, keepdim=True)], 1)
    for method, keywords in METHODS.items():
        maps = getattr(tp, method)(model, images, [0, 2], **({"layer": "left"} if "cam" in method else {}), **keywords)
        assert maps.status in (("ok", "ok"), ("no_positive_evidence", "ok"), ("ok", "no_positive_evidence")), method


# --- Hugging Face


def hugging_face(kind: str) -> Any:
    transformers = pytest.importorskip("transformers")
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    if kind == "vit":
        config = transformers.ViTConfig(image_size=16, patch_size=4, num_labels=5, **size)
        return transformers.ViTForImageClassification(config).double()
    if kind == "clip":
        config = transformers.CLIPVisionConfig(image_size=16, patch_size=4, projection_dim=8, **size)
        return transformers.CLIPVisionModelWithProjection(config).double()
    config = transformers.SegformerConfig(
        num_labels=3, depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8
    )
    return transformers.SegformerForSemanticSegmentation(config).double()


@pytest.mark.parametrize("method", METHODS)
def test_hugging_faces_classifier_without_a_target(method: str) -> None:
    module = hugging_face("vit")
    model = tp.wrap(module, **IDENTITY)
    with torch.no_grad():
        predicted = module.eval()(IMAGES).logits.argmax(1).tolist()
    maps = getattr(tp, method)(model, IMAGES, **METHODS[method])
    assert maps.explains == tuple(predicted)
    assert torch.isfinite(maps.values).all()
    assert maps.values.abs().amax((1, 2, 3)).min() > 0


def test_hugging_faces_segmentation_counts_its_coarse_cells() -> None:
    module = hugging_face("segformer")
    model = tp.wrap(module, **{**IDENTITY, "size": 64})
    images = pictures(2, side=64)
    with torch.no_grad():
        maps = module.eval()(images).logits  # (2, 3, 16, 16)
    score = as_score(model, images, tp.Region(1, (0, 0, 32, 16)))
    torch.testing.assert_close(score(images), maps[:, 1, :4, :8].mean((1, 2)), rtol=1e-10, atol=1e-12)
    assert tp.grad_cam(model, images).values.abs().amax((1, 2, 3)).min() > 0


# --- embeddings


class Embedder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = NETS["functional"]()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


def test_similarity_is_the_cosine_to_a_vector_or_to_another_image() -> None:
    torch.manual_seed(0)
    model, other = wrapped(Embedder().double()), pictures(1, seed=5)
    with torch.no_grad():
        mine, theirs = model(IMAGES), model(other)[0]
    cosine = (mine @ theirs) / (mine.norm(dim=1) * theirs.norm())
    for target in (tp.Similarity(other), tp.Similarity(other[0]), tp.Similarity(theirs), tp.Similarity(3 * theirs)):
        torch.testing.assert_close(as_score(model, IMAGES, target)(IMAGES), cosine, rtol=1e-12, atol=1e-14)
    assert as_score(model, other, tp.Similarity(other))(other).tolist() == pytest.approx([1.0])
    leaf = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(F.cosine_similarity(model(leaf), theirs[None]).sum(), leaf)
    torch.testing.assert_close(tp.saliency(model, IMAGES, tp.Similarity(theirs)).values, gradient.abs(), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_similarities_of_a_batch_are_those_of_its_images(method: str, tmp_path: Any) -> None:
    torch.manual_seed(0)
    model, run = wrapped(Embedder().double()), getattr(tp, method)
    targets = [tp.Similarity(pictures(1, seed=5), "a cup"), tp.Similarity(torch.arange(5.0) - 2)]
    both = run(model, IMAGES, targets, **METHODS[method])
    assert both.target == ("similarity to a cup", "similarity to the given embedding")
    for row, target in enumerate(targets):
        alone = run(model, IMAGES[row : row + 1], target, **METHODS[method])
        torch.testing.assert_close(alone.values[0], both.values[row], rtol=1e-10, atol=1e-14)
    opened = tp.open(tp.save(both, tmp_path / "saved"))
    assert torch.equal(run(model, IMAGES, list(opened.explains), **METHODS[method]).values, both.values)


def test_hugging_faces_image_encoder_is_compared_by_its_embedding() -> None:
    module = hugging_face("clip")
    model, other = tp.wrap(module, **IDENTITY), pictures(1, seed=5)
    with torch.no_grad():
        mine, theirs = module.eval()(IMAGES).image_embeds, module(other).image_embeds
    expected = F.cosine_similarity(mine, theirs)
    torch.testing.assert_close(as_score(model, IMAGES, tp.Similarity(other))(IMAGES), expected, rtol=1e-10, atol=1e-14)


def test_similarities_that_cannot_be_are_refused() -> None:
    model = wrapped(Embedder().double())
    refused: list[tuple[Any, str]] = [
        (tp.Similarity("a cat"), 'has no text tower to read "a cat": tp.load'),
        (tp.Similarity(torch.zeros(5)), "has no direction"),
        (tp.Similarity(torch.ones(7)), "embeds an image in 5 numbers, the target has 7"),
        (tp.Similarity(IMAGES), "similarity is to one image, not to 2"),
    ]
    for target, words in refused:
        with pytest.raises(TargetError, match=words) as caught:
            as_score(model, IMAGES, target)(IMAGES)
        assert "\n" not in str(caught.value)
    with pytest.raises(TargetError, match=r"gives no embedding \(n, d\)"):
        as_score(wrapped(nn.Conv2d(3, 4, 3).double()), IMAGES, tp.Similarity(torch.ones(4)))(IMAGES)


@pytest.fixture(scope="module")
def clip() -> Any:
    pytest.importorskip("open_clip")
    return tp.load("open_clip:RN50", weights=None)


@pytest.mark.slow
def test_text_similarity_is_open_clips_own_cosine(clip: Any) -> None:
    import open_clip

    texts = ["a photo of a cat", "two dogs"]
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    images = clip.preprocess(pixels)
    module = clip.module.eval()
    with torch.no_grad():
        image, text = module.encode_image(images), module.encode_text(open_clip.get_tokenizer("RN50")(texts))
        theirs = F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    for target, column in (("a photo of a cat", 0), (tp.Similarity("two dogs"), 1), ("similarity to two dogs", 1)):
        score = as_score(clip, images, target)
        torch.testing.assert_close(
            score(images), theirs[:, column], rtol=1e-4, atol=1e-6
        )  # float32, normalised in another order
        assert score.describe(2) == (f"similarity to {texts[column]}",) * 2
    both = as_score(clip, images, texts)
    torch.testing.assert_close(both(images), theirs.diagonal(), rtol=1e-4, atol=1e-6)
    assert torch.equal(as_score(clip, images, list(both.explains(2)))(images), both(images))
    maps = tp.grad_cam(clip, images, texts)
    assert str(maps.layer).startswith("visual.")
    assert maps.values.abs().amax((1, 2, 3)).min() > 0
    for target in (None, 3):
        with pytest.raises(TargetError, match="gives embeddings, no classes"):
            as_score(clip, images, target)
    with pytest.raises(TargetError, match="gives embeddings, no classes"):
        tp.predict(clip, images)


def test_open_clip_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ModelError, match=r"^open_clip is not installed: pip install open_clip_torch$"):
        tp.load("open_clip:RN50", weights=None)


def test_an_unknown_open_clip_model_is_refused() -> None:
    pytest.importorskip("open_clip")
    with pytest.raises(ModelError, match="open_clip has no model 'ViT-Z'"):
        tp.load("open_clip:ViT-Z", weights=None)
