"""The networks of the sweep: all of torchvision's classifiers, and the smallest network of each of timm's families.

Weights are random, and made such that a map can be expected: batch-norm statistics come from one pass over noisy copies of
the photograph, since without them deep networks explode or vanish; weights that are all zero (the heads of torchvision's
vision transformers, of mixers) are drawn anew, since a network that always answers zero has nothing to explain; and so that
its last branches say something, a batch-norm scale that starts as all zeros (timm's residual networks) is one.
"""

from __future__ import annotations

import torch
import torchvision
from timm import create_model, list_models
from timm.models import model_entrypoint
from torch import Tensor, nn

import tapetum as tp
from benchmarks.cells import Cells
from tapetum.data.images import read_image
from tapetum.data.sources import packaged_photo
from tapetum.models.choice import choose_layer

SIDES = (96, 192)  # tried before the network's own size, which is usually 224: most families run at any size
CANDIDATES = 4
SMALL = ("atto", "femto", "pico", "nano", "xx", "tiny", "xs", "small", "mini", "lite", "18", "_s", "_0", "b0")
SPARSE = ("naflex",)  # images come as dictionaries of patches


def names(cells: Cells) -> list[str]:
    """The smallest network of every family first, torchvision's before timm's; then the rest of torchvision by size."""
    sizes = {name: _published_parameters(name) for name in torchvision.models.list_models(module=torchvision.models)}
    ours = [f"torchvision:{name}" for name in sorted(sizes, key=lambda name: (sizes[name], name))]
    first = list({family(name): name for name in reversed(ours)}.values())[::-1]
    return [*first, *(f"timm:{name}" for name in _smallest(cells).values()), *(name for name in ours if name not in first)]


def _published_parameters(name: str) -> int:
    weights = torchvision.models.get_model_weights(name)
    return next(iter(weights)).meta["num_params"]


def family(name: str) -> str:
    """torchvision's file, timm's file."""
    library, _, bare = name.partition(":")
    build = model_entrypoint(bare) if library == "timm" else torchvision.models.get_model_builder(bare)
    return f"{library} {build.__module__.rpartition('.')[2]}"


def _smallest(cells: Cells) -> dict[str, str]:
    """A small network of every timm family that classifies images: the one with the fewest parameters of four whose names
    sound small. Built once, on the meta device."""
    members: dict[str, list[str]] = {}
    for name in list_models():
        members.setdefault(family(f"timm:{name}"), []).append(name)
    found: dict[str, str] = {}
    for key, members_ in sorted(members.items()):
        counts: dict[str, int] = {}
        for name in sorted(members_, key=_sounds_large)[:CANDIDATES]:
            if ("parameters", name) not in cells:
                cells.add(("parameters", name), parameters=_parameters(name))
            if (count := cells["parameters", name]["parameters"]) is not None:
                counts[name] = count
        if counts:
            found[key] = min(counts, key=lambda name: (counts[name], name))
    return found


def _sounds_large(name: str) -> tuple[bool, int, str]:
    return not any(word in name for word in SMALL), len(name), name


def _parameters(name: str) -> int | None:
    """None for networks without a classifier, or whose images are no tensors."""
    if any(word in name for word in SPARSE):
        return None
    with torch.device("meta"):
        module = create_model(name)
    classes = getattr(module, "num_classes", 0)
    return sum(weight.numel() for weight in module.parameters()) if classes else None


def network(name: str) -> tuple[tp.VisionModel, Tensor]:
    """The network, in a state to be explained, and the photograph at the smallest size at which it works as at its own."""
    loaded = tp.load(name, weights=None, seed=0)
    module, own = loaded.module, loaded.preprocessing
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim > 1 and not weight.any():
                nn.init.normal_(weight, std=0.02)
        for part in module.modules():
            if hasattr(part, "running_mean") and part.weight is not None and not part.weight.any():
                part.weight.fill_(1)
    pixels, layer = read_image(packaged_photo("cat")), _layer(loaded)
    full = max(own.size)
    for side in (*(side for side in SIDES if side < full), full):
        model = tp.wrap(module, size=side, resize=side, mean=own.mean, std=own.std, name=name)
        image = model.preprocess(pixels)
        if side == full or (_runs(module, image) and _layer(model) == layer):
            break
    _set_statistics(module, image)
    return model, image


def _layer(model: tp.VisionModel) -> str | None:
    """The layer for a CAM. On too small an image the last map is one cell, or mostly padding, and another is chosen."""
    try:
        return choose_layer(model.survey)[0]
    except tp.TapetumError:
        return None


def _runs(module: nn.Module, image: Tensor) -> bool:
    """Networks of one size refuse others, each in its own way; too small a map ends in NaN."""
    try:
        with torch.no_grad():
            return bool(torch.isfinite(module.eval()(image)).all())
    except Exception:
        return False


def _set_statistics(module: nn.Module, image: Tensor) -> None:
    """Batch-norm statistics of six noisy copies; all else stays in eval mode, which leaves out training's extra heads."""
    norms = [part for part in module.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if norms:
        for part in norms:
            part.momentum = None  # the plain mean
            part.reset_running_stats()
            part.train()
        noise = torch.randn(6, *image.shape[1:], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            module(image + 0.5 * noise)
    module.eval()
