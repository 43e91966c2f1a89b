"""Finds the image size that a network takes: from its attributes, by trying usual sizes, or from the layer that fails."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tapetum.data.preprocessing import Size, as_pair
from tapetum.models.layers import meta_copy
from tapetum.models.network import Network
from tapetum.models.operations.nested import tensors
from tapetum.types import ImageError, ModelError, TapetumError
from tapetum.types.text import as_text

USUAL = (224, 32, 28, 64, 96, 128, 256, 299, 384, 227, 48, 512, 16, 100, 112, 150, 160, 192, 200, 240, 300, 320, 448, 518, 40,
         56, 80, 8, 12, 20, 24)  # fmt: skip
"""Sides of square inputs, roughly by how often networks are built for them."""

CLAIMS = ("img_size", "image_size")  # timm, torchvision, Hugging Face, open_clip

Outcome = Literal["yes", "rows", "no"]
"""Outcome of a trial pass: "yes", one row per image; "rows", another number, as by `view(-1, 400)`; "no", an error."""


@dataclass(frozen=True)
class Fit:
    """Image size, and in words how it was found; `words` is None where the network states its size, or the size was assumed."""

    size: Size
    words: str | None


def fit(model: Network) -> Fit:
    """Finds the image size that a network takes: its stated one, then `model.preprocessing.size`, then the usual squares.

    Each size is tried with two images on the meta device (shapes without numbers), and the first that gives one row per image
    is taken. A network that takes none is refused; the error names rectangles that its first linear layer would take.
    """
    assumed = model.preprocessing.size
    said = list(claims(model.module, model.channels))
    if (said[:1] and said[0].size == assumed) or (not said and hasattr(model.module, "pretrained_cfg")):
        return Fit(assumed, None)
    wanted = [one if one.size != assumed else Fit(assumed, None) for one in [*said, Fit(assumed, None)]]
    trials = Trials(model)
    for one in wanted:
        if trials.outcome(one.size) == "yes":
            return one
    if trials.blind:  # the network needs real numbers, or fails for a reason other than the size
        return next((one for one in wanted if trials.really(one.size) == "yes"), Fit(assumed, None))
    for side in USUAL:
        if trials.outcome((side, side)) == "yes":
            words = f"it takes images of {side} x {side} px, found by trial, and none of {as_text(assumed)}"
            return Fit((side, side), words)
    if "rows" in trials.seen.values():
        return Fit(assumed, None)
    others = " or ".join(f"size={size}" for size in trials.rectangles())
    raise ModelError(
        f"{model.name} takes images of no usual size: say which with wrap(module, size=(height, width))"
        + (f"; its linear layer fits {others}" if others else "")
    )


def refusal(model: Network, size: Size) -> ImageError | None:
    """Returns an error that names sizes that work if a network fails on images of this size or mixes their rows; else None."""
    trials = Trials(model)
    if trials.outcome(size) == "yes" or trials.really(size) == "yes":
        return None
    own = model.preprocessing.size
    squares = ((side, side) for side in USUAL)
    others = [one.size for one in claims(model.module, model.channels)]
    taken = next((one for one in (own, *others, *squares) if one != size and trials.outcome(one) == "yes"), None)
    found = [taken] if taken else trials.rectangles()
    if not found and "rows" in (trials.outcome(size), trials.really(size)):
        return None  # the network runs, but at no size gives one row per image
    if not found:
        return ImageError(_nowhere(model, size))
    takes = " or ".join(as_text(one) for one in found)
    hint = "model.preprocess cuts photographs to that" if taken == own else "tp.wrap(..., size=(height, width)) says which"
    return ImageError(f"{model.name} takes no images of {as_text(size)} px but {takes}: {hint}")


@contextmanager
def in_plain_words(model: Network, size: Size) -> Generator[None]:
    """Turns an error of the network inside the block into a plain refusal if the network takes no images of this size."""
    try:
        yield
    except (TapetumError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a network may raise anything
        why = refusal(model, size)
        if why is None:
            raise  # the network runs at this size: the error has another cause
        if why.args == (_nowhere(model, size),):
            words = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ImageError(f"{why} ({words}); {_called(model)}") from error
        raise why from error


def _nowhere(model: Network, size: Size) -> str:
    shape = f"{model.channels} x {as_text(size)}"
    return f"{model.name} does not run on images of {shape}"


def _called(model: Network) -> str:
    """Advice on `call=`, with code that fits the first argument of the network's forward."""
    try:
        first = next(iter(inspect.signature(model.module.forward).parameters.values()), None)
    except (TypeError, ValueError):
        first = None
    named = first is not None and first.kind is inspect.Parameter.KEYWORD_ONLY
    how = f"network({first.name}=images)" if first is not None and named else 'network({"image": images})'
    return f"give those that it was built for, or say how it takes them: tp.wrap(..., call=lambda network, images: {how})"


def claims(module: nn.Module, channels: int) -> Iterator[Fit]:
    """Yields sizes that a network's attributes, outermost first, and its first weights suggest; none is tried here."""
    for part in module.modules():
        for owner in (part, getattr(part, "config", None), getattr(getattr(part, "config", None), "vision_config", None)):
            for attribute in CLAIMS:
                value = _pair(getattr(owner, attribute, None))
                if value is not None:
                    yield Fit(value, None)
    yield from _by_positions(module, channels)
    flat = flat_input(module)
    if flat is not None and _is_flat(module):
        yield Fit(flat[1], f"its first linear layer takes {flat[0]} x {as_text(flat[1])} px")


def _pair(value: Any) -> Size | None:
    if not isinstance(value, (int, tuple, list)) or isinstance(value, bool):
        return None
    try:
        return as_pair(value)
    except ImageError:
        return None


def _by_positions(module: nn.Module, channels: int) -> Iterator[Fit]:
    """Yields sizes from learned position embeddings, one per patch: patches per side times the side of a patch in px."""
    patch = _patch(module, channels)
    for name, weight in module.named_parameters() if patch else ():
        if "pos" not in name.rpartition(".")[2].lower() or "relative" in name or weight.ndim not in (2, 3):
            continue
        for prefix in (1, 0, 2):  # class and distillation tokens
            side = isqrt(max(0, weight.shape[-2] - prefix))
            if side > 1 and side**2 + prefix == weight.shape[-2]:
                yield Fit((side * patch, side * patch), f"it has learned positions of {side} x {side} patches of {patch} px")


def _patch(module: nn.Module, channels: int) -> int:
    """Side in px of the patches that the first layer cuts the image into; 0 where it cuts none."""
    first = next((part for part in module.modules() if isinstance(part, (nn.Conv2d, nn.Linear))), None)
    if isinstance(first, nn.Conv2d):
        return int(first.kernel_size[0]) if first.kernel_size == first.stride and first.stride[0] > 1 else 0
    side = isqrt(first.in_features // channels) if first is not None else 0
    return side if first is not None and channels * side**2 == first.in_features else 0


def flat_input(module: nn.Module) -> tuple[int, Size] | None:
    """Image shape of a network whose first layer is linear over all values of an image: 784 values give (1, (28, 28)).

    None where the first layer is another one, or its values fit no square of 1 or 3 channels.
    """
    first = next((part for part in module.modules() if isinstance(part, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d))), None)
    if not isinstance(first, nn.Linear):
        return None
    for channels in (1, 3):
        side = isqrt(first.in_features // channels)
        if side > 1 and channels * side**2 == first.in_features:
            return channels, (side, side)
    return None


class Trials:
    """Trial passes of a network on the meta device (shapes without numbers), at several image sizes."""

    def __init__(self, model: Network) -> None:
        self.model, self.seen = model, dict[Size, Outcome]()
        self.errors: list[Exception] = []
        try:
            self.module: nn.Module | None = meta_copy(model.replica)
        except Exception as error:  # a network that cannot be copied is tried only with numbers
            self.module, self.errors = None, [error]

    @property
    def blind(self) -> bool:
        """Checks whether trial passes failed for another reason than a wrong size, such as the missing numbers."""
        shapes = (RuntimeError, ValueError, AssertionError)  # what a wrong size causes; "meta": numbers are missing
        return self.module is None or any(
            not isinstance(error, shapes) or "meta" in str(error).lower() for error in self.errors
        )

    def outcome(self, size: Size) -> Outcome:
        if size not in self.seen:
            self.seen[size] = "no" if self.module is None else self._run(self.module, size, "meta")
        return self.seen[size]

    def really(self, size: Size) -> Outcome:
        """Returns the outcome of a pass on two blank images of this size with real numbers, on the model's device."""
        try:
            return self._run(self.model.replica, size, self.model.device)
        except TapetumError:  # the network cannot be copied
            return "no"

    def _run(self, module: nn.Module, size: Size, device: str | torch.device) -> Outcome:
        images = torch.zeros(2, self.model.channels, *size, device=device, dtype=self.model.dtype)
        try:
            with torch.no_grad(), self.model.at_rows([0]), self.model.passes.aside():
                out = next(tensors(self.model.run(module, images)), None)
        except TapetumError:
            raise
        except Exception as error:  # a network may raise anything where a size does not fit
            self.errors.append(error)
            return "no"
        return "rows" if out is not None and (out.ndim == 0 or len(out) != 2) else "yes"

    def rectangles(self, most: int = 4) -> list[Size]:
        """Returns up to `most` sizes that fit the linear layer which fails on a square image, those nearest to square first."""
        found: list[Size] = []
        for probe in (64, 128):
            cells = self._cells((probe, probe))
            if cells is None:
                continue
            count, stride = cells
            sides = [(a, count // a) for a in range(1, count + 1) if count % a == 0]
            sizes = sorted(((a * stride, b * stride) for a, b in sides), key=lambda size: (max(size) / min(size), size))
            found += [size for size in sizes if size not in found and self.outcome(size) == "yes"]
        return found[:most]

    def _cells(self, size: Size) -> tuple[int, int] | None:
        """Returns the number of cells that the map before the failing linear layer must have, and px per cell; or None."""
        maps: list[Tensor] = []
        wanted: list[int] = []

        def before(part: nn.Module, inputs: tuple[Any, ...]) -> None:
            if isinstance(part, nn.Linear) and inputs[0].shape[-1] != part.in_features:
                wanted.append(part.in_features)

        def after(part: nn.Module, _: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.ndim == 4:
                maps.append(output)

        with ExitStack() as handles:
            for part in self.module.modules() if self.module else ():
                handles.enter_context(part.register_forward_pre_hook(before))
                handles.enter_context(part.register_forward_hook(after))
            if self.module is None or self._run(self.module, size, "meta") != "no" or not (maps and wanted):
                return None
        _, channels, height, _ = maps[-1].shape
        fits = wanted[0] % channels == 0 and size[0] % height == 0
        return (wanted[0] // channels, size[0] // height) if fits else None


def input_channels(module: nn.Module) -> int:
    """Number of image channels, from a configuration's `num_channels`, the first convolution or linear layer; else three."""
    for part in module.modules():
        config = getattr(part, "config", None)
        said = getattr(config, "num_channels", None)
        if isinstance(said, int) and not isinstance(said, bool):
            return said
    first = next((part for part in module.modules() if isinstance(part, nn.Conv2d)), None)
    flat = flat_input(module)
    return first.in_channels if first is not None else flat[0] if flat is not None and _is_flat(module) else 3


def _is_flat(module: nn.Module) -> bool:
    """Checks whether all layers with weights are linear layers, norms or PReLU, so that there are no patches or tokens."""
    learned: Sequence[nn.Module] = [part for part in module.modules() if any(True for _ in part.parameters(recurse=False))]
    return all(isinstance(part, (nn.Linear, nn.BatchNorm1d, nn.LayerNorm, nn.PReLU)) for part in learned)
