"""`load`: loads a model by its name.

efficientnet_lite0 | inception_v1 | simple_cnn | resnet50 or torchvision:resnet50 | timm:convnext_tiny |
open_clip:ViT-B-32 | hf:microsoft/resnet-50 | hf:./folder | my_model.py:build
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Literal, cast

import timm
from torch import nn
from torchvision.models import list_models

from tapetum.files import shown
from tapetum.models.opaque import is_onnx_file, opaque
from tapetum.models.patches import Patch, is_patch
from tapetum.models.untrained import torch_seed
from tapetum.models.vision_model import VisionModel
from tapetum.models.zoo.built_in import BUILT_IN, UNTRAINED
from tapetum.models.zoo.dense import TORCHVISION, torchvision_builders
from tapetum.models.zoo.families import timm_model
from tapetum.models.zoo.huggingface import huggingface_model
from tapetum.models.zoo.named import in_zoo
from tapetum.models.zoo.open_clip import open_clip_model
from tapetum.models.zoo.settings import Settings, for_wrap, plain_settings, with_settings
from tapetum.models.zoo.trained import is_trained, load_trained
from tapetum.models.zoo.weights import load_weights
from tapetum.models.zoo.wrapping import wrap
from tapetum.types import ModelError

Weights = Literal["default", "random"] | str | Path | None


def load(name: str, *, weights: Weights = "default", seed: int = 0) -> VisionModel:
    """Loads a model by its name, in eval mode, with its own preprocessing and class names.

    Args:
        name: "efficientnet_lite0" (built in, real ImageNet weights, works offline), "inception_v1" (downloads its 28 MB
            once), "simple_cnn", "resnet50" (torchvision), "torchvision:..." (its detectors and segmentation networks,
            too), "timm:...", "open_clip:ViT-B-32", "hf:microsoft/resnet-50" or "hf:./folder" (Hugging Face's classifiers,
            semantic segmentation, CLIP-like towers and backbones, from the hub or from what `save_pretrained` wrote, with
            their own preprocessing and names; code of a repository is never run), a folder that `tp.train` or
            `tp.fine_tune` filled ("./dogs" where a network is called dogs, too), "net.onnx", or "file.py:factory" for a
            function of yours that returns a module or VisionModel.
        weights: "default" (the published ones; may download), "random" (by `seed`; None is the same), a .safetensors/.pth
            file, a patch of `suppress`, which changes the default weights, or the folder of a network that was trained from
            this one: the value of `model.weights` loads the same.
        seed: for random weights; torch's own generator is not changed.
    """
    return loaded(name, weights, {}, seed)


def loaded(name: str, weights: Weights, settings: Settings, seed: int = 0) -> VisionModel:
    """Loads a model as `load` does, with settings that replace the model's own or are given to `wrap` for a bare module."""
    if not isinstance(name, str) or not name:
        raise ModelError(f"a model's name is a text such as efficientnet_lite0, not {name!r}")
    said = plain_settings(settings)
    own = weights not in (None, "default", "random")
    trained = own and is_trained(cast("str | Path", weights))
    if own and is_patch(weights):
        model = Patch.read(cast("str | Path", weights)).apply(loaded(name, "default", settings, seed))
        model.weights = str(weights)
        return model
    with torch_seed(seed):
        model = _filled(name, str(weights), said) if trained else _build(name, weights == "default", said)
    if trained:
        return with_settings(model, said)
    if weights is None or weights == "random":
        model.weights = "random"
    elif own:
        model.notes = (*model.notes, *load_weights(model.module, cast("str | Path", weights)))
        model.weights = str(weights)
    elif name in UNTRAINED:
        model.weights = "random"
    return with_settings(model, said)


def known_models() -> dict[str, list[str]]:
    """Returns the names that `load` takes, {source: names}."""
    return {
        "built in": list(BUILT_IN),
        **{group: [f"torchvision:{name}" for name in list_models(module=module)] for group, (module, _) in TORCHVISION.items()},
        "timm": [f"timm:{name}" for name in timm.list_models()],
    }


def _build(name: str, pretrained: bool, settings: Settings = MappingProxyType({})) -> VisionModel:
    family, _, rest = name.partition(":")
    if family == "hf":
        return huggingface_model(rest, pretrained)
    if is_onnx_file(name):
        return _onnx(name, pretrained, settings)
    if ".py" in name:
        path, _, factory = name.rpartition(":") if ".py:" in name else (name, ":", "build")
        return _from_file(path, factory, settings)
    if name in BUILT_IN:
        return BUILT_IN[name](pretrained)
    if family == "timm" and rest.partition(".")[0] in timm.list_models():
        return timm_model(rest, pretrained)
    if family == "open_clip":
        return open_clip_model(rest, pretrained)
    bare = rest if family == "torchvision" else name
    if build := torchvision_builders().get(bare):
        return build(bare, pretrained)
    if is_trained(name):
        model = load_trained(name, pretrained, lambda source, told: _of_zoo(name, source))
        model.source = str(Path(name).resolve())
        return model
    raise ModelError(_unknown(name))


def _of_zoo(folder: str, source: str) -> VisionModel:
    """Builds the network that a trained folder says it began with, if that is in the zoo: a folder must not choose code."""
    if in_zoo(source):
        return _build(source, pretrained=False)
    known = shown(source) if ":" in source or source.endswith((".py", ".onnx")) else "FILE.py:FACTORY"
    raise ModelError(
        f"{shown(folder)} holds the weights of {shown(source)}, which has no name in the zoo that builds it again, and code is "
        f"run only where you name it: tp.load({known!r}, weights={shown(folder)!r}), or --model and --weights"
    )


def _filled(name: str, folder: str, said: Settings) -> VisionModel:
    """Builds the network that the user named, with head, weights, classes and preprocessing from a trained network's folder."""
    model = load_trained(folder, True, lambda _, told: _build(name, pretrained=False, settings={**told, **said}))
    model.weights = folder
    return model


def _unknown(name: str) -> str:
    names = [*BUILT_IN, *torchvision_builders(), *known_models()["timm"]]
    close = difflib.get_close_matches(name, names, 3, 0.5) or difflib.get_close_matches(f"timm:{name}", names, 3, 0.5)
    hint = f"close names: {', '.join(close)}" if close else "see `tapetum models`"
    return f"no model '{name}'; {hint}"


# --- a factory in the user's own file


def _from_file(path: str, factory: str, settings: Settings) -> VisionModel:
    module = _imported(Path(path))
    build = getattr(module, factory, None)
    if not callable(build):
        functions = [n for n, f in inspect.getmembers(module, callable) if getattr(f, "__module__", "") == module.__name__]
        raise ModelError(f"{path} has no function '{factory}'; it has {', '.join(functions) or 'none'}")
    model = _built(build, f"{path}:{factory}", settings)
    model.source = f"{path}:{factory}"
    return model


def _onnx(path: str, pretrained: bool, settings: Settings) -> VisionModel:
    if not pretrained:
        raise ModelError(f"{path} holds its weights itself: load it without others")
    model = wrap(path, **for_wrap(settings, nn.Identity()))
    model.source = path
    return model


def _built(build: Callable[[], Any], source: str, settings: Settings) -> VisionModel:
    try:
        built = build()
    except Exception as error:
        raise ModelError(f"{source} failed ({type(error).__name__}: {error})") from error
    if isinstance(built, VisionModel):
        return built
    module = opaque(built) or built
    if isinstance(module, nn.Module):
        return wrap(built, name=Path(source.rpartition(":")[0]).stem, **for_wrap(settings, module))
    raise ModelError(f"{source} returned {type(built).__name__}; it must return a torch.nn.Module or tapetum.wrap(...)")


def _imported(path: Path) -> ModuleType:
    if not os.path.isfile(path):
        raise ModelError(f"no file {path}")
    spec = importlib.util.spec_from_file_location(f"tapetum_user_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.modules[spec.name] = module
    sys.path.insert(0, folder)  # the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ModelError(f"{path} cannot be imported ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(folder)
    return module
