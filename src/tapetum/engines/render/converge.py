"""`converge`: maximises an objective over one picture by L-BFGS, for inversions of a representation.

Without random transforms the objective is a smooth function of the picture with a definite maximum, and its curvature gives
the step length: no learning rate has to be chosen, whatever the scale of the layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.engines.render.objectives.base import Objective
from tapetum.engines.render.optimize import canvas_for, look
from tapetum.engines.render.parametrizations import Parametrization, Start
from tapetum.models.vision_model import VisionModel
from tapetum.types import Made


class _Enough(Exception):
    """Raised to end an L-BFGS search from inside the function that it evaluates; its line searches have no limit of passes."""


@dataclass(eq=False)
class Best:
    """The best picture so far (1, 3, h, w), and after each step the values (t,) of the terms of its objective.

    A step is one forward and backward pass. The first one evaluates the initial picture.
    """

    pixels: Tensor
    terms: list[Tensor] = field(default_factory=list[Tensor])
    status: Made = "silent"

    @property
    def values(self) -> Tensor:
        """Returns the objective (s,) of the best picture after each of s steps; it never decreases."""
        return torch.stack(self.terms).sum(1)

    def note(self, terms: Tensor, pixels: Tensor, gradients: Sequence[Tensor]) -> None:
        """Records a step and keeps its picture if it is the best; ends the search at NaN or at infinite gradients."""
        if terms.sum().isnan() or not all(bool(one.isfinite().all()) for one in gradients):
            self.status = self.status if self.terms else "non_finite"
            raise _Enough
        if any(bool(one.any()) for one in gradients):
            self.status = "ok"
        better = not self.terms or bool(terms.sum() > self.terms[-1].sum())
        if better:
            self.pixels = pixels
        self.terms.append(terms if better else self.terms[-1])


def converge(
    model: VisionModel,
    terms: Sequence[Objective],
    parametrization: Parametrization,
    start: Start,
    *,
    n_steps: int,
    watch: Callable[[int, Best], None] | None = None,
) -> Best:
    """Maximises the sum of the terms by L-BFGS (nocedal1980lbfgs) with strong Wolfe line searches; keeps the best picture.

    start    start of a single picture: L-BFGS would mix the curvatures of several pictures
    watch    called after each step with the number of the step, from 1, and the best picture so far

    The search ends after `n_steps`, at a zero gradient, when a line search finds nothing better, or at a value that is not
    finite, and returns the best picture until then.
    """
    whole = sum(terms[1:], terms[0])
    with torch.enable_grad():
        canvas = canvas_for(model, parametrization, start)
    with torch.no_grad():
        found = Best(canvas.pixels().detach())

    def evaluate() -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            pixels = canvas.pixels()
            seen = look(model, whole, pixels)
            values = torch.cat([term(seen) for term in terms])
            loss = -values.sum()
            gradients = torch.autograd.grad(loss, canvas.parameters, materialize_grads=True)
        for parameter, gradient in zip(canvas.parameters, gradients, strict=True):
            parameter.grad = gradient
        found.note(values.detach(), pixels.detach(), gradients)
        if watch is not None:
            watch(len(found.terms), found)
        if len(found.terms) == n_steps:
            raise _Enough
        return loss.detach()

    optimizer = torch.optim.LBFGS(
        list(canvas.parameters), max_iter=n_steps, max_eval=n_steps, history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip
    with contextlib.suppress(_Enough):
        optimizer.step(evaluate)
    return found
