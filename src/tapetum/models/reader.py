"""Converts pictures of any kind to images that a network takes, and back; refuses images that the network does not take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tapetum.data.planes import from_batch, viewable
from tapetum.data.strips import Strips
from tapetum.models.folding import folded
from tapetum.models.network import Network
from tapetum.notes import RAW, caution, is_caution, note
from tapetum.types import Crop, ImageError


class Reader(Network):
    """Network that also reads pictures and preprocesses them.

    notes   sentences for readers of its results, such as what `untrained` could not draw again
    frames  number of frames folded into the channels, for a network of films or volumes; None for a network of images
    """

    notes: tuple[str, ...]
    frames: int | None
    _warned: set[str]

    def preprocess(self, pictures: Any) -> Tensor:
        """Converts pictures to model-ready images (n, c, h, w) on the model's device.

        pictures: a batch (n, 3, H, W) or (n, H, W, 3), an array or tensor with values as `read_image` takes them; anything
            that `read_image` takes; or a list of these, of any sizes. Networks with another number of channels than one or
            three take arrays, tensors and .npy files with it; with `tp.wrap(..., range=(low, high))` the values are raw.
        """
        if isinstance(pictures, Tensor) and pictures.ndim == 5:
            pictures = folded(pictures, self.channels, self.frames)
        if isinstance(pictures, (Tensor, np.ndarray)) and pictures.ndim == 4:
            how = self.preprocessing
            last = isinstance(pictures, np.ndarray)
            batch = torch.from_numpy(np.ascontiguousarray(pictures)) if isinstance(pictures, np.ndarray) else pictures
            return self.prepared(from_batch(batch, how.channels, how.range, last))
        many = pictures if isinstance(pictures, (list, tuple)) else [pictures]
        if not many:
            raise ImageError("no images were given")
        _refuse_labels(many)
        return self.batches.joined(list(map(self._ready, many)))

    def _ready(self, source: Any) -> Tensor:
        """Reads and preprocesses one picture; converts no more of it to floats than its crop needs, to save memory."""
        with self.preprocessing.opened(source) as pixels:
            return self.prepared(pixels)

    def prepared(self, pixels: Tensor | Strips) -> Tensor:
        """Converts pixels in [0, 1], as `model.preprocessing` reads them, to model-ready images on the model's device."""
        self.caution(self.notes)
        ready = self.preprocessing(pixels).to(self.device, self.dtype)
        return self.batches.cut(ready, (int(pixels.shape[-2]), int(pixels.shape[-1])), self.preprocessing)

    def denormalize(self, images: Tensor) -> Tensor:
        """Converts model-ready images to pixels in [0, 1], (n, 3, h, w), as the model saw them; many bands as a grey mean."""
        if self.frames is not None:
            note(f"pictures show the mean over the {self.frames} frames")
            return viewable(self.preprocessing.pixels(images).unflatten(1, (-1, self.frames)).mean(2))
        if images.shape[1] not in (1, 3):
            note(f"pictures show the mean over the {images.shape[1]} bands, in grey")
        return self.preprocessing.denormalize(images)

    def as_images(self, source: Any) -> Tensor:
        """Returns a float tensor (n, c, h, w) as model-ready, unchanged; preprocesses all else, such as uint8 batches."""
        if isinstance(source, Tensor) and source.ndim == 5:
            source = folded(source, self.channels, self.frames)
        if isinstance(source, Tensor) and source.ndim == 4 and source.is_floating_point():
            (crops, raw), structure = self.batches.of(source), self.structure
            here = source.device == structure.device and source.dtype == structure.dtype and not source.requires_grad
            if raw is None or not here:
                source, raw = self._checked(source, crops)
            if raw:
                self.caution([RAW])
            return source
        if isinstance(source, Tensor) and source.ndim == 3:
            self._refuse_one_image(source)
        return self.preprocess(source)

    def _refuse_one_image(self, image: Tensor) -> None:
        """Refuses a tensor (c, h, w) with values outside [0, 1]: it is not a picture, and images have a batch axis."""
        if not image.is_floating_point() or not image.numel() or not torch.isfinite(image).all() or self.preprocessing.range:
            return
        low, high = (float(end) for end in image.detach().aminmax())
        if image.shape[0] == self.channels and (low < 0 or 1 < high <= 20):
            raise ImageError(
                f"a tensor {tuple(image.shape)} with values from {low:.3g} to {high:.3g} is no picture in [0, 1]; model-ready "
                "images have a batch axis: x[None]"
            )

    def _checked(self, images: Tensor, crops: tuple[Crop, ...]) -> tuple[Tensor, bool]:
        """Returns a model-ready batch on the model's device, checked, and whether it looks raw; remembers both batches."""
        raw, structure = self._check(images), self.structure
        self.batches.keep(images, crops, raw)
        ready = images.detach() if images.requires_grad else images
        return self.batches.keep(ready.to(structure.device, structure.dtype), crops, raw), raw

    def _check(self, images: Tensor) -> bool:
        """Refuses a tensor that is not a batch of this model's images; returns whether its pixels look as if not normalised."""
        if len(images) == 0:
            raise ImageError("an empty batch was given: no images")
        means, stds = self.preprocessing.mean, self.preprocessing.std
        channels = len(means)
        if images.shape[1] != channels:
            hint = "; their channels are last: x.permute(0, 3, 1, 2)" if images.shape[-1] == channels else ""
            raise ImageError(
                f"{self.name} takes {channels} channels, these images {tuple(images.shape)} have {images.shape[1]}{hint}"
            )
        if not torch.isfinite(images).all():
            raise ImageError("the images contain NaN or infinity")
        brightest = max(float(images[:, i].max()) * std + mean for i, (mean, std) in enumerate(zip(means, stds, strict=True)))
        if brightest > 20:  # 8-bit values that were not divided by 255 end near 58 with the usual constants
            what = "0..255" if self.preprocessing.range is None else "raw"
            raise ImageError(f"the images look like {what} values; use model.preprocess, which makes them model-ready")
        return self.seems_raw(images)

    def seems_raw(self, images: Tensor) -> bool:
        """Checks whether images lie in [0, 1] and use that range, although the model expects normalised ones."""
        # a bright picture normalised by .5 and .5 lies in [0, 1], too, but hardly reaches down to 0
        return self.looks_raw(images) and float(images.min()) < 0.1 and float(images.max()) > 0.5

    def looks_raw(self, images: Tensor) -> bool:
        """Checks whether all values lie in [0, 1] although the model expects normalised ones: the commonest silent mistake."""
        mean, std = self.preprocessing.mean, self.preprocessing.std
        normalised = all(m == 0 for m in mean) and all(s == 1 for s in std)
        return not normalised and images.numel() > 0 and float(images.min()) >= 0 and float(images.max()) <= 1

    def caution(self, notes: Sequence[str]) -> None:
        """Warns about those notes which mean that results may be wrong, about each of them once per model."""
        for sentence in filter(is_caution, notes):
            caution(sentence, self._warned)


def _refuse_labels(many: Sequence[Any]) -> None:
    """Refuses a data loader's pair of images and labels, given in place of a list of pictures."""
    first, last = many[0], many[-1]
    pair = len(many) == 2 and isinstance(first, Tensor) and first.ndim == 4 and isinstance(last, Tensor) and last.ndim <= 2
    if pair and len(last) == len(first):
        raise ImageError(f"a data loader's pair of images {tuple(first.shape)} and labels was given: give the images, pair[0]")
