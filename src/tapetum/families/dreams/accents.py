"""Feature accentuation: changes a photograph to excite a unit while its activation in an early layer stays similar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from torch import Generator, Tensor

from tapetum.border.methods import rendering
from tapetum.border.sentences import Frames, LongestSide, Seed, SideOfPhotograph
from tapetum.data.preprocessing import size_of
from tapetum.engines.render import objectives as O
from tapetum.engines.render import transforms as T
from tapetum.engines.render.objectives.penalties import blurred
from tapetum.engines.render.optimize import Recipe, acts_of, canvas_for, look, measure_each
from tapetum.engines.render.optimizers import adam
from tapetum.engines.render.parametrizations import Start, fourier, maco, pixel
from tapetum.engines.render.render import kept_steps
from tapetum.engines.scores import forward_logits
from tapetum.families.dreams.pictures import PictureRun, as_rendering, begun_with, named_or_usual
from tapetum.models.vision_model import VisionModel
from tapetum.progress import report
from tapetum.types import MethodError, Precision, Range, Rendering

EARLY = 1
"""Index among five depths of the layer whose activation is held (the second), which responds to edges and textures."""

FADED, CLEAR = 0.2, 0.8
"""Quantiles of the accumulated gradient: pixels below the first are transparent, pixels above the second opaque."""

RARE = 0.1
"""Smallest number of views that a pixel counts with, as a share of the most frequent pixel's; corners are rarely in a view."""

PARAMETRIZATIONS = {"fourier": fourier, "phase": maco, "pixel": pixel}
"""Parametrizations that can start from a picture; "phase" keeps the magnitude of each frequency and changes its phase."""


@rendering(cite="hamblin2024feature", takes="pictures")
def accentuate(
    model: VisionModel,
    pictures: list[Tensor],
    *,
    units: Any = None,
    hold: Annotated[float, Range(0, 1e12)] = 1.0,
    layer: str | None = None,
    parametrization: Literal["fourier", "phase", "pixel"] = "fourier",
    n_steps: Annotated[int, Range(1, 100_000)] = 40,
    step_size: Annotated[float | None, Range(0, 100)] = None,
    n_views: Annotated[int, Range(1, 256)] = 4,
    smallest_view: Annotated[float, Range(0.01, 1)] = 0.5,
    noise_sd: Annotated[float, Range(0, 1)] = 0.02,
    transparency: bool = False,
    size: SideOfPhotograph = None,
    longest_px: LongestSide = 384,
    seed: Seed = 0,
    precision: Precision = "exact",
    frames: Frames = (),
) -> Rendering:
    """The changes of a photograph that would make a unit respond more strongly, and where they are.

    Steps of Adam on the picture x, parametrized by its frequencies and started at the photograph p, raise
    value(x) = mean over views v of [objective(v(x)) - hold b |F(v(x)) - F(v(p))| / |F(v(p))|], F the activation of an early
    layer. Views are random squares of the picture at the network's own size, with a little noise, the same for x and p.
    b = |grad objective|_1 / |grad distance|_1 after the first step, which is free, so that hold 1 pulls back as strongly as
    the objective pulls.

    values (s, n) are the mean objective of the views at every step, scores (n,) that of the finished picture, cut and resized
    as the model wants it, `numbers["before"]` that of the photograph. pixels (n, 3, h, w) in [0, 1]; with transparency
    (n, 4, h, w), alpha from the accumulated |grad objective| at the pixels, divided by how often views showed them, smoothed,
    0 below its 20 % and 1 above its 80 % quantile. hamblin2024feature has 16 views of 5 % to 99 % of the picture, 100 steps and
    the unscaled distance, and also measures b once; here 4 views from 50 % and 40 steps save time.

    Args:
        units: units to drive: "layer:channel", a class, one of `tp.objectives`; one for all pictures or one each; None: the
            class that the model predicts for each.
        hold: strength of the hold: 0 frees the picture, large numbers keep it as it is.
        layer: layer in which it is held; None: the second of five depths (the choice is in `notes`).
        parametrization: fourier, phase (the strength of each frequency stays as it was), or pixel.
        n_steps: steps of Adam.
        step_size: learning rate of Adam; None: .05, and .15 for phases, which hold the picture themselves.
        n_views: views per step.
        smallest_view: the smallest side of a view, as a share of the picture's shorter side.
        noise_sd: standard deviation of the noise that is added to views, in units of [0, 1].
        transparency: fade out places that the objective does not change.

    Example:
        >>> tp.accentuate(model, images, units="lynx", n_steps=2, n_views=1).scores
    """
    objectives = _objectives(model, pictures, units)
    held = named_or_usual(model, layer, EARLY, "held in layer {}, which was chosen")
    begun = begun_with(model, pictures, size, longest_px, whole=False)
    views = (T.random_view(model.preprocessing.size, smallest_view, 0.99), T.noise(noise_sd))
    rate = step_size if step_size is not None else 0.15 if parametrization == "phase" else 0.05
    recipe = Recipe(PARAMETRIZATIONS[parametrization](start=begun), views, adam(rate), n_steps, n_views, 0, precision)
    kept = kept_steps(frames, n_steps)
    accents = [
        _Accent(model, objective, held, picture, hold, transparency, recipe, kept)
        for objective, picture in zip(objectives, begun.split(1), strict=True)
    ]
    finished = torch.cat([
        one.made(Start(size_of(begun), (0,), (row,), seed, begun.dtype, begun.device), row, len(begun))
        for row, one in enumerate(accents)
    ])  # fmt: skip
    scores, before = (measure_each(model, objectives, model.preprocessing.crop(pixels)) for pixels in (finished, begun))
    return as_rendering([one.run for one in accents], objectives, kept, scores, before)


def _objectives(model: VisionModel, pictures: Sequence[Tensor], units: Any) -> list[O.Objective]:
    """Returns one objective per picture: the given ones, or the class that the model predicts for the picture."""
    if units is None:
        answers = forward_logits(model, torch.cat([model.preprocess(one) for one in pictures]))
        units = answers.argmax(1).tolist()
    found = O.as_objectives(model, units)
    if len(found) not in (1, len(pictures)):
        raise MethodError(f"{len(found)} units were given for {len(pictures)} pictures: one for all, or one each")
    return found if len(found) == len(pictures) else found * len(pictures)


@dataclass(eq=False)
class _Accent:
    """The optimisation of one picture: raises its objective and holds the activation in layer `held` near the photograph's."""

    model: VisionModel
    objective: O.Objective
    held: str
    picture: Tensor
    hold: float
    transparency: bool
    recipe: Recipe
    kept: Sequence[int]

    def __post_init__(self) -> None:
        self.run = PictureRun(self.picture)
        self.balance: float | None = None
        self.moved, self.shown_to = torch.zeros_like(self.picture), torch.zeros_like(self.picture)

    def made(self, start: Start, row: int, rows: int) -> Tensor:
        """Makes all steps and returns the finished picture (1, 3, h, w), without alpha; it is picture `row` of `rows`."""
        done, total = row * self.recipe.n_steps, rows * self.recipe.n_steps
        with torch.enable_grad():
            canvas = canvas_for(self.model, self.recipe.parametrization, start)
        assert self.recipe.optimizer is not None
        mover = self.recipe.optimizer.begin(canvas.parameters)
        generator = Generator().manual_seed(start.seed)

        def so_far() -> Tensor:
            with torch.no_grad():
                return self.shown(canvas.pixels().detach())

        if 0 in self.kept:
            self.run.frames.append(so_far())
        for number in range(1, self.recipe.n_steps + 1):
            with torch.inference_mode(False), torch.enable_grad():
                pixels = canvas.pixels()
                gradients = torch.autograd.grad(pixels, canvas.parameters, self.ascent(pixels, generator))
            for parameter, gradient in zip(canvas.parameters, gradients, strict=True):
                parameter.grad = -gradient
            mover.step()
            if number in self.kept:
                self.run.frames.append(so_far())
            report(done + number, total, "steps", float(self.run.values[-1]), so_far, (row,))
        finished = canvas.pixels().detach()
        self.run.pixels, self.run.answered = self.shown(finished), bool(self.moved.any())
        return finished

    def ascent(self, pixels: Tensor, generator: Generator) -> Tensor:
        """Returns the gradient of objective - hold x balance x distance with respect to the pixels; zeros where not finite."""
        both = torch.cat([pixels, self.picture])  # the same views of the picture and of the photograph
        views = [T.transformed(both, self.recipe.transforms, generator) for _ in range(self.recipe.views)]
        now, before = (torch.cat([view[i : i + 1] for view in views]) for i in (0, 1))
        seen = look(self.model, replace(self.objective, needs=(*self.objective.needs, self.held)), now, self.recipe)
        value = self.objective(replace(seen, pixels=now)).mean()
        (up,) = torch.autograd.grad(value, pixels, retain_graph=True, materialize_grads=True)
        self.run.values.append(value.detach()[None])
        ascent = up - self.back(seen, before, pixels, up) if self.hold and len(self.run.values) > 1 else up
        if not ascent.isfinite().all():
            self.run.broken += 1
            return torch.zeros_like(up)
        self.moved += up.abs()
        if self.transparency:
            self.shown_to += torch.autograd.grad([view[:1].sum() for view in views], pixels)[0]
        return ascent

    def back(self, seen: O.Seen, before: Tensor, pixels: Tensor, up: Tensor) -> Tensor:
        """Returns the gradient of hold x balance x distance from the photograph, measured in the held layer."""
        was = acts_of(self.model, before, [self.held], self.recipe)[self.held]
        pairs = zip(seen[self.held], was, strict=True)
        distance = torch.stack([(a - b).norm() / b.norm().clamp(min=torch.finfo(b.dtype).tiny) for a, b in pairs]).mean()
        (away,) = torch.autograd.grad(distance, pixels, retain_graph=True)
        if self.balance is None and away.any():
            self.balance = float(up.abs().sum() / away.abs().sum())
        return self.hold * (self.balance or 0.0) * away

    def shown(self, pixels: Tensor) -> Tensor:
        """Returns the picture; with `transparency`, alpha hides places that the objective has not changed so far."""
        return torch.cat([pixels, clearness(self.moved, self.shown_to)], 1) if self.transparency else pixels


def clearness(moved: Tensor, shown_to: Tensor) -> Tensor:
    """Returns alpha (n, 1, h, w) in [0, 1] from accumulated gradients and counts of views per pixel, both (n, 3, h, w)."""
    often = shown_to.sum(1, keepdim=True)
    often = often.clamp(min=RARE * float(often.max())).clamp(min=torch.finfo(often.dtype).tiny)
    flat = blurred(moved.sum(1, keepdim=True) / often, max(1.0, min(moved.shape[-2:]) / 32))
    low, high = (flat.flatten(1).quantile(q, 1).view(-1, 1, 1, 1) for q in (FADED, CLEAR))
    return ((flat - low) / torch.where(high > low, high - low, 1)).clamp(0, 1)
