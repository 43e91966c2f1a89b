"""DeepFool: a short change that crosses the nearest border of the class, as if the network were linear."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from tapetum.border.methods import inspection
from tapetum.border.sentences import Budgets, Truth
from tapetum.families.attacks.budgets import Ball, length, numbers_of
from tapetum.families.attacks.problem import Problem, finished, followed, posed
from tapetum.models.vision_model import VisionModel
from tapetum.types import Attack, Batch, Range, TargetLike


@inspection(cite="moosavi2016deepfool", takes="images", question="trust")
def deep_fool(
    model: VisionModel,
    images: Tensor,
    target: TargetLike = None,
    *,
    eps: Budgets | None = None,
    n_steps: Annotated[int, Range(1, 10_000)] = 50,
    overshoot: Annotated[float, Range(0, 10)] = 0.02,
    candidates: Annotated[int, Range(1, 100_000)] = 10,
    truth: Truth = None,
    batch: Batch = "auto",
) -> Attack:
    """A short change that makes another class win: how near the nearest border is (`length`), found without a budget.

    At each step, with f_k the log probability (or logit) of class k, w_k = grad f_k - grad f_own and d_k = f_own - f_k, the
    nearest border of a linear network is that of the class with the least |d_k| / |w_k|; the picture moves across it, x += (1 +
    overshoot) |d_k| / |w_k|^2 * w_k, and is clipped to [0, 1]. It stops where the answer changes. With a target only its border
    counts. The length is an upper bound of the distance, not the distance.

    Args:
        eps: largest length, or several, for a curve: longer changes are shortened to it. None: no limit.
        n_steps: most steps.
        overshoot: share by which a step goes beyond the border.
        candidates: classes tried, the most probable ones; the paper tries all classes of small data sets and 10 of ImageNet.

    Example:
        >>> print(tp.deep_fool(model, images, n_steps=3).length)
    """
    problem = posed(model, images, target, truth, batch)
    free = problem.solve(lambda rows: _Crossing(problem, rows, candidates).across(n_steps, overshoot), "deep_fool")
    if eps is None:
        return finished(problem, "deep_fool", "2", [(None, free)])
    shortened = [(one, Ball(problem.clean, one, "2").inside(free)) for one in numbers_of(eps, "2")]
    return finished(problem, "deep_fool", "2", shortened)


class _Crossing:
    """The way of some images across their nearest borders."""

    def __init__(self, problem: Problem, rows: Sequence[int], candidates: int) -> None:
        self.problem, self.rows = problem, rows
        self.clean, self.own = problem.clean[list(rows)], problem.own[list(rows)]
        if problem.aim is not None:
            self.others = problem.aim[list(rows)][:, None]
            return
        logs = problem.see(self.clean, rows).logs.scatter(1, self.own[:, None], -torch.inf)
        self.others = logs.topk(min(candidates, logs.shape[1] - 1), 1).indices

    def across(self, n_steps: int, overshoot: float) -> Tensor:
        """Returns the pixels (m, c, h, w) at which the answer has changed, or those after the last step."""
        here = self.clean
        for _ in range(n_steps):
            reached, step = self._step(here)
            if bool(reached.all()):
                break
            moved = (here + (1 + overshoot) * step).clamp(0, 1)
            here = torch.where(reached.view(-1, 1, 1, 1), here, moved)
        return here

    def _step(self, here: Tensor) -> tuple[Tensor, Tensor]:
        """Returns which images have reached their aim (m,), and the step of each to its nearest border (m, c, h, w)."""
        with torch.enable_grad():
            leaf = here.detach().requires_grad_()
            seen = self.problem.see(leaf, self.rows)
            ahead = seen.logs.gather(1, self.others) - seen.logs.gather(1, self.own[:, None])
            m, best = len(here), torch.full((len(here),), torch.inf, dtype=here.dtype, device=here.device)
            step = torch.zeros_like(here)
            for j in range(ahead.shape[1]):
                slope = followed(self.problem.model, ahead[:, j], leaf, again=j + 1 < ahead.shape[1])
                size, far = length(slope), ahead[:, j].detach().abs().to(here.dtype)
                distance = torch.where(size > 0, far / size, torch.inf)
                nearer, best = distance < best, torch.minimum(distance, best)
                there = (far / size.clamp(min=torch.finfo(here.dtype).tiny) ** 2).view(m, 1, 1, 1) * slope
                step = torch.where(nearer.view(m, 1, 1, 1), there, step)
        return seen.reached.detach(), step
