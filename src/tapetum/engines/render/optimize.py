"""`optimize`: the loop that makes pictures from an objective, a parametrization, transforms and an optimizer.

for step in optimize(model, objective, size=(128, 128)):
    step.values, step.pixels()                       # to show the progress
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor

from tapetum.engines.probe import edit
from tapetum.engines.render.objectives.base import OUTPUT, Objective, Seen
from tapetum.engines.render.optimizers import Mover
from tapetum.engines.render.parametrizations import Canvas, Parametrization, Start, fourier, grayscale
from tapetum.engines.render.redirect import redirected_relus
from tapetum.engines.render.rows import RowWise
from tapetum.engines.render.transforms import STANDARD, Transform, transformed
from tapetum.engines.signed import capture_signed
from tapetum.models.operations.nested import tensors
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError, MethodError, Precision


@dataclass(frozen=True, eq=False)
class Recipe:
    """Settings of a rendering except the model, the objective and the start.

    optimizer  None: the default of the parametrization
    views      number of randomly transformed versions of a picture per step; its value is the mean over them
    redirect   number of first steps in which blocked ReLUs pass gradients
    """

    parametrization: Parametrization = field(default_factory=fourier)
    transforms: Sequence[Transform] = STANDARD
    optimizer: Mover | None = None
    n_steps: int = 256
    views: int = 1
    redirect: int = 16
    precision: Precision = "exact"


@dataclass(frozen=True, eq=False)
class Step:
    """State after one step of optimisation.

    number     number of the step, from 1
    values     (n,) objective of each transformed picture, before the step changed it
    canvas     the pictures after the step
    answered   (n,) whether any nonzero gradient has reached each picture so far
    broken     (n,) number of steps so far whose gradient was not finite, so that the picture did not change
    """

    number: int
    values: Tensor
    canvas: Canvas
    answered: Tensor
    broken: Tensor

    def pixels(self) -> Tensor:
        """Returns the pictures (n, 3, h, w) in [0, 1], or (n, 4, h, w) with alpha."""
        with torch.no_grad():
            return self.canvas.pixels().detach()


def optimize(
    model: VisionModel, objective: Objective, recipe: Recipe, start: Start, *, before: Callable[[Tensor], object] | None = None
) -> Iterator[Step]:
    """Yields the steps of gradient ascent on the objective, which has one value per picture.

    Runs the network only up to the deepest layer that the objective reads. Each step draws the transforms once for all
    pictures, from `start.seed`, so a batch of B pictures equals B single runs. A picture whose gradient is not finite does not
    change at that step. `before` is called with the initial pictures.
    """
    with torch.enable_grad():
        canvas = canvas_for(model, recipe.parametrization, start)
    if before is not None:
        before(canvas.pixels().detach())
    mover = (recipe.optimizer or recipe.parametrization.mover).begin(canvas.parameters)
    generator = torch.Generator().manual_seed(start.seed)
    answered = torch.zeros(len(start), dtype=torch.bool, device=start.device)
    broken = torch.zeros(len(start), dtype=torch.long, device=start.device)
    for number in range(1, recipe.n_steps + 1):
        with torch.inference_mode(False), torch.enable_grad():
            values = _values(model, objective, recipe, canvas, generator, number - 1)
            gradients = torch.autograd.grad(values.sum(), canvas.parameters, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(canvas.parameters, gradients, strict=True):
                ascent = torch.zeros_like(parameter) if gradient is None else gradient
                bad = ~ascent.isfinite().flatten(1).all(1) if ascent.ndim else ~ascent.isfinite()[None]
                if len(bad) == len(broken):
                    answered |= ascent.flatten(1).any(1) & ~bad
                    broken += bad
                else:
                    answered |= bool(ascent.any())
                parameter.grad = -torch.where(bad.view(-1, *[1] * (ascent.ndim - 1)), 0, ascent) if bad.any() else -ascent
            mover.step()
        yield Step(number, values.detach(), canvas, answered, broken)


def canvas_for(model: VisionModel, parametrization: Parametrization, start: Start) -> Canvas:
    """Creates the canvas of the initial pictures with as many channels as the network takes; one channel is shown as grey."""
    channels = model.preprocessing.channels
    if channels == 1:
        return grayscale(parametrization)(start)
    return parametrization(start if channels == 3 else replace(start, channels=channels))


def _values(
    model: VisionModel, objective: Objective, recipe: Recipe, canvas: Canvas, generator: Generator, step: int
) -> Tensor:
    """Returns the objective (n,) of each picture, averaged over `recipe.views` random transforms."""
    pixels = canvas.pixels()
    total: Any = 0
    for _ in range(recipe.views):
        changed = transformed(pixels, recipe.transforms, generator)
        opaque = over_background(changed, generator, model.preprocessing.channels)
        seen = look(model, objective, opaque, recipe, step)
        total = total + objective(replace(seen, pixels=pixels, step=step, n_steps=recipe.n_steps))
    return total / recipe.views


def look(model: VisionModel, objective: Objective, pixels: Tensor, recipe: Recipe | None = None, step: int = 1_000_000) -> Seen:
    """Runs the network on pictures (n, 3, h, w) in [0, 1], up to the deepest layer that the objective needs.

    In the first `recipe.redirect` steps ReLUs are redirected; if its operations do not allow that, they are not redirected.
    """
    images = model.laid_out(model.preprocessing.normalize(pixels).to(model.dtype))
    fast = recipe is not None and recipe.precision == "fast"
    if recipe is not None and step < recipe.redirect:
        with suppress(MethodError, LayerError), redirected_relus():
            return _seen(model, objective, pixels, images, fast)
    return _seen(model, objective, pixels, images, fast)


def acts_of(model: VisionModel, pixels: Tensor, layers: Sequence[str], recipe: Recipe | None = None) -> Mapping[str, Tensor]:
    """Returns {layer: activation}, computed exactly as in `optimize`, so that a picture's distance to itself is 0."""
    nothing = Objective("", tuple(dict.fromkeys(layers)), lambda seen: seen.pixels.new_zeros(len(seen)))
    with torch.no_grad():
        return look(model, nothing, pixels, recipe).acts


def _seen(model: VisionModel, objective: Objective, pixels: Tensor, images: Tensor, fast: bool) -> Seen:
    acts: dict[str, Tensor] = {}
    layers = [layer for layer in objective.layers if layer != OUTPUT]
    whole = OUTPUT in objective.layers
    output = None
    with ExitStack() as blocks:
        if fast:
            blocks.enter_context(torch.autocast(images.device.type, torch.bfloat16))
        elif images.device.type == "cpu":  # a GPU needs large batches, and its sums are not reproducible anyway
            blocks.enter_context(RowWise(len(images)))
        signed = objective.signed_layers
        before = blocks.enter_context(capture_signed(model, signed, stop=False)) if signed else {}
        blocks.enter_context(edit(model, {layer: partial(_keep_copy, acts, layer) for layer in layers}, stop=not whole))
        if layers or whole:
            output = model(images)
    seen = Seen(model, pixels, images, acts, output, before)
    if images.requires_grad:
        _refuse_without_gradients(seen, layers, whole)
    return seen


def _refuse_without_gradients(seen: Seen, layers: Sequence[str], whole: bool) -> None:
    """Raises MethodError if a layer or the answer has no gradient towards the picture, which would then remain noise."""
    still = [layer for layer in layers if layer in seen.acts and not seen.acts[layer].requires_grad]
    if whole and not any(one.requires_grad for one in tensors(seen.output)):
        still.append("the answer")
    if still:
        raise MethodError(
            f"{', '.join(still)} of {seen.model.name} has no gradient towards the picture: it is computed under torch.no_grad "
            "or inference_mode, detached, or ignores the image, so no picture can be made for it"
        )


def _keep_copy(acts: dict[str, Tensor], layer: str, activation: Tensor) -> None:
    acts[layer] = activation.clone()  # later operations may overwrite the original


def measure(model: VisionModel, objective: Objective, pixels: Tensor) -> Tensor:
    """Returns the objective (n,) of pictures, computed without transforms."""
    with torch.inference_mode(False), torch.enable_grad():  # as in a step: `RowWise` takes tensors without gradient for weights
        moving = pixels.detach().clone().requires_grad_()
        opaque = over_background(moving, None, model.preprocessing.channels)
        return objective(replace(look(model, objective, opaque), pixels=moving)).detach()


def measure_each(model: VisionModel, objectives: Sequence[Objective], pixels: Tensor) -> Tensor:
    """Returns the values (n,) of n objectives, each for its own picture, in one pass per picture."""
    return torch.cat([measure(model, one, picture) for one, picture in zip(objectives, pixels.split(1), strict=True)])


def over_background(pixels: Tensor, generator: Generator | None, channels: int = 3) -> Tensor:
    """Composites transparent pictures (n, 4, h, w) over a background: random noise, or grey if there is no generator."""
    if pixels.shape[1] in (3, channels):
        return pixels
    colors, alpha = pixels[:, :3], pixels[:, 3:]
    ground = torch.full((1, 3, 1, 1), 0.5, device=pixels.device, dtype=pixels.dtype)
    if generator is not None:
        shape = (1, 3, *pixels.shape[-2:])
        ground = torch.rand(shape, generator=generator, dtype=torch.float64).to(pixels.device, pixels.dtype)
    mixed = [colors[:, c : c + 1] * alpha + ground[:, c : c + 1] * (1 - alpha) for c in range(3)]
    return torch.cat(mixed, 1)  # channel by channel: the gradient of alpha adds up in the same order in every batch
