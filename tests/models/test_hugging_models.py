"""`hf:` names: folders that `save_pretrained` wrote, compared with transformers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

import tapetum as tp
from tapetum.models.zoo import huggingface
from tapetum.models.zoo.huggingface import labels_of
from tapetum.models.zoo.image_processors import preprocessing_of
from tapetum.types import ModelError, TargetError

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
NAMES = {0: "cat", 1: "dog", 2: "eel"}
SQUARE = {"height": 32, "width": 32}


@pytest.fixture(autouse=True)
def _without_bars() -> Any:
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)


def vit(**options: Any) -> Any:
    config = transformers.ViTConfig(image_size=32, patch_size=8, **{"id2label": NAMES, **SMALL, **options})
    return transformers.ViTForImageClassification(config).eval()


def saved(folder: Path, module: Any, processor: Any = None) -> str:
    module.save_pretrained(folder)
    (processor or transformers.ViTImageProcessor(size=SQUARE)).save_pretrained(folder)
    return f"hf:{folder}"


def smooth(height: int, width: int) -> Tensor:
    """Pixels (1, 3, h, w) that no resizing of 8-bit numbers changes much."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(3))
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False).clamp(0, 1)


def test_a_classifier_answers_as_transformers_does(tmp_path: Path) -> None:
    name = saved(tmp_path, vit().double())
    model, photo = tp.load(name), smooth(48, 72)
    module = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert model.labels == ("cat", "dog", "eel")
    assert model.source == name
    assert model.dtype == torch.float64
    images = model.preprocess(photo)
    with torch.no_grad():
        wanted = module(images).logits.softmax(1)[0]
    for one in tp.predict(model, images, k=3)[0]:
        assert one.label == NAMES[one.index]
        assert one.probability == pytest.approx(float(wanted[one.index]), abs=1e-12)


def test_its_map_is_autograds(tmp_path: Path) -> None:
    model = tp.load(saved(tmp_path, vit().double()))
    module = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    images = model.preprocess(smooth(40, 40)).requires_grad_()
    (wanted,) = torch.autograd.grad(module(images).logits[:, 1].sum(), images)
    found = tp.saliency(model, images.detach(), "dog")
    torch.testing.assert_close(found.values, wanted.abs(), rtol=1e-9, atol=1e-12)


T = transformers
PROCESSORS = {
    "squashed": T.ViTImageProcessor(size=SQUARE),
    "shorter side and cut": T.CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}),
    "shorter side alone": T.ConvNextImageProcessor(size={"shortest_edge": 28}),
    "whole from 384 px on": T.ConvNextImageProcessor(size={"shortest_edge": 384}),
    "levit": T.LevitImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
    "poolformer": T.PoolFormerImageProcessor(size={"shortest_edge": 27}, crop_size={"height": 28, "width": 28}),
    "perceiver": T.PerceiverImageProcessor(size={"height": 28, "width": 28}, crop_size={"height": 32, "width": 32}),
    "mobilenet": T.MobileNetV2ImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}),
    "efficientnet": T.EfficientNetImageProcessor(size=SQUARE),
    "efficientnet from -1": T.EfficientNetImageProcessor(size=SQUARE, rescale_offset=True, rescale_factor=1 / 127.5),
    "not rescaled": T.ViTImageProcessor(size=SQUARE, do_rescale=False, image_mean=[127.5] * 3, image_std=[50.0, 60.0, 70.0]),
    "not normalised": T.ViTImageProcessor(size=SQUARE, do_normalize=False),
    "siglip": T.SiglipImageProcessor(size=SQUARE),
    "segformer": T.SegformerImageProcessor(size=SQUARE),
    "not square": T.ViTImageProcessor(size={"height": 32, "width": 48}),
    "cut not square": T.CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 24}),
}


@pytest.mark.parametrize("which", PROCESSORS)
@pytest.mark.parametrize("shape", [(64, 96), (96, 64)])
def test_pictures_are_prepared_as_the_image_processor_does(which: str, shape: tuple[int, int]) -> None:
    pixels = (smooth(*shape) * 255).round() / 255
    wanted = PROCESSORS[which]((pixels[0] * 255).byte(), return_tensors="pt").pixel_values
    preprocessing, notes = preprocessing_of(PROCESSORS[which], (32, 32))
    assert notes == ()
    # they resize 8-bit numbers, and cut odd remainders a pixel further on
    step = 1 / 255 / torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    assert ((preprocessing(pixels) - wanted).abs() <= 2.5 * step).all()


@pytest.mark.parametrize(("processor", "word"), [
    (T.DonutImageProcessor(size=SQUARE), "do_pad"),
    (T.ViTImageProcessor(size=SQUARE, resample=4), "interpolation"),
    (T.ViTImageProcessor(size=SQUARE, do_resize=False), "does not resize"),
    (T.MobileNetV2ImageProcessor(size={"shortest_edge": 24}, crop_size={"height": 32, "width": 32}), "pads"),
])  # fmt: skip
def test_steps_that_are_not_followed_are_said(processor: Any, word: str) -> None:
    assert word in " ".join(preprocessing_of(processor, (32, 32))[1])


def test_blue_green_red_is_fed_as_such(tmp_path: Path) -> None:
    config = T.MobileViTConfig(
        image_size=32, hidden_sizes=[8, 8, 8], neck_hidden_sizes=[4, 4, 8, 8, 8, 8, 16], num_attention_heads=2, num_labels=3
    )
    processor = T.MobileViTImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)
    module = T.MobileViTForImageClassification(config).eval()
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=1.5 * weight[0].numel() ** -0.5)  # theirs answer the same to all pictures
    name = saved(tmp_path, module, processor)
    model, photo = tp.load(name), smooth(32, 32)
    with torch.no_grad():
        theirs = processor((photo[0] * 255).byte(), return_tensors="pt").pixel_values
        wanted, other = model.module(theirs).logits, model.module(theirs.flip(1)).logits
        found = model(model.preprocess(photo)).logits
    assert (found - wanted).abs().max() < 0.1 * (other - wanted).abs().max()


def test_labels_are_read_by_their_keys() -> None:
    class Config:
        id2label: dict[Any, str] | None = {"2": "eel", "0": "cat", 1: "dog"}  # noqa: RUF012

    assert labels_of(Config) == ("cat", "dog", "eel")
    Config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    assert labels_of(Config) is None
    Config.id2label = {0: "cat", 5: "dog"}
    assert labels_of(Config) is None


@pytest.mark.parametrize(("kind", "by_hand"), [
    ("multi_label_classification", lambda z: 1 / (1 + (-z).exp())),
    ("single_label_classification", lambda z: z.exp() / z.exp().sum()),
    ("regression", None),
])  # fmt: skip
def test_the_loss_of_its_training_says_what_its_numbers_are(tmp_path: Path, kind: str, by_hand: Any) -> None:
    module = vit(problem_type=kind).double()
    module.classifier.weight.data *= 50
    for model in (tp.load(saved(tmp_path, module)), tp.wrap(module)):
        images = smooth(32, 32).double() - 0.5
        with torch.no_grad():
            logits = module(images).logits[0]
        for one in tp.predict(model, images, k=3)[0]:
            found, wanted = (one.value, logits) if by_hand is None else (one.probability, by_hand(logits))
            assert found == pytest.approx(float(wanted[one.index]), abs=1e-6)


def test_a_segmentation_network_explains_a_region(tmp_path: Path) -> None:
    config = T.SegformerConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], num_attention_heads=[1, 1, 1, 1], decoder_hidden_size=8, id2label=NAMES
    )
    module = T.SegformerForSemanticSegmentation(config).eval().double()
    model = tp.load(saved(tmp_path, module, T.SegformerImageProcessor(size=SQUARE)))
    images = model.preprocess(smooth(32, 32)).requires_grad_()
    (wanted,) = torch.autograd.grad(module(images).logits[:, 1].mean(), images)
    found = tp.saliency(model, images.detach(), tp.Region("dog", (0, 0, 32, 32)))
    torch.testing.assert_close(found.values, wanted.abs(), rtol=1e-8, atol=1e-12)


def tokenizer(folder: Path) -> None:
    words = ["<|startoftext|>", "<|endoftext|>", *"abcdefgh", *(f"{one}</w>" for one in "abcdefgh")]
    vocab = {word: index for index, word in enumerate(words)}
    T.CLIPTokenizer(vocab=vocab, merges=[]).save_pretrained(folder)


def clip() -> Any:
    text = {**SMALL, "vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "max_position_embeddings": 12}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    return T.CLIPModel(T.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).eval().double()


def test_clips_towers_compare_an_image_with_a_text(tmp_path: Path) -> None:
    module = clip()
    processor = T.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)
    name = saved(tmp_path, module, processor)
    tokenizer(tmp_path)
    model = tp.load(name)
    images = model.preprocess(smooth(32, 32)).requires_grad_()
    tokens = T.AutoTokenizer.from_pretrained(tmp_path)(["a cab", "bad"], padding=True, return_tensors="pt")
    answer = module(**tokens, pixel_values=images)  # cosines times exp(logit_scale)
    alike = answer.logits_per_image[0, 0] / module.logit_scale.exp()
    (wanted,) = torch.autograd.grad(alike, images)
    found = tp.saliency(model, images.detach(), "a cab")
    torch.testing.assert_close(found.values, wanted.abs(), rtol=1e-7, atol=1e-10)


def test_towers_without_a_tokenizer_say_where_to_put_one(tmp_path: Path) -> None:
    model = tp.load(saved(tmp_path, clip(), T.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=SQUARE)))
    images = model.preprocess(smooth(32, 32))
    with pytest.raises(TargetError, match=r"no tokenizer .*tokenizer\.save_pretrained"):
        tp.saliency(model, images, "a cab")
    assert tp.saliency(model, images, tp.Similarity(model.preprocess(smooth(40, 32))[0])).status == ("ok",)


def test_a_plain_backbone_embeds(tmp_path: Path) -> None:
    config = T.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1])
    module = T.ResNetModel(config).eval().double()
    model = tp.load(saved(tmp_path, module))
    images, other = model.preprocess(smooth(32, 32)).requires_grad_(), model.preprocess(smooth(48, 32))
    pooled = [module(one).pooler_output.flatten(1) for one in (images, other)]
    (wanted,) = torch.autograd.grad(F.cosine_similarity(*pooled).sum(), images)
    found = tp.saliency(model, images.detach(), tp.Similarity(other[0]))
    torch.testing.assert_close(found.values, wanted.abs(), rtol=1e-7, atol=1e-12)


def test_random_weights_are_built_from_the_configuration_alone(tmp_path: Path) -> None:
    name = saved(tmp_path, vit())
    (tmp_path / "model.safetensors").unlink()
    one, again, other = (tp.load(name, weights="random", seed=seed) for seed in (1, 1, 2))
    assert one.weights == "random"
    assert one.weights_sha256 == again.weights_sha256 != other.weights_sha256


def test_half_precision_is_explained_in_single(tmp_path: Path) -> None:
    assert tp.load(saved(tmp_path, vit().half())).dtype == torch.float32


def test_without_an_image_processor_the_guess_is_said(tmp_path: Path) -> None:
    vit().save_pretrained(tmp_path)
    model = tp.load(f"hf:{tmp_path}")
    assert model.preprocessing.size == (32, 32)
    assert "no image processor" in model.notes[0]
    assert model.notes[1].startswith("mean and std are assumed to be ImageNet's")


def test_a_module_alone_brings_its_names_size_and_towers() -> None:
    model = tp.wrap(vit().double())
    assert model.labels == ("cat", "dog", "eel")
    assert model.preprocessing.size == (32, 32)
    towers = tp.wrap(clip(), mean=(0.0,) * 3, std=(1.0,) * 3)
    images, other = smooth(32, 32).double().requires_grad_(), smooth(32, 40)[..., 4:36].double()
    pooled = [towers.module.get_image_features(pixel_values=one).pooler_output for one in (images, other)]
    (wanted,) = torch.autograd.grad(F.cosine_similarity(*pooled).sum(), images)
    found = tp.saliency(towers, images.detach(), tp.Similarity(other[0]))
    torch.testing.assert_close(found.values, wanted.abs(), rtol=1e-7, atol=1e-10)
    with pytest.raises(TargetError, match="a module alone has no tokenizer"):
        tp.saliency(towers, images.detach(), "a cab")


def test_a_module_that_takes_no_pictures_is_refused() -> None:
    module = T.ImageGPTForImageClassification(T.ImageGPTConfig(vocab_size=9, n_positions=9, n_embd=8, n_layer=1, n_head=2))
    with pytest.raises(ModelError, match=r"takes input_ids, .* not pictures"):
        tp.wrap(module)


def altered(folder: Path, **changes: Any) -> None:
    about = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**about, **changes}))


def test_a_folder_that_cannot_be_loaded_is_refused_in_one_line(tmp_path: Path) -> None:
    name = saved(tmp_path, vit())
    for changes, match in (
        ({"architectures": ["ViTForMaskedImageModeling"]}, "is a ViTForMaskedImageModeling: image classifiers, .* are loaded"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}, "its own code, which is not run"),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "not pictures"),
        ({"num_hidden_layers": 3}, "no weights for .* of ViTForImageClassification"),
    ):
        before = (tmp_path / "config.json").read_text()
        altered(tmp_path, **changes)
        with pytest.raises(ModelError, match=match) as refusal:
            tp.load(name)
        assert "\n" not in str(refusal.value)
        (tmp_path / "config.json").write_text(before)
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be loaded"):
        tp.load(name)


def test_without_the_hub_a_refusal_says_what_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface, "_reachable", lambda: False)  # whether or not this machine has a network
    with pytest.raises(
        ModelError, match=r"hub cannot be reached: a folder that save_pretrained wrote works offline: hf:\./folder"
    ):
        tp.load("hf:nobody/no-such-network")
    for name in ("./nowhere", "two words", "a/b/c"):
        with pytest.raises(ModelError, match=f"no folder {name}"):
            tp.load(f"hf:{name}")
    with pytest.raises(ModelError, match=r"no config\.json"):
        tp.load(f"hf:{tmp_path}")
