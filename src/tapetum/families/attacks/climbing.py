"""Attacks that climb the loss: one step along the gradient's sign, many small steps, and random changes to compare with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import BudgetNorm, Budgets, Seed, Truth
from tapetum.families.attacks.budgets import Ball, number_of, numbers_of
from tapetum.families.attacks.problem import Problem, Seen, at_each, posed
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.types import Attack, Batch, Range, TargetLike

QUARTER = 0.25
"""Size of a step of PGD as a share of its budget: 2/255 of 8/255 in the paper's experiments."""


@inspection(cite="goodfellow2015explaining", takes="images", question="trust")
def fgsm(
    model: VisionModel,
    images: Tensor,
    target: TargetLike = None,
    *,
    eps: Budgets = "4/255",
    norm: BudgetNorm = "inf",
    truth: Truth = None,
    batch: Batch = "auto",
) -> Attack:
    """One step against the answer: the pictures that a change along the gradient's sign makes of these, and the answers.

    x' = clip(x + eps * sign(g), 0, 1) with g = d loss / d x in pixels, and the loss -log p(class that is left), or log p(class
    that is aimed at) with a target. With norm="2" the step is eps * g / |g| (fast gradient method).

    Example:
        >>> print(tp.fgsm(model, images, eps="8/255"))
    """
    problem = posed(model, images, target, truth, batch)

    def attack(eps: float, rows: Sequence[int]) -> Tensor:
        ball = Ball(problem.clean[list(rows)], eps, norm)
        _, slope = problem.climb(ball.clean, rows)
        _note_flat(problem, slope)
        return _one_step(ball, slope)

    return at_each(problem, "fgsm", norm, numbers_of(eps, norm), attack)


@inspection(cite="madry2018towards", takes="images", question="trust")
def pgd(
    model: VisionModel,
    images: Tensor,
    target: TargetLike = None,
    *,
    eps: Budgets = "4/255",
    norm: BudgetNorm = "inf",
    n_steps: Annotated[int, Range(1, 10_000)] = 10,
    step: float | str | None = None,
    random_start: bool = True,
    keep: Literal["best", "last"] = "best",
    seed: Seed = 0,
    truth: Truth = None,
    batch: Batch = "auto",
) -> Attack:
    """Many small steps against the answer, each brought back into the budget: the strongest of the plain attacks.

    x_k+1 = project(x_k + step * sign(g_k)), with g and the loss of `fgsm`; the projection clips each value to eps around the
    clean one (norm="2": shortens the change to length eps), then to [0, 1]. The paper keeps the last picture. Here the best is
    kept: of the picture that `fgsm` makes and all on the way with no smaller loss, one that reached the aim if there is one,
    and of these the one with the largest loss. So neither the loss nor the success is ever below that of `fgsm`.

    Args:
        n_steps: steps, each with a pass and a gradient.
        step: size of a step in units of eps, a number or a text such as "1/255"; None: a quarter of eps.
        random_start: begin at random pixels of the budget, the same noise for every image; False: at the picture.
        keep: best, or last as in the paper.

    Example:
        >>> attack = tp.pgd(model, images, eps=["1/255", "4/255"], n_steps=3)
        >>> print(attack.success, attack.labels, attack.rate)
    """
    problem = posed(model, images, target, truth, batch)
    size = None if step is None else number_of(step, "step")

    def attack(eps: float, rows: Sequence[int]) -> Tensor:
        ball = Ball(problem.clean[list(rows)], eps, norm)
        start = ball.start(seed) if random_start else ball.clean
        walk = _Walk(problem, ball, rows, eps * QUARTER if size is None else size)
        return walk.last(start, n_steps) if keep == "last" else walk.best(start, n_steps)

    return at_each(problem, "pgd", norm, numbers_of(eps, norm), attack)


@inspection(takes="images", question="trust")
def noise_attack(
    model: VisionModel,
    images: Tensor,
    target: TargetLike = None,
    *,
    eps: Budgets = "4/255",
    norm: BudgetNorm = "inf",
    seed: Seed = 0,
    truth: Truth = None,
    batch: Batch = "auto",
) -> Attack:
    """Random changes of the same size as an attack's: what the answer does when nobody aims, to compare attacks with.

    x' = clip(x + eps * s, 0, 1), with a random sign s = ±1 for every value; with norm="2" eps * d, with a random direction d of
    length 1. Every image gets the same noise of a seed.

    Example:
        >>> print(tp.noise_attack(model, images, eps="8/255").rate)
    """
    problem = posed(model, images, target, truth, batch)

    def attack(eps: float, rows: Sequence[int]) -> Tensor:
        return Ball(problem.clean[list(rows)], eps, norm).edge(seed)

    return at_each(problem, "noise_attack", norm, numbers_of(eps, norm), attack)


def _one_step(ball: Ball, slope: Tensor) -> Tensor:
    return ball.inside(ball.clean + ball.eps * ball.direction(slope))


class _Walk:
    """The steps of PGD from a start, on some rows of a problem."""

    def __init__(self, problem: Problem, ball: Ball, rows: Sequence[int], step: float) -> None:
        self.problem, self.ball, self.rows, self.step = problem, ball, rows, step

    def _next(self, here: Tensor, slope: Tensor) -> Tensor:
        return self.ball.inside(here + self.step * self.ball.direction(slope))

    def last(self, here: Tensor, n_steps: int) -> Tensor:
        """Returns the pixels after the last step, as in the paper."""
        for _ in range(n_steps):
            _, slope = self.problem.climb(here, self.rows)
            here = self._next(here, slope)
        return here

    def best(self, here: Tensor, n_steps: int) -> Tensor:
        """Returns the best pixels on the way, among them those of one full step from the clean picture."""
        _, slope = self.problem.climb(self.ball.clean, self.rows)
        _note_flat(self.problem, slope)
        pixels = _one_step(self.ball, slope)
        best = first = self.problem.see(pixels, self.rows)
        for k in range(n_steps + 1):
            if k < n_steps:
                seen, slope = self.problem.climb(here, self.rows)
            else:
                seen = self.problem.see(here, self.rows)
            better = _is_better(seen, best) & (seen.loss >= first.loss)
            pixels = torch.where(better.view(-1, 1, 1, 1), here, pixels)
            best = Seen(best.logs, seen.loss.where(better, best.loss), seen.reached.where(better, best.reached))
            here = self._next(here, slope)
        return pixels


def _is_better(seen: Seen, best: Seen) -> Tensor:
    return (seen.reached & ~best.reached) | ((seen.reached == best.reached) & (seen.loss > best.loss))


def _note_flat(problem: Problem, slope: Tensor) -> None:
    """Says where an attack is blind: the loss has no slope, as where a probability is rounded to 1."""
    flat = int((slope.flatten(1).abs().amax(1) == 0).sum())
    if flat:
        note(
            f"{flat} image{'s' * (flat > 1)} had a gradient of exactly 0, where no attack can climb: that an answer stayed "
            f"says nothing then; wrap {problem.model.name} so that it gives its logits, in place of probabilities"
        )
