"""Translates Hugging Face's image processors into a `Preprocessing`."""

from __future__ import annotations

from typing import Any

from tapetum.data.preprocessing import Interpolation, Preprocessing, Resize, Size
from tapetum.types.text import as_text

RESAMPLES: dict[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""{PIL's number: interpolation}; Lanczos, box and Hamming are missing, since tensors cannot be resized by them."""

UNFOLLOWED = ("do_pad", "do_thumbnail", "do_align_long_axis", "size_divisor", "do_image_splitting")
"""Settings of processors that stand for steps which a `Preprocessing` does not have."""

WHOLE = 384
"""Side in px from which ConvNeXt's processor crops nothing: the paper's networks for 384 px saw whole pictures."""


def preprocessing_of(processor: Any, size: Size) -> tuple[Preprocessing, tuple[str, ...]]:
    """Returns a processor's steps as a `Preprocessing`, and notes on steps that are not followed exactly.

    size: (height, width) to take if the processor has none.
    """
    cut, resize, notes = _sides(processor, size)
    resample = getattr(processor, "resample", None)
    interpolation = RESAMPLES.get(int(resample)) if resample is not None else "bilinear"
    if interpolation is None:
        interpolation = "bicubic"
        notes.append("pictures are resized by bicubic interpolation where the image processor says another")
    extra = [step for step in UNFOLLOWED if getattr(processor, step, None)]
    if extra:
        notes.append(f"{_kind(processor)}'s steps {', '.join(extra)} are not followed: prepare images by it where they matter")
    mean, std = _constants(processor)
    return Preprocessing(cut, resize, interpolation, mean, std), tuple(notes)


def flips_channels(processor: Any) -> bool:
    """Checks whether the processor turns RGB into BGR, so that the network was trained on BGR."""
    return bool(getattr(processor, "do_flip_channel_order", False))


def _kind(processor: Any) -> str:
    return type(processor).__name__.removesuffix("Fast").removesuffix("Pil")


def _sides(processor: Any, size: Size) -> tuple[Size, Resize, list[str]]:
    """Returns the size of the central crop, how pictures are resized before it (see `Preprocessing.resize`), and notes."""
    given = _lengths(getattr(processor, "size", None))
    crop = _pair(_lengths(getattr(processor, "crop_size", None)) if getattr(processor, "do_center_crop", False) else {})
    edge = given.get("shortest_edge")
    if not getattr(processor, "do_resize", True):
        return crop or size, "squash", ["the image processor does not resize: pictures are squashed to the network's own size"]
    if _kind(processor) == "PerceiverImageProcessor" and crop:  # crops first, then resizes the crop
        return _pair(given) or size, min(crop), []
    if edge:
        return _of_an_edge(processor, edge, crop)
    whole = _pair(given) or size
    if crop in (None, whole):
        return whole, "squash", []
    words = f"the image processor squashes to {as_text(whole)} px before it cuts {as_text(crop)}: here nothing is squashed"
    return crop, max(min(whole), min(crop)), [words]


def _of_an_edge(processor: Any, edge: int, crop: Size | None) -> tuple[Size, Resize, list[str]]:
    """Returns the same as `_sides`, for a processor that resizes the shorter side to `edge` px."""
    kind, share = _kind(processor), getattr(processor, "crop_pct", None) or 1.0
    if kind == "ConvNextImageProcessor":
        return (edge, edge), int(edge / share) if edge < WHOLE else "squash", []
    resize = int(256 / 224 * edge) if kind == "LevitImageProcessor" else int(edge / share)
    crop = crop or (edge, edge)
    if resize >= min(crop):
        return crop, resize, []
    words = f"the image processor pads pictures of {resize} px to {as_text(crop)} px: here they are resized to that"
    return crop, min(crop), [words]


def _constants(processor: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Returns mean and std for pixels in [0, 1] that have the effect of all scaling, shifting and dividing by the processor."""
    scale = 255 * float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 255.0
    shift = 1.0 if getattr(processor, "rescale_offset", False) and getattr(processor, "do_rescale", True) else 0.0
    means, stds = [0.0] * 3, [1.0] * 3
    if getattr(processor, "do_normalize", False):
        means, stds = _three(processor.image_mean), _three(processor.image_std)
    if getattr(processor, "include_top", False):  # EfficientNet's classifiers divide by std a second time
        stds = [one * again for one, again in zip(stds, _three(processor.image_std), strict=True)]
    return tuple((mean + shift) / scale for mean in means), tuple(std / scale for std in stds)


def _three(numbers: Any) -> list[float]:
    return [float(numbers)] * 3 if isinstance(numbers, (int, float)) else [float(one) for one in numbers]


def _pair(lengths: dict[str, int]) -> Size | None:
    """Returns (height, width) from both lengths, or a square of the shorter side; None if neither is given."""
    if "height" in lengths and "width" in lengths:
        return lengths["height"], lengths["width"]
    edge = lengths.get("shortest_edge")
    return None if edge is None else (edge, edge)


def _lengths(size: Any) -> dict[str, int]:
    """Returns a processor's size, a number, mapping or transformers object, as {"height", "width"} or {"shortest_edge"}."""
    if size is None:
        return {}
    if isinstance(size, int):
        return {"height": size, "width": size}
    return {str(key): int(value) for key, value in dict(size).items() if value is not None}
