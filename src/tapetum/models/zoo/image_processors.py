"""Image processors of Hugging Face's as a `Preprocessing`."""

from __future__ import annotations

from typing import Any

from tapetum.data.preprocessing import Interpolation, Preprocessing, Resize, Size, as_text

RESAMPLES: dict[int, Interpolation] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Interpolations by PIL's numbers; tensors are not resized by Lanczos, box or Hamming."""

UNFOLLOWED = ("do_pad", "do_thumbnail", "do_align_long_axis", "size_divisor", "do_image_splitting")
"""Steps of processors that a `Preprocessing` cannot take."""

WHOLE = 384
"""ConvNeXt's processor cuts nothing off from this size on: its paper's networks of 384 px saw whole pictures."""


def preprocessing_of(processor: Any, size: Size) -> tuple[Preprocessing, tuple[str, ...]]:
    """Preprocessing by the steps of a processor, and notes where they are not followed exactly; `size` where it has none."""
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
    """Whether the network was trained on blue, green, red."""
    return bool(getattr(processor, "do_flip_channel_order", False))


def _kind(processor: Any) -> str:
    return type(processor).__name__.removesuffix("Fast").removesuffix("Pil")


def _sides(processor: Any, size: Size) -> tuple[Size, Resize, list[str]]:
    """Returns the size of the cut, the step before it (see `Preprocessing`), and notes."""
    given = _lengths(getattr(processor, "size", None))
    crop = _pair(_lengths(getattr(processor, "crop_size", None)) if getattr(processor, "do_center_crop", False) else {})
    edge = given.get("shortest_edge")
    if not getattr(processor, "do_resize", True):
        return crop or size, "squash", ["the image processor does not resize: pictures are squashed to the network's own size"]
    if _kind(processor) == "PerceiverImageProcessor" and crop:  # cuts first, then resizes what is left
        return _pair(given) or size, min(crop), []
    if edge:
        return _of_an_edge(processor, edge, crop)
    whole = _pair(given) or size
    if crop in (None, whole):
        return whole, "squash", []
    words = f"the image processor squashes to {as_text(whole)} px before it cuts {as_text(crop)}: here nothing is squashed"
    return crop, max(min(whole), min(crop)), [words]


def _of_an_edge(processor: Any, edge: int, crop: Size | None) -> tuple[Size, Resize, list[str]]:
    """What `_sides` returns, for a processor that resizes the shorter side to `edge`."""
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
    """Mean and std in units of pixels in [0, 1], whatever the order in which the processor scales, shifts and divides."""
    scale = 255 * float(processor.rescale_factor) if getattr(processor, "do_rescale", True) else 255.0
    shift = 1.0 if getattr(processor, "rescale_offset", False) and getattr(processor, "do_rescale", True) else 0.0
    means, stds = [0.0] * 3, [1.0] * 3
    if getattr(processor, "do_normalize", False):
        means, stds = _three(processor.image_mean), _three(processor.image_std)
    if getattr(processor, "include_top", False):  # EfficientNet divides by std again where it classifies
        stds = [one * again for one, again in zip(stds, _three(processor.image_std), strict=True)]
    return tuple((mean + shift) / scale for mean in means), tuple(std / scale for std in stds)


def _three(numbers: Any) -> list[float]:
    return [float(numbers)] * 3 if isinstance(numbers, (int, float)) else [float(one) for one in numbers]


def _pair(lengths: dict[str, int]) -> Size | None:
    """Returns (height, width); None if a processor gives neither both nor a shorter side."""
    if "height" in lengths and "width" in lengths:
        return lengths["height"], lengths["width"]
    edge = lengths.get("shortest_edge")
    return None if edge is None else (edge, edge)


def _lengths(size: Any) -> dict[str, int]:
    """Returns {"height": ..., "width": ...} or {"shortest_edge": ...} from a number, a mapping, or transformers' own class."""
    if size is None:
        return {}
    if isinstance(size, int):
        return {"height": size, "width": size}
    return {str(key): int(value) for key, value in dict(size).items() if value is not None}
