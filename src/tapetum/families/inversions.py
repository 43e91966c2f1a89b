"""Inversion: what is left of a photograph in a layer, as a picture that gives the same activation there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.engines.likeness import psnr, ssim
from tapetum.engines.probe import capture
from tapetum.engines.render import objectives as O
from tapetum.engines.render.converge import Found, converge
from tapetum.engines.render.parametrizations import Parametrization, Start, fourier, pixel
from tapetum.engines.render.render import NOTED, kept_steps
from tapetum.families.inspections import depths
from tapetum.families.keywords import named_layers
from tapetum.families.rendering import rendering
from tapetum.models.vision_model import VisionModel
from tapetum.progress import report
from tapetum.types import Range, Rendering

Way = Literal["fourier", "pixel"]

WAYS: dict[Way, tuple[Parametrization, float]] = {
    "fourier": (fourier(sd=0.1), 1e-5),
    "pixel": (pixel(sd=0.1, decorrelated=False), 1e-8),
}
"""How pictures are written, and the weight of their total variation. On plain grey deep units may give no gradient, so the
noise at the beginning is stronger than where pictures are made from nothing."""


@rendering(cite="mahendran2015inversion", takes="images", question="found")
def invert(
    model: VisionModel,
    images: Tensor,
    *,
    layer: str | Sequence[str] | None = None,
    method: Way = "fourier",
    n_steps: Annotated[int, Range(1, 100_000)] = 100,
    norm_weight: Annotated[float | int, Range(0, 1)] = 1e-7,
    tv_weight: Annotated[float | int, Range(0, 1)] | None = None,
    seed: int = 0,
    frames: Sequence[int] | int = (),
) -> Rendering:
    """The pictures that give the same activation as the photographs at a layer: what it kept, and what it forgot.

    x* = argmin over x of |phi(x) - phi(x0)|^2 / |phi(x0)|^2 + norm_weight sum |x|^6 + tv_weight sum (dx^2 + dy^2), from
    noise; phi the layer, x the model-ready picture (as the network gets it), dx and dy its differences to the next pixels. By
    L-BFGS, which takes its steps from the curvature, so that one setting converges at every depth; the paper has gradient
    descent with momentum and a rate that is set for each layer. Pixels are sigmoids here, so none leaves [0, 1].

    pixels (n, 3, h, w) in [0, 1] at the images' own size, one for each image and layer: all layers of the first image, then
    of the next. values (s, n) the relative feature loss of the best picture so far. numbers (n,): feature_loss, that loss of
    the finished picture, 0 for the same activation, 1 for none; ssim and psnr (dB), how like the photograph it is, as the
    model saw that. A layer that is zero everywhere has nothing to invert, and its picture the status `silent`.

    Args:
        layer: a name, a glob, or several; None: an early, a middle and a deep layer.
        method: fourier (frequencies, decorrelated colours), or pixel, the paper's, which is slower and noisier.
        n_steps: passes forward and back, at most.
        norm_weight: of sum |x|^6, which keeps values from the extremes.
        tv_weight: of the total variation; None: 1e-5 for fourier, the paper's 1e-8 for pixel. More is smoother, less alike.
        seed: of the noise at the beginning.
        frames: steps whose pictures are kept (the best so far), or how many, evenly; 0 is the noise at the beginning.

    Example:
        >>> tp.invert(model, images, layer="blocks.1", n_steps=5).numbers["ssim"]
    """
    names = depths(model) if layer is None else model.find_layers([name for name in named_layers(layer) if name])
    parametrization, usual = WAYS[method]
    task = _Task(
        model,
        parametrization,
        n_steps,
        norm_weight,
        usual if tv_weight is None else tv_weight,
        seed,
        kept_steps(frames, n_steps),
        len(images) * len(names),
    )
    jobs = [(image, name) for image in images.split(1) for name in names]
    return _rendering(task, images, names, [_inverted(task, *job, done=i) for i, job in enumerate(jobs)])


@dataclass(frozen=True, eq=False)
class _Task:
    """What was asked for, the same for every picture."""

    model: VisionModel
    parametrization: Parametrization
    n_steps: int
    norm_weight: float | int
    tv_weight: float | int
    seed: int
    frames: tuple[int, ...]
    total: int

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that are noted."""
        return tuple(sorted({round(1 + i * (self.n_steps - 1) / (NOTED - 1)) for i in range(NOTED)}))

    def start(self, image: Tensor) -> Start:
        model = self.model
        dtype = model.dtype if model.dtype == torch.float64 else torch.float32
        return Start(size=(image.shape[-2], image.shape[-1]), seed=self.seed, dtype=dtype, device=model.device)

    def terms(self, layer: str, given: Tensor, image: Tensor) -> tuple[O.Objective, O.Objective]:
        """The relative feature loss and the penalties, negative: both are raised. Penalties are sums over the values."""
        penalty = self.norm_weight * O.power_norm() + self.tv_weight * O.total_variation(beta=2, of="model_ready")
        return O.feature_match(layer, given), -image.numel() * penalty


@dataclass(frozen=True, eq=False)
class _Inverted:
    """One picture that was found, and the best ones on the way by their step."""

    layer: str
    found: Found
    frames: dict[int, Tensor]

    def loss(self, step: int) -> Tensor:
        """The relative feature loss of the best picture after a step; a search that ended stays as it was."""
        terms = self.found.terms
        return -terms[min(step, len(terms)) - 1][0] if terms else self.found.pixels.new_tensor(float("nan"))

    def frame(self, step: int) -> Tensor:
        return self.frames.get(step, self.found.pixels)


def _inverted(task: _Task, image: Tensor, layer: str, done: int) -> _Inverted:
    way, start = task.parametrization, task.start(image)
    frames = {0: way(start).pixels().detach()}

    def watch(step: int, found: Found) -> None:
        if step in task.frames:
            frames[step] = found.pixels
        report(done * task.n_steps + step, task.total * task.n_steps, "steps", -float(found.terms[-1][0]))

    given = _activation(task.model, image, layer)
    if given.any() and given.isfinite().all():
        found = converge(task.model, task.terms(layer, given, image), way, start, n_steps=task.n_steps, watch=watch)
    else:
        found = Found(frames[0], status="silent" if given.isfinite().all() else "non_finite")
    return _Inverted(layer, found, frames)


def _activation(model: VisionModel, image: Tensor, layer: str) -> Tensor:
    ready = model.laid_out(image)  # before anything watches: it may try the network once
    with torch.no_grad(), capture(model, [layer]) as acts:
        model(ready)
    return acts[layer]


def _rendering(task: _Task, images: Tensor, layers: Sequence[str], made: Sequence[_Inverted]) -> Rendering:
    pixels = torch.cat([one.found.pixels for one in made])
    photographs = task.model.denormalize(images).to(pixels.dtype).repeat_interleave(len(layers), 0)
    losses = torch.stack([torch.stack([one.loss(step) for one in made]) for step in (*task.steps, task.n_steps)])
    return Rendering(
        pixels=pixels,
        scores=torch.stack([one.found.values[-1] if one.found.terms else one.loss(1) for one in made]),
        objectives=tuple(f"activation of {one.layer}" for one in made),
        status=tuple(one.found.status for one in made),
        steps=task.steps,
        values=losses[:-1],
        frames=torch.stack([torch.cat([one.frame(step) for one in made]) for step in task.frames]) if task.frames else None,
        frame_steps=task.frames,
        numbers={"feature_loss": losses[-1], "ssim": ssim(pixels, photographs), "psnr": psnr(pixels, photographs)},
    )
