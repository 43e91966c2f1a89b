"""Loads networks of Hugging Face's transformers, from the hub or a folder; the user installs it (`pip install tapetum[hf]`).

Only code of the transformers library is run, never code of a model's repository; weights are read as tensors alone.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.data.preprocessing import Preprocessing, Size, as_pair
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.families import timm_preprocessing
from tapetum.models.zoo.image_processors import flips_channels, preprocessing_of
from tapetum.notes import ASSUMED
from tapetum.types import ModelError, Outputs, TargetError
from tapetum.types.refusals import imported
from tapetum.types.text import as_text

WORKS = "a folder that save_pretrained wrote works offline: hf:./folder"
LOADS = "image classifiers, semantic segmentation, towers of images and texts like CLIP's, and plain backbones are loaded"


def huggingface_model(name: str, pretrained: bool) -> VisionModel:
    """Loads "microsoft/resnet-50" from the hub, or "./folder" that `save_pretrained` wrote."""
    place = _place(name)
    with _plain_refusals(name, place.offline):
        config = _transformers().AutoConfig.from_pretrained(place.where, **_options(place.offline))
        factory, whole = _factory(config, name)
        made = getattr(factory, "from_config", None) or factory._from_config
        module = _loaded(factory, whole, place) if pretrained else made(config)
    own = read_module(module.eval())
    assert own is not None
    preprocessing, flips, notes = _preprocessing(place, module, own)
    run = own.call or (embed if is_backbone(module) else None)
    call = Flipped(run) if flips else run
    texts = own.encode_text and Texts(place.where, place.offline)
    source = f"hf:{Path(name).resolve() if place.local else name}"
    outputs = "numbers" if run is embed else own.outputs
    model = VisionModel(
        module, Path(name).name, preprocessing, own.labels, source, call=call, encode_text=texts, outputs=outputs
    )
    model.notes = notes
    return model


# --- settings of a transformers module


@dataclass(frozen=True)
class Own:
    """Properties from a transformers module's configuration, which `wrap` uses where its caller gives none.

    size         (height, width) of the images in px; None: any
    call         (module, images) -> output, where `module(images)` is not enough
    encode_text  (module, texts) -> embeddings (m, d); None: no text tower
    outputs      kind of the output's numbers, if the configuration names the training task (`problem_type`)
    """

    size: Size | None
    channels: int
    labels: tuple[str, ...] | None
    call: Callable[[nn.Module, Tensor], Any] | None = None
    encode_text: Callable[[nn.Module, Sequence[str]], Tensor] | None = None
    outputs: Outputs = "auto"


def read_module(module: nn.Module) -> Own | None:
    """Reads the configuration of a transformers module; returns None for any other module."""
    library = sys.modules.get("transformers")  # if it is not imported, no module can be one of its own
    if library is None or not isinstance(module, library.PreTrainedModel):
        return None
    config: Any = module.config
    vision = getattr(config, "vision_config", None) or config
    side = getattr(vision, "image_size", None)
    size = None if side is None else as_pair(side)
    channels = int(getattr(vision, "num_channels", None) or 3)
    if hasattr(module, "get_image_features"):
        return Own(size, channels, None, encode_image, Texts(None))
    if is_backbone(module):
        return Own(size, channels, None)
    return Own(size, channels, labels_of(config), outputs=outputs_of(config))


def labels_of(config: Any) -> tuple[str, ...] | None:
    """Returns the class names in a configuration's `id2label`; None if they are placeholders (LABEL_0) or some are missing."""
    given = getattr(config, "id2label", None) or {}
    try:
        by_index = {int(key): str(label) for key, label in given.items()}
    except (TypeError, ValueError):
        return None
    complete = sorted(by_index) == list(range(len(by_index)))
    placeholders = all(re.fullmatch(r"LABEL_\d+", label) for label in by_index.values())
    return tuple(by_index[index] for index in range(len(by_index))) if complete and not placeholders else None


TRAINED_FOR: dict[str, Outputs] = {
    "single_label_classification": "logits",
    "multi_label_classification": "sigmoid",
    "regression": "numbers",
}


def outputs_of(config: Any) -> Outputs:
    """Kind of outputs, from the training task in a configuration; without one, a single output is "numbers" (regression)."""
    told = TRAINED_FOR.get(getattr(config, "problem_type", None) or "", "auto")
    return "numbers" if told == "auto" and getattr(config, "num_labels", 0) == 1 else told


PLAIN = re.compile(r"(Model|Backbone|WithProjection)$")
"""Matches the names of transformers' classes that have no head for a task."""


def is_backbone(module: nn.Module) -> bool:
    """Checks whether a transformers module is a plain backbone that returns features, judged by its class name."""
    return PLAIN.search(type(module).__name__) is not None


def encode_image(module: Any, images: Tensor) -> Tensor:
    """Returns embeddings (n, d) of images in the space that images and texts share."""
    found = module.get_image_features(pixel_values=images)
    return found if isinstance(found, Tensor) else found.pooler_output


def embed(module: nn.Module, images: Tensor) -> Tensor:
    """Returns embeddings (n, d) of images: the projection or pooled output, else the mean over the last map or tokens."""
    found = module(images)
    for key in ("image_embeds", "pooler_output"):
        if isinstance(getattr(found, key, None), Tensor):
            return found[key].flatten(1)
    last = found.last_hidden_state if getattr(found, "last_hidden_state", None) is not None else found.feature_maps[-1]
    return last.mean((2, 3)) if last.ndim == 4 else last.mean(1)


@dataclass(frozen=True)
class Flipped:
    """Runs a network that was trained on BGR images on RGB images: flips the channels before."""

    run: Callable[[nn.Module, Tensor], Any] | None = None

    def __call__(self, module: nn.Module, images: Tensor) -> Any:
        flipped = images.flip(1)
        return module(flipped) if self.run is None else self.run(module, flipped)


@dataclass
class Texts:
    """Embeds texts by a module's text tower; reads the tokenizer when the first text comes.

    where  folder or hub name with the tokenizer's files; None: none known, so that texts are refused
    """

    where: str | None
    offline: bool = True
    tokenizer: Any = field(default=None, repr=False)

    def __call__(self, module: Any, texts: Sequence[str]) -> Tensor:
        if self.tokenizer is None:
            self.tokenizer = self._read()
        config = module.config.text_config
        # SigLIP was trained on texts padded to the full length
        padding = "max_length" if "siglip" in config.model_type else True
        most = getattr(config, "max_position_embeddings", None)
        tokens = self.tokenizer(list(texts), padding=padding, truncation=most is not None, max_length=most, return_tensors="pt")
        found = module.get_text_features(**tokens.to(next(module.parameters()).device))
        return found if isinstance(found, Tensor) else found.pooler_output

    def _read(self) -> Any:
        if self.where is None:
            raise TargetError('a module alone has no tokenizer to read texts: tp.load("hf:NAME or folder") brings it, or '
                              "give an embedding (d,) or an image")  # fmt: skip
        library = _transformers()
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(self.where, **_options(self.offline))
        except Exception as error:
            raise TargetError(_untold(self.where, f" ({type(error).__name__})")) from error
        # some tokenizers are made even without a vocabulary, and then take every word for unknown
        if not any(self._has(file) for file in {"tokenizer.json", *tokenizer.vocab_files_names.values()}):
            raise TargetError(_untold(self.where))
        return tokenizer

    def _has(self, file: str) -> bool:
        try:
            return _transformers().utils.cached_file(self.where, file, local_files_only=self.offline) is not None
        except OSError:
            return False


def _untold(where: str, why: str = "") -> str:
    return (
        f"{where} has no tokenizer that can be read{why}: write it there with tokenizer.save_pretrained, or give an embedding "
        "(d,) or an image"
    )


# --- loading


@dataclass(frozen=True)
class Place:
    """Location of a network's files: a folder (`local`) or a name on the hub; `offline` if only this disk can be read."""

    where: str
    local: bool
    offline: bool


def _options(offline: bool) -> dict[str, Any]:
    """Options for every call of `from_pretrained`: no code from repositories, and no downloads if offline."""
    return {"trust_remote_code": False, "local_files_only": offline}


def _place(name: str) -> Place:
    _transformers()
    folder = Path(name).expanduser()
    if os.path.isdir(folder):
        if not (folder / "config.json").is_file():
            raise ModelError(f"{name} has no config.json: save_pretrained writes a folder that can be loaded")
        return Place(str(folder), True, True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not re.fullmatch(r"[\w./-]+", name):
        raise ModelError(f"no folder {name}, and no name on the hub is written like this: hf:OWNER/NAME, or hf:./folder")
    return Place(name, False, not _reachable())


def _reachable() -> bool:
    """Checks whether the hub answers within five seconds; its own client would try for half a minute."""
    hub = importlib.import_module("huggingface_hub")
    try:
        hub.utils.get_session().head(hub.constants.ENDPOINT, timeout=5)
    except Exception:  # the client may raise anything: no name service, a proxy that refuses, HF_HUB_OFFLINE
        return False
    return True


def _transformers() -> Any:
    return imported("transformers", "transformers is not installed: pip install transformers", ModelError)


@contextmanager
def _plain_refusals(name: str, offline: bool) -> Iterator[None]:
    """Turns errors of transformers inside the block into one-line refusals."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        if "trust_remote_code" in str(error):
            raise ModelError(f"{name} needs its own code, which is not run here: build it and give tp.wrap(module)") from error
        if isinstance(error, (OSError, ConnectionError, TimeoutError)) and offline and not Path(name).is_dir():
            raise ModelError(f"{name} is not on this disk, and the hub cannot be reached: {WORKS}; so does "
                             "efficientnet_lite0, which is built in") from error  # fmt: skip
        raise ModelError(f"{name} cannot be loaded ({type(error).__name__}: {first[:200]}); {LOADS}") from error


def _loaded(factory: Any, whole: bool, place: Place) -> nn.Module:
    """Loads a module with its weights; converts half precision to single, since maps of gradients need the precision.

    whole: refuse a file that lacks any weight; else the weights of a pooling layer may be missing.
    """
    options = {"weights_only": True, **_options(place.offline)}
    module, told = factory.from_pretrained(place.where, output_loading_info=True, **options)
    lacking = sorted(told["missing_keys"]) + sorted(str(one) for one in told.get("mismatched_keys", ()))
    if lacking and (whole or not all("pooler" in one for one in lacking)):
        raise ModelError(
            f"{place.where} has no weights for {', '.join(lacking[:3])}{', ...' if len(lacking) > 3 else ''} of "
            f"{type(module).__name__}, so its answers would be random: weights='random' loads it as that"
        )
    if lacking:
        module = factory.from_pretrained(place.where, add_pooling_layer=False, **options)
    return module.float() if module.dtype in (torch.float16, torch.bfloat16) else module


def _factory(config: Any, name: str) -> tuple[Any, bool]:
    """Returns the transformers class that makes the network, and whether the network must have all its weights."""
    library = _transformers()
    architecture = (getattr(config, "architectures", None) or [""])[0]
    for kind, mapping in (
        ("ImageClassification", library.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING),
        ("SemanticSegmentation", library.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING),
    ):
        if type(config) in mapping and (kind in architecture or not architecture):
            known = mapping[type(config)]
            refuse_others(known[0] if isinstance(known, tuple) else known, name)
            return getattr(library, f"AutoModelFor{kind}"), True
    made = getattr(library, architecture, None)
    if made is None or not PLAIN.search(architecture):
        raise ModelError(f"{name} is a {architecture or type(config).__name__}: {LOADS}; build it and give tp.wrap(module)")
    refuse_others(made, name)
    return made, hasattr(made, "get_image_features")


def refuse_others(made: Any, name: str) -> None:
    """Refuses a transformers class whose input is not images (n, c, h, w) but patches, palette indices or words."""
    taken = list(inspect.signature(made.forward).parameters)[1:]
    towers = hasattr(made, "get_image_features") and hasattr(made, "get_text_features")
    pictures = getattr(made, "main_input_name", "pixel_values") in ("pixel_values", "inputs")
    if not (pictures or towers) or "spatial_shapes" in taken:
        raise ModelError(f"{name} is a {made.__name__}, which takes {', '.join(taken[:3])}, not pictures (n, c, h, w): {LOADS}")


def _preprocessing(place: Place, module: Any, own: Own) -> tuple[Preprocessing, bool, tuple[str, ...]]:
    """Returns a network's preprocessing, whether its channels are flipped (BGR), and notes on what was assumed."""
    if hasattr(module, "timm_model"):
        return timm_preprocessing(module.timm_model), False, ()
    size = own.size or (224, 224)
    try:
        processor = _transformers().AutoImageProcessor.from_pretrained(place.where, **_options(place.offline))
    except Exception as error:
        zero_one = ((0.0,) * own.channels, (1.0,) * own.channels)
        constants = zero_one if own.channels != 3 else (Preprocessing.mean, Preprocessing.std)
        words = f"{place.where} has no image processor that can be read ({type(error).__name__}): {as_text(size)} px are taken"
        assumed = ASSUMED.format("ImageNet's" if own.channels == 3 else "those of pixels in [0, 1]")
        return Preprocessing(size, "crop", "bilinear", *constants), False, (words, assumed)
    preprocessing, notes = preprocessing_of(processor, size)
    return preprocessing, flips_channels(processor), notes
