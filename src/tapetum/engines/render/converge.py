"""`converge`: maximizes an objective over one picture by L-BFGS. For inversions, which have a definite answer.

Unlike ascent with random transforms, a smooth function of the picture has a maximum, and its curvature gives the step
length: no learning rate has to be chosen, whatever the scale of the layer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tapetum.engines.render.objectives.base import Objective
from tapetum.engines.render.optimize import canvas_for, look
from tapetum.engines.render.parametrizations import Canvas, Parametrization, Start
from tapetum.models.vision_model import VisionModel
from tapetum.types import Made


@dataclass(eq=False)
class Best:
    """The best picture so far (1, 3, h, w), and the terms of its objective (t,) after each step.

    A step is one pass forward and back. The first evaluates the initial picture.
    """

    pixels: Tensor
    terms: list[Tensor] = field(default_factory=list[Tensor])
    status: Made = "silent"

    @property
    def values(self) -> Tensor:
        """Objective (s,) of the best picture so far at each step; it never falls."""
        return torch.stack(self.terms).sum(1)


def converge(
    model: VisionModel,
    terms: Sequence[Objective],
    parametrization: Parametrization,
    start: Start,
    *,
    n_steps: int,
    watch: Callable[[int, Best], None] | None = None,
) -> Best:
    """Maximizes the sum of the terms by L-BFGS (nocedal1980lbfgs) with strong Wolfe line searches; keeps the best picture.

    start    for one picture: the curvature of a batch would mix its pictures
    watch    called after each step with its number from 1

    It ends after `n_steps`, at a zero gradient, if a line search finds nothing better, or at a value that is not finite;
    the best picture before is kept.
    """
    with torch.enable_grad():
        canvas = canvas_for(model, parametrization, start)
    search = _Search(model, tuple(terms), canvas, n_steps, watch)
    optimizer = torch.optim.LBFGS(
        list(canvas.parameters), max_iter=n_steps, max_eval=n_steps, history_size=20, line_search_fn="strong_wolfe",
        tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip
    with contextlib.suppress(_Enough):
        optimizer.step(search.evaluate)
    return search.found


class _Enough(Exception):
    """Ends a search from inside: L-BFGS makes as many passes as its line search takes."""


class _Search:
    """The closure of L-BFGS: the loss of the current canvas, with its gradient. It keeps the best."""

    def __init__(
        self,
        model: VisionModel,
        terms: Sequence[Objective],
        canvas: Canvas,
        n_steps: int,
        watch: Callable[[int, Best], None] | None,
    ) -> None:
        self.model, self.terms, self.canvas, self.n_steps, self.watch = model, terms, canvas, n_steps, watch
        self.whole = sum(terms[1:], terms[0])
        self.best = -float("inf")
        with torch.no_grad():
            self.found = Best(canvas.pixels().detach())

    def evaluate(self) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            pixels = self.canvas.pixels()
            seen = look(self.model, self.whole, pixels)
            values = torch.cat([term(seen) for term in self.terms])
            value = values.sum()
            gradients = torch.autograd.grad(-value, self.canvas.parameters, allow_unused=True)
        for parameter, gradient in zip(self.canvas.parameters, gradients, strict=True):
            parameter.grad = torch.zeros_like(parameter) if gradient is None else gradient
        self._note(values.detach(), pixels.detach(), all(bool(one.isfinite().all()) for one in gradients if one is not None))
        return -value.detach()

    def _note(self, values: Tensor, pixels: Tensor, finite: bool) -> None:
        value = float(values.sum())
        if not finite or value != value:
            if not self.found.terms:
                self.found.status = "non_finite"
            raise _Enough
        if any(bool(parameter.grad.any()) for parameter in self.canvas.parameters if parameter.grad is not None):
            self.found.status = "ok"
        better = value > self.best
        if better:
            self.best, self.found.pixels = value, pixels
        self.found.terms.append(values if better else self.found.terms[-1])
        if self.watch is not None:
            self.watch(len(self.found.terms), self.found)
        if len(self.found.terms) == self.n_steps:
            raise _Enough
