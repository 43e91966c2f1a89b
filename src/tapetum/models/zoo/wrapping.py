"""`wrap`: makes a `VisionModel` of any `nn.Module`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from torch import nn

from tapetum.data.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Interpolation, Preprocessing, Resize
from tapetum.models.extra import checked_extra
from tapetum.models.fitting import fit, input_channels
from tapetum.models.folding import Folded, check_frames, film_channels
from tapetum.models.opaque import is_onnx_file, opaque
from tapetum.models.unwrapping import unwrapped
from tapetum.models.vision_model import Head, VisionModel
from tapetum.models.zoo.dense import detector_preprocessing, normalises_itself
from tapetum.models.zoo.families import timm_preprocessing
from tapetum.models.zoo.huggingface import read_module, refuse_others
from tapetum.models.zoo.naming import as_labels, by_head, own_labels
from tapetum.notes import ASSUMED
from tapetum.types import ModelError, Outputs

BY_TRIAL = "; size= in tp.wrap says another"
"""End of the note on an image size that was found by trial."""


def wrap(
    module: Any,
    *,
    size: int | Sequence[int] | str | None = None,
    mean: Any = None,
    std: Any = None,
    labels: Any = None,
    outputs: Outputs | Mapping[Any, Outputs] = "auto",
    head: Head = None,
    resize: Resize | None = None,
    interpolation: Interpolation | None = None,
    range: Sequence[float | int] | None = None,
    frames: int | None = None,
    name: str | None = None,
    call: Callable[..., Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> VisionModel:
    """Makes a `VisionModel` of your module, which itself is never changed.

    A timm network brings its own preprocessing, and torchvision's detectors normalise images themselves. Otherwise mean and
    std are ImageNet's for three channels; say what your model was trained with, since the wrong constants cost accuracy
    without a word. A size that is not given is found (`model.notes` says how): the network's own `img_size`, else 224 where
    it takes that, else what its positions or its linear layers fit.

    Args:
        module: any module that takes images (n, c, h, w). Also TorchScript, a `torch.export.ExportedProgram`, an ONNX file or
            session, and any function of images that gives numbers (numpy's, too): methods that need no layer work on
            them, and methods that need gradients if they have some.
        size: of the input in px: the side of a square, (height, width), or "64x128"; None: found.
        mean, std: numbers, one per channel, in units of pixels in [0, 1]; a single number counts for all channels.
        labels: class names in the order of the outputs: a list or array; {0: "cat", 1: "dog"}, keys may be texts; a `Path` to
            a file with one per line; {head: names} for several outputs. Refused if they are not one per output. A single
            logit may have two names: it stands for the second.
        outputs: what the network's numbers are: "logits" of classes of which one is true (softmax), "probabilities",
            "log_probabilities", "sigmoid" (logits of labels of which several may be true), "numbers" (regression); "auto"
            finds out and says so in the notes of results; {head: kind} for several outputs.
        head: which of several outputs is the answer: a key, an attribute or an index; None: found by name, labels and
            shape, if these leave no doubt.
        resize: what happens before the central cut. "crop" (None means the same): large pictures are resized to 8/7 of
            `size` (256 for 224), small ones are enlarged no more than it takes, and one of exactly `size` passes unchanged;
            "squash": the whole picture is made that size, nothing is cut; a number: the shorter side in px.
        interpolation: of that resizing; None: the network's own, or bilinear.
        range: (low, high), the raw values that stand for black and white of pictures without 8 or 16 bits: (0, 4095), a CT
            window (-160, 240), reflectances (0, .4); values beyond are clipped.
        frames: of a network of films or volumes (n, c, t, h, w), how many frames or slices t they have. Images are then
            (n, c t, h, w) inside; films are taken as they are, and `Attribution.films` has the maps of each frame.
        name: for captions; None: the class's name.
        call: how to run it where `module(images)` is not enough, `lambda module, images: module(images, metadata)`. It
            gets a private copy of the module and any number of images, also changed or repeated ones, since methods hide
            parts of images or repeat them: what it adds must fit every image.
        extra: further inputs beside the images, `{"age": ages}`: rows (n, ...), one per image that is explained, or one for
            all. The network gets them by keyword, `module(images, age=...)`, or `call(module, images, age=...)`; a method
            that hides, repeats or splits images does the same with their rows.
    """
    if isinstance(module, VisionModel):
        raise ModelError(f"{module.name} is wrapped already")
    function = opaque(module)
    if function is not None:
        name = name or _name_of(module)
        channels = function.shape[0]
        if mean is None and channels is not None and channels != 3:  # ImageNet's constants are for three channels
            mean = (0.0,) * channels
        size = size or function.shape[1]
        module = function
    if not isinstance(module, nn.Module):
        raise ModelError(
            "wrap takes a torch.nn.Module, TorchScript, an exported program, an ONNX file or a function of images, not "
            f"{type(module).__name__}"
        )
    module = unwrapped(module)
    check_frames(module, frames, call is not None)
    preprocessing = replace(_preprocessing(module, size, mean, std, resize, interpolation), range=_span(range))
    if frames is not None:
        preprocessing, call = preprocessing.repeated(frames), Folded(frames, call)
    given, heads = by_head(labels)
    own = read_module(module)
    if own is not None and call is None:
        refuse_others(type(module), type(module).__name__)
    brought = own.labels if own is not None else own_labels(module)
    names = brought if given is None and not heads else None if given is None else as_labels(given)
    head = next(iter(heads)) if head is None and len(heads) == 1 else head
    model = VisionModel(
        module,
        name or type(module).__name__,
        preprocessing,
        heads.get(head, names),
        call=call or (own and own.call),
        extra=checked_extra(extra),
        encode_text=own and own.encode_text,
        outputs=own.outputs if own is not None and outputs == "auto" else checked_outputs(outputs),
        head=head,
        head_labels=heads,
    )
    model.frames = frames
    if _published(module) is None and (mean is None or std is None):
        model.notes += (assumed(preprocessing),)
    if size is None and not normalises_itself(module):
        found = fit(model)
        model.preprocessing = preprocessing.at(found.size)
        model.notes += (f"{model.name}: {found.words}{BY_TRIAL}",) if found.words else ()
    return model


def _name_of(given: Any) -> str:
    """Name for captions: that of the file, of the function, or of the module's class."""
    if is_onnx_file(given):
        return Path(given).stem
    return getattr(given, "original_name", None) or getattr(given, "__name__", None) or type(given).__name__


def checked_outputs(outputs: Any) -> Outputs | dict[Any, Outputs]:
    """Checks the kind of outputs, or {head: kind}, and returns it; the `ModelError` for an unknown kind names the choices."""
    known = get_args(Outputs)
    for one in outputs.values() if isinstance(outputs, Mapping) else [outputs]:
        if one not in known:
            raise ModelError(f"outputs is one of {', '.join(known)}, not {one!r}")
    return dict(outputs) if isinstance(outputs, Mapping) else outputs


def assumed(preprocessing: Preprocessing) -> str:
    """Returns the note that mean and std were not given, and which are assumed."""
    imagenet = (preprocessing.mean, preprocessing.std) == (IMAGENET_MEAN, IMAGENET_STD)
    return ASSUMED.format("ImageNet's" if imagenet else f"{preprocessing.mean} and {preprocessing.std}")


def _preprocessing(
    module: nn.Module,
    size: int | Sequence[int] | str | None,
    mean: Any,
    std: Any,
    resize: Resize | None,
    interpolation: Interpolation | None,
) -> Preprocessing:
    """Preprocessing from the given values; for those not given, from the network's own, else from the usual ones."""
    own = _published(module)
    mean, std = (_per_channel(one, film_channels(module) or input_channels(module)) for one in (mean, std))
    channels = len(mean) if mean is not None else film_channels(module) or input_channels(module)
    usual = IMAGENET_STD if channels == 3 and mean is None else (1.0,) * channels
    means = tuple(mean) if mean is not None else own.mean if own else IMAGENET_MEAN if channels == 3 else (0.0,) * channels
    stds = tuple(std) if std is not None else own.std if own else usual
    if len(means) != len(stds):
        raise ModelError(f"mean has {len(means)} numbers and std {len(stds)}: one per channel each")
    base = own or Preprocessing(resize="crop")
    cut = base if size is None else base.at(size)
    return replace(cut, resize=resize or cut.resize, interpolation=interpolation or cut.interpolation, mean=means, std=stds)


def _per_channel(given: Any, channels: int) -> tuple[float, ...] | None:
    """Converts mean or std to one number per channel; a single number is repeated for all channels."""
    if given is None:
        return None
    try:
        numbers = np.asarray(given, dtype=float).flatten()  # arrays of shape (1, c, 1, 1) are taken, too
    except (TypeError, ValueError):
        raise ModelError(f"mean and std are one number per channel each, not {given!r}") from None
    return tuple(numbers.tolist()) * (channels if np.ndim(given) == 0 else 1)


def _span(given: Any) -> tuple[float, float] | None:
    if given is None:
        return None
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        raise ModelError(f"range is (low, high), the raw values of black and white, not {given!r}") from None
    return low, high


def _published(module: nn.Module) -> Preprocessing | None:
    """Preprocessing that a torchvision detector or timm network brings with it; None for other networks."""
    if normalises_itself(module):
        return detector_preprocessing(module)
    return timm_preprocessing(module) if hasattr(module, "pretrained_cfg") else None
