"""Inversion: optimises pictures to give the same activation at a layer as a photograph, to show what the layer kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from torch import Tensor

from tapetum.border.layers import all_layers
from tapetum.border.methods import rendering
from tapetum.border.sentences import Seed
from tapetum.data.preprocessing import size_of
from tapetum.engines.probe import activations
from tapetum.engines.render import objectives as O
from tapetum.engines.render.converge import Best, converge
from tapetum.engines.render.objectives.common import mean
from tapetum.engines.render.optimize import canvas_for
from tapetum.engines.render.parametrizations import Parametrization, Start, fourier, pixel
from tapetum.engines.render.render import kept_steps, noted_steps
from tapetum.engines.similarity import ssim
from tapetum.families.inversions.likeness import feature_distance, psnr
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report
from tapetum.types import InformationByDepth, Range, Rendering

Way = Literal["fourier", "pixel"]

WAYS: dict[Way, tuple[Parametrization, float]] = {
    "fourier": (fourier(sd=0.1), 3e-6),
    "pixel": (pixel(sd=0.1, decorrelated=False), 1e-8),
}
"""Parametrization of the pictures, and the default weight of their total variation. The initial noise is stronger than in
feature visualisation, since deep units may give no gradient on plain grey."""

InversionMethod: TypeAlias = Annotated[
    Way, "fourier (frequencies, decorrelated colours), or pixel as in the paper, which is slower and noisier."
]
MostPasses: TypeAlias = Annotated[int, Range(1, 100_000), "maximum number of forward and backward passes per picture."]
NormWeight: TypeAlias = Annotated[float | int, Range(0, 1), "weight of sum |x|^6, which keeps values from the extremes."]
TvWeight: TypeAlias = Annotated[
    float | int,
    Range(0, 1),
    "weight of the total variation; None: 3e-6 for fourier, 1e-8 for pixel. More is smoother, and less alike.",
]


@rendering(cite="mahendran2015inversion", takes="images", question="found")
def invert(
    model: VisionModel,
    images: Tensor,
    *,
    layer: str | Sequence[str] | None = None,
    method: InversionMethod = "fourier",
    n_steps: MostPasses = 100,
    norm_weight: NormWeight = 1e-7,
    tv_weight: TvWeight | None = None,
    seed: Seed = 0,
    frames: Sequence[int] | int = (),
) -> Rendering:
    """The pictures that give the same activation as the photographs at a layer: what it kept, and what it forgot.

    x* = argmin over x of |phi(x) - phi(x0)|^2 / |phi(x0)|^2 + norm_weight sum |x|^6 + tv_weight sum (dx^2 + dy^2), from
    noise; phi the layer, x the pixels from -1 (black) to 1 (white), dx and dy their differences to the next ones. Sums are over
    pixels and colours. The search is L-BFGS, which adapts its steps to the curvature, so that one setting converges at every
    depth; the paper has gradient descent with momentum and a rate that is set for each layer. x is not the network's normalised
    input: that reaches 2.6 for white, where |x|^6 would outweigh the features of a bright photograph. Pixels are sigmoids
    here, so none leaves [0, 1].

    pixels (n, 3, h, w) in [0, 1] at the images' own size, one for each image and layer: all layers of the first image, then
    of the next. values (s, n) the relative feature loss of the best picture so far. numbers (n,): feature_loss, that loss of
    the finished picture, 0 for the same activation, 1 for none; ssim and psnr (dB), its likeness to the photograph as the
    model saw it. A layer that is zero everywhere has nothing to invert: its picture has the status `silent`.

    Args:
        layer: a name, a glob, or several; None: an early, a middle and a deep layer.
        frames: steps whose pictures are kept (the best so far), or how many, evenly; 0 is the noise at the beginning.

    Example:
        >>> tp.invert(model, images, layer="blocks.1", n_steps=5).numbers["ssim"]
    """
    names = depths(model) if layer is None else all_layers(model, layer)
    kept = kept_steps(frames, n_steps)
    return _inversions(_Inversion(model, method, n_steps, norm_weight, tv_weight, seed, kept), images, names)


def _inversions(task: _Inversion, images: Tensor, layers: Sequence[str]) -> Rendering:
    jobs = [(image, layer) for image in images.split(1) for layer in layers]
    made = [_inverted(task, *job, done=i, total=len(jobs)) for i, job in enumerate(jobs)]
    pixels = torch.cat([one.found.pixels for one in made])
    photographs = task.model.preprocessing.pixels(images).to(pixels.dtype).repeat_interleave(len(layers), 0)
    steps = noted_steps(task.n_steps)
    losses = torch.stack([torch.stack([one.loss(step) for one in made]) for step in (*steps, task.n_steps)])
    return Rendering(
        pixels=pixels,
        scores=torch.stack([one.found.values[-1] if one.found.terms else one.loss(1) for one in made]),
        objectives=tuple(f"activation of {one.layer}" for one in made),
        status=tuple(one.found.status for one in made),
        steps=steps,
        values=losses[:-1],
        frames=torch.stack([torch.cat([one.frame(step) for one in made]) for step in task.frames]) if task.frames else None,
        frame_steps=task.frames,
        numbers={"feature_loss": losses[-1], "ssim": ssim(pixels, photographs), "psnr": psnr(pixels, photographs)},
    )


@rendering(cite="mahendran2015inversion", takes="images", question="found")
def information_by_depth(
    model: VisionModel,
    images: Tensor,
    *,
    layers: str | Sequence[str] | None = None,
    method: InversionMethod = "fourier",
    n_steps: MostPasses = 100,
    norm_weight: NormWeight = 1e-7,
    tv_weight: TvWeight | None = None,
    seed: Seed = 0,
) -> InformationByDepth:
    """The part of a photograph that is left at each depth: inversions at several layers, compared with the photograph.

    As `invert`, at seven depths. numbers (n,), one per picture: feature_loss, ssim and psnr as there, and feature_distance in
    [0, 4], the distance between picture and photograph as the network sees them: the mean over five layers and all places of
    |u - v|^2, u and v the activations divided by their length (LPIPS without its learned weights, zhang2018lpips; 0: the same).
    The bottleneck is where SSIM drops most from one depth to the next, starting from the photograph itself (1). What the
    search does not recover counts as lost, so these numbers are lower bounds of what is left.

    Args:
        layers: names or globs, from early to deep; None: seven depths of the network.

    Example:
        >>> tp.information_by_depth(model, images, layers=["blocks.0", "blocks.3"], n_steps=4).bottlenecks
    """
    names = depths(model, 7) if layers is None else all_layers(model, layers)
    made = _inversions(_Inversion(model, method, n_steps, norm_weight, tv_weight, seed), images, names)
    bottlenecks = [_bottleneck(ssims, names) for ssims in made.numbers["ssim"].view(len(images), len(names))]
    for row, ((before, after), high, low) in enumerate(bottlenecks):
        note(f"image {row + 1}: most is lost between {before} and {after} (SSIM {high:.2f} to {low:.2f})")
    return InformationByDepth(
        **{**vars(made), "numbers": {**made.numbers, "feature_distance": _distances(model, images, made.pixels)}},
        photographs=model.denormalize(images),
        layers=tuple(names),
        bottlenecks=tuple(ends for ends, _, _ in bottlenecks),
    )


def _distances(model: VisionModel, images: Tensor, pixels: Tensor) -> Tensor:
    """Returns distances (n,) between each picture and its photograph in the network's activations at five depths."""
    layers, each = depths(model, 5), len(pixels) // len(images)
    ready = model.preprocessing.normalize(pixels).to(model.dtype).split(1)
    pairs = zip(images.repeat_interleave(each, 0).split(1), ready, strict=True)
    return torch.cat([feature_distance(model, image, picture, layers) for image, picture in pairs]).to(pixels.dtype)


def _bottleneck(ssims: Tensor, layers: Sequence[str]) -> tuple[tuple[str, str], float, float]:
    """Returns the names of two neighbouring depths between which SSIM drops most, and SSIM at each."""
    known = torch.cat([ssims.new_ones(1), ssims])
    place = int((known[:-1] - known[1:]).argmax())
    named = ("photograph", *layers)
    return (named[place], named[place + 1]), float(known[place]), float(known[place + 1])


@dataclass(frozen=True, eq=False)
class _Inversion:
    """The settings of an inversion, the same for every picture."""

    model: VisionModel
    method: Way
    n_steps: int
    norm_weight: float | int
    tv_weight: float | int | None
    seed: int
    frames: tuple[int, ...] = ()

    def terms(self, layer: str, given: Tensor, image: Tensor) -> tuple[O.Objective, O.Objective]:
        """Returns two objectives to maximise: minus the relative feature loss, and minus the penalties summed over pixels."""
        tv_weight = WAYS[self.method][1] if self.tv_weight is None else self.tv_weight
        penalty = self.norm_weight * CENTRED_NORM + 4 * tv_weight * O.total_variation(beta=2)  # (2 p - 2 q)^2
        return O.feature_match(layer, given), -3 * image.shape[-2] * image.shape[-1] * penalty


CENTRED_NORM = O.Objective("power_norm(2 p - 1)", (), lambda seen: mean((2 * seen.pixels - 1) ** 6))
"""The mean of |x|^6, x from -1 (black) to 1 (white)."""


@dataclass(frozen=True, eq=False)
class _Inverted:
    """One inverted layer: the result of the search, and {step: best picture so far} of the requested steps."""

    layer: str
    found: Best
    frames: dict[int, Tensor]

    def loss(self, step: int) -> Tensor:
        """Returns the relative feature loss of the best picture after a step; after the end of the search, the last one."""
        terms = self.found.terms
        return -terms[min(step, len(terms)) - 1][0] if terms else self.found.pixels.new_tensor(float("nan"))

    def frame(self, step: int) -> Tensor:
        return self.frames.get(step, self.found.pixels)


def _inverted(task: _Inversion, image: Tensor, layer: str, done: int, total: int) -> _Inverted:
    way, model = WAYS[task.method][0], task.model
    dtype = torch.promote_types(model.dtype, torch.float32)
    start = Start(size=size_of(image), seed=task.seed, dtype=dtype, device=model.device)
    frames = {0: canvas_for(model, way, start).pixels().detach()}

    def watch(step: int, found: Best) -> None:
        if step in task.frames:
            frames[step] = found.pixels
        report(
            done * task.n_steps + step, total * task.n_steps, "steps", -float(found.terms[-1][0]), lambda: found.pixels, (done,)
        )

    given = activations(model, model.laid_out(image), layer)
    if given.any() and given.isfinite().all():
        found = converge(model, task.terms(layer, given, image), way, start, n_steps=task.n_steps, watch=watch)
    else:
        found = Best(frames[0], status="silent" if given.isfinite().all() else "non_finite")
    return _Inverted(layer, found, frames)
