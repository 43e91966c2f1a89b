"""Feature accentuation: a photograph moved towards a unit, held near itself where the network sees it early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from torch import Generator, Tensor

from tapetum.border.rendering import rendering
from tapetum.engines.render import objectives as O
from tapetum.engines.render import transforms as T
from tapetum.engines.render.objectives.penalties import blurred
from tapetum.engines.render.optimize import Recipe, canvas_for, look, measure
from tapetum.engines.render.optimizers import adam
from tapetum.engines.render.parametrizations import Start, fourier, maco, pixel
from tapetum.engines.render.render import kept_steps
from tapetum.engines.scores import forward_logits
from tapetum.families.dreams.pictures import begun_with, one_layer
from tapetum.models.depths import depths
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import report
from tapetum.types import Made, MethodError, Precision, Range, Rendering

DEPTHS, DEPTH = 5, 1
"""Without a layer, the picture is held where edges and textures are seen: the second of five depths."""

FADED, CLEAR = 0.2, 0.8
"""Quantiles of the accumulated gradient: what lies below the first is transparent, what lies above the second is opaque."""


RARE = 0.1
"""Pixels that were shown less than that share of the most, at the corners, are not taken for important by a few views."""


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
    size: int | str | tuple[int, int] | None = None,
    longest_px: Annotated[int, Range(32, 8192)] = 384,
    seed: int = 0,
    precision: Precision = "exact",
    frames: Sequence[int] | int = (),
) -> Rendering:
    """What would have to be more in a photograph for a unit to answer more, and where.

    Steps of Adam on the picture x, written in frequencies and begun with the photograph p: x rises in
    value(x) = mean over views v of [objective(v(x)) - hold b |F(v(x)) - F(v(p))| / |F(v(p))|], F the activation of an early
    layer. Views are random squares of the picture with a little noise at the network's own size, the same ones of x and p.
    b = |grad objective|_1 / |grad distance|_1 after the first free step, so that hold 1 pulls back as strongly as the
    objective pulls.

    values (s, n) are the mean objective of the views at every step, scores (n,) that of the finished picture cut and resized
    as the model wants it, `numbers["before"]` that of the photograph. pixels (n, 3, h, w) in [0, 1]; with transparency
    (n, 4, h, w), alpha from the accumulated |grad objective| at the pixels, divided by how often views showed them, smoothed,
    0 below its 20 % and 1 above its 80 % quantile. hamblin2024feature has 16 views of 5 % to 99 % of the picture, 100 steps,
    the distance unscaled, and measures b once, too; here 4 views from 50 %, 40 steps, for time.

    Args:
        units: what to drive: "layer:channel", a class, one of `tp.objectives`; one for all pictures or one each; None: the
            class that the model predicts for each.
        hold: how strongly the picture is held; 0 lets it go, large numbers keep it.
        layer: where it is held; None: the second of five depths, noted.
        parametrization: fourier, phase (how strong each frequency is stays as it was), or pixel.
        n_steps: steps of Adam.
        step_size: its rate; None: .05, and .15 for phases, which hold the picture themselves.
        n_views: views a step.
        smallest_view: the smallest side of a view, as a share of the picture's shorter side.
        noise_sd: standard deviation of the noise that is added to views, of [0, 1].
        transparency: fade out what the objective did not ask for.
        size: side in px, or (height, width), "96x160"; None: the photograph's own.
        longest_px: the longer side is made no larger, without `size`.
        seed: of views and noise.
        precision: exact, or fast (bfloat16 in the network).
        frames: steps whose pictures are kept, or how many, evenly; 0 is the photograph.

    Example:
        >>> tp.accentuate(model, images, units="lynx", n_steps=2, n_views=1).scores
    """
    objectives = _objectives(model, pictures, units)
    held = one_layer(model, layer) if layer is not None else _early(model)
    begun = begun_with(model, pictures, size, longest_px, whole=False)
    views = (T.random_view(model.preprocessing.size, smallest_view, 0.99), T.noise(noise_sd))
    rate = step_size if step_size is not None else 0.15 if parametrization == "phase" else 0.05
    recipe = Recipe(PARAMETRIZATIONS[parametrization](start=begun), views, adam(rate), n_steps, n_views, 0, precision)
    kept = kept_steps(frames, n_steps)
    accents = []
    for row, objective in enumerate(objectives):
        one = _Accent(model, objective, held, begun[row : row + 1], hold, transparency)
        one.made(recipe, _start(begun, row, seed), kept, (row * n_steps, len(begun) * n_steps))
        accents.append(one)
    return _joined(accents, kept, n_steps)


PARAMETRIZATIONS = {"fourier": fourier, "phase": maco, "pixel": pixel}
"""Those that can begin with a picture; phase keeps how strong each frequency is, and moves where."""


def _start(begun: Tensor, row: int, seed: int) -> Start:
    size = int(begun.shape[-2]), int(begun.shape[-1])
    return Start(size, (0,), (row,), seed, begun.dtype, begun.device)


def _early(model: VisionModel) -> str:
    usual = depths(model, DEPTHS)
    layer = usual[round(DEPTH / (DEPTHS - 1) * (len(usual) - 1))]
    note(f"held in layer {layer}, which was chosen")
    return layer


def _objectives(model: VisionModel, pictures: Sequence[Tensor], units: Any) -> list[O.Objective]:
    """One a picture: what was given, or the class that the model predicts."""
    if units is None:
        answers = forward_logits(model, torch.cat([model.preprocess(one) for one in pictures]))
        units = answers.argmax(1).tolist()
    found = O.as_objectives(model, units)
    if len(found) not in (1, len(pictures)):
        raise MethodError(f"{len(found)} units were given for {len(pictures)} pictures: one for all, or one each")
    return found if len(found) == len(pictures) else found * len(pictures)


@dataclass
class _Accent:
    """One picture on its way, and what has moved it."""

    model: VisionModel
    objective: O.Objective
    held: str
    picture: Tensor
    hold: float
    transparency: bool
    values: list[Tensor] = field(default_factory=list[Tensor])
    frames: list[Tensor] = field(default_factory=list[Tensor])
    broken: int = 0
    balance: float | None = None

    def made(self, recipe: Recipe, start: Start, kept: Sequence[int], progress: tuple[int, int]) -> None:
        """All steps."""
        with torch.enable_grad():
            canvas = canvas_for(self.model, recipe.parametrization, start)
        assert recipe.optimizer is not None
        mover = recipe.optimizer.begin(canvas.parameters)
        generator = Generator().manual_seed(start.seed)
        self.moved, self.shown_to = torch.zeros_like(self.picture), torch.zeros_like(self.picture)
        self.keep(canvas.pixels().detach(), 0 in kept)
        for number in range(1, recipe.n_steps + 1):
            with torch.inference_mode(False), torch.enable_grad():
                pixels = canvas.pixels()
                ascent = self.ascent(pixels, recipe, generator)
                gradients = torch.autograd.grad(pixels, canvas.parameters, ascent)
            for parameter, gradient in zip(canvas.parameters, gradients, strict=True):
                parameter.grad = -gradient
            mover.step()
            self.keep(canvas.pixels().detach(), number in kept)
            report(progress[0] + number, progress[1], "steps", float(self.values[-1]))

    def keep(self, pixels: Tensor, as_frame: bool) -> None:
        self.pixels = pixels
        if as_frame:
            self.frames.append(self.shown())

    def ascent(self, pixels: Tensor, recipe: Recipe, generator: Generator) -> Tensor:
        """The gradient of objective - hold x balance x distance at the pixels."""
        both = torch.cat([pixels, self.picture])  # the same views of what it is and of what it was
        views = [T.transformed(both, recipe.transforms, generator) for _ in range(recipe.views)]
        now, before = (torch.cat([view[i : i + 1] for view in views]) for i in (0, 1))
        seen = look(self.model, self.watched, now, recipe)
        value = self.objective(replace(seen, pixels=now)).mean()
        (up,) = torch.autograd.grad(value, pixels, retain_graph=True, materialize_grads=True)
        self.values.append(value.detach()[None])
        ascent = up - self.back(seen, before, pixels, up, recipe) if self.hold and len(self.values) > 1 else up
        if not ascent.isfinite().all():
            self.broken += 1
            return torch.zeros_like(up)
        self.moved += up.abs()
        if self.transparency:
            self.shown_to += torch.autograd.grad([view[:1].sum() for view in views], pixels)[0]
        return ascent

    def back(self, seen: O.Seen, before: Tensor, pixels: Tensor, up: Tensor, recipe: Recipe) -> Tensor:
        """The gradient of the distance from the photograph in the held layer, weighed."""
        with torch.no_grad():
            was = look(self.model, self.anchor, before, recipe)[self.held]
        pairs = zip(seen[self.held], was, strict=True)
        distance = torch.stack([(a - b).norm() / b.norm().clamp(min=torch.finfo(b.dtype).tiny) for a, b in pairs]).mean()
        (away,) = torch.autograd.grad(distance, pixels, retain_graph=True)
        if self.balance is None and away.any():
            self.balance = float(up.abs().sum() / away.abs().sum())
        return self.hold * (self.balance or 0.0) * away

    @property
    def anchor(self) -> O.Objective:
        return O.Objective("", (self.held,), lambda seen: seen.pixels.new_zeros(len(seen)))

    @property
    def watched(self) -> O.Objective:
        return replace(self.objective, needs=(*self.objective.needs, self.held))

    def shown(self) -> Tensor:
        """The picture, with what the objective never touched faded out if that was asked for."""
        return torch.cat([self.pixels, clearness(self.moved, self.shown_to)], 1) if self.transparency else self.pixels

    def status(self) -> Made:
        return "non_finite" if self.broken > len(self.values) // 2 else "ok" if self.moved.any() else "silent"


def clearness(moved: Tensor, shown_to: Tensor) -> Tensor:
    """Accumulated gradients and how often each pixel was shown, both (n, 3, h, w), to alpha (n, 1, h, w) in [0, 1]."""
    often = shown_to.sum(1, keepdim=True)
    often = often.clamp(min=RARE * float(often.max())).clamp(min=torch.finfo(often.dtype).tiny)
    flat = blurred(moved.sum(1, keepdim=True) / often, max(1.0, min(moved.shape[-2:]) / 32))
    low, high = (flat.flatten(1).quantile(q, 1).view(-1, 1, 1, 1) for q in (FADED, CLEAR))
    return ((flat - low) / torch.where(high > low, high - low, 1)).clamp(0, 1)


def _joined(accents: Sequence[_Accent], kept: Sequence[int], n_steps: int) -> Rendering:
    def told(one: _Accent, pixels: Tensor) -> Tensor:
        return measure(one.model, one.objective, one.model.preprocessing.crop(pixels))

    frames = [torch.cat(some) for some in zip(*(one.frames for one in accents), strict=True)]
    return Rendering(
        pixels=torch.cat([one.shown() for one in accents]),
        scores=torch.cat([told(one, one.pixels) for one in accents]),
        objectives=tuple(str(one.objective) for one in accents),
        status=tuple(one.status() for one in accents),
        steps=tuple(range(1, n_steps + 1)),
        values=torch.stack([torch.cat(one.values) for one in accents], 1),
        frames=torch.stack(frames) if frames else None,
        frame_steps=tuple(kept) if frames else (),
        numbers={"before": torch.cat([told(one, one.picture) for one in accents])},
    )
