"""The problem that an attack solves: pixels of images, the class to leave or to reach, the loss, and what is reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tapetum.engines.batching import batch_size, in_chunks
from tapetum.engines.gradients import derivative
from tapetum.families.attacks.classes import Classes, classes_of, indices_of
from tapetum.models.opaque import unseen
from tapetum.models.vision_model import VisionModel
from tapetum.notes import note
from tapetum.progress import stage
from tapetum.types import Attack, Batch, MethodError, TargetError, TargetLike
from tapetum.types.attacks import LEVELS, Norm, budget_in_words

ROUNDING = 1e-3
"""How far outside [0, 1] pixels may lie without a note, after a model's normalisation and back."""


class Seen(NamedTuple):
    """What the network says of m pictures: log p (m, k), the loss (m,), whether the aim is reached (m,)."""

    logs: Tensor
    loss: Tensor
    reached: Tensor


@dataclass(frozen=True, eq=False)
class Problem:
    """An attack on n images: away from the class `own`, or towards the class `aim` of each.

    clean  (n, c, h, w) pixels in [0, 1], in the network's own channels, in float32 or float64
    """

    model: VisionModel
    classes: Classes
    clean: Tensor
    own: Tensor
    aim: Tensor | None
    batch: Batch

    def ready(self, pixels: Tensor) -> Tensor:
        """Converts pixels to what the network takes; the gradient goes through."""
        return self.model.preprocessing.normalize(pixels).to(self.model.dtype)

    def see(self, pixels: Tensor, rows: Sequence[int]) -> Seen:
        """Asks the network about pixels (m, c, h, w), changed from the images `rows`."""
        logs = self.classes.log_probability(self.model(self.ready(pixels), rows))
        wanted = self.own if self.aim is None else self.aim
        column = wanted[list(rows)]
        value = logs.gather(1, column[:, None])[:, 0]
        same = logs.argmax(1) == column
        return Seen(logs, -value, ~same) if self.aim is None else Seen(logs, value, same)

    def climb(self, pixels: Tensor, rows: Sequence[int]) -> tuple[Seen, Tensor]:
        """Returns what the network says, and d loss / d pixels (m, c, h, w)."""
        with torch.enable_grad():
            leaf = pixels.detach().requires_grad_()
            seen = self.see(leaf, rows)
            slope = followed(self.model, seen.loss, leaf)
        return Seen(*(one.detach() for one in seen)), slope

    def solve(self, attack: Callable[[Sequence[int]], Tensor], what: str) -> Tensor:
        """Returns the pixels (n, c, h, w) of an attack that works on some rows at a time."""
        with stage(what):
            return torch.cat(list(in_chunks(range(len(self.clean)), self._at_once, attack, "images")))

    def judge(self, pixels: Tensor) -> Seen:
        """Returns what the network says of pixels of all images, without gradients."""
        parts = [self.see(pixels[list(rows)], rows) for rows in _chunks(len(pixels), self._at_once)]
        return Seen(*(torch.cat(some) for some in zip(*parts, strict=True)))

    @property
    def _at_once(self) -> int:
        """Images per pass: the same where pixels are made and where they are judged, since it decides the last bits."""
        return batch_size(self.model, self.batch, gradients=True, n=len(self.clean))


def _chunks(n: int, size: int) -> list[range]:
    return [range(start, min(start + size, n)) for start in range(0, n, size)]


def followed(model: VisionModel, values: Tensor, leaf: Tensor, *, again: bool = False) -> Tensor:
    """Returns d values.sum() / d leaf; refuses networks without gradients, and a gradient of NaN or infinity."""
    if refusal := model.remember("shows no gradients", lambda: unseen(model.module, model.name, "gradients")):
        raise MethodError(f"{refusal.partition(':')[0]}, and an attack follows them: noise_attack needs none")
    if not values.requires_grad:
        raise TargetError(
            f"{model.name} has no gradient from the picture to the answer (it detaches it, or works without one), and an "
            "attack follows it: noise_attack needs none"
        )
    slope = derivative(values, leaf, again=again)
    if not bool(slope.isfinite().all()):
        raise TargetError(f"{model.name} has a gradient of NaN or infinity, so that an attack cannot follow it")
    return slope


def posed(model: VisionModel, images: Tensor, target: TargetLike, truth: TargetLike = None, batch: Batch = "auto") -> Problem:
    """Poses the problem of an attack: reads the classes, converts images to pixels, finds the class of each to leave."""
    classes = classes_of(model, images)
    aim, told = (indices_of(model, images, one) for one in (target, truth))
    if aim is not None and told is not None:
        raise MethodError("an attack leads to a target, or away from the truth: give one of both")
    clean = pixels_of(model, images)
    problem = Problem(model, classes, clean, torch.zeros(len(images), dtype=torch.long, device=images.device), None, batch)
    answers = problem.judge(clean).logs.argmax(1)
    if aim is not None and bool((aim == answers).any()):
        row = int((aim == answers).nonzero()[0])
        note(f"image {row} is {classes.name(int(aim[row]))} already: an attack that leads there has nothing to do")
    return Problem(model, classes, clean, answers if told is None else told, aim, batch)


def pixels_of(model: VisionModel, images: Tensor) -> Tensor:
    """Converts model-ready images to pixels (n, c, h, w) in [0, 1] in the network's own channels."""
    how = model.preprocessing
    wide = images.float() if images.dtype.itemsize < 4 else images
    mean, std = (torch.tensor(one, dtype=wide.dtype, device=wide.device).view(1, -1, 1, 1) for one in (how.mean, how.std))
    pixels = wide * std + mean
    if float(pixels.min()) < -ROUNDING or float(pixels.max()) > 1 + ROUNDING:
        low, high = float(pixels.min()), float(pixels.max())
        note(
            f"the images have pixels from {low:.3g} to {high:.3g}: an attack works on pictures, so they were clipped to [0, 1]"
        )
    return pixels.clamp(0, 1)


def in_8_bits(pixels: Tensor) -> Tensor:
    """Returns the pixels rounded to the grey levels of an 8-bit file."""
    return (pixels * LEVELS).round() / LEVELS


def finished(problem: Problem, method: str, norm: Norm, made: Sequence[tuple[float | None, Tensor]]) -> Attack:
    """Returns the result of an attack from its pixels (n, c, h, w) for each budget, from small to large."""
    seen = [problem.judge(pixels) for _, pixels in made]
    pixels, last = made[-1][1], seen[-1]
    clean = problem.judge(problem.clean)
    names, answers = problem.classes.names, (clean.logs.argmax(1), last.logs.argmax(1))
    rounded = problem.judge(in_8_bits(pixels))
    confidence = torch.stack([one.logs.exp().amax(1) for one in (clean, last)], 1)
    return Attack(
        pixels=pixels,
        clean=problem.clean,
        images=problem.ready(pixels),
        success=last.reached,
        labels=names(answers[1]),
        before=names(answers[0]),
        left=names(problem.own),
        aim=(None,) * len(pixels) if problem.aim is None else names(problem.aim),
        method=method,
        eps=tuple(eps for eps, _ in made),
        norm=norm,
        reached=torch.stack([one.reached for one in seen], 1),
        loss=torch.stack([one.loss for one in seen], 1),
        clean_loss=clean.loss,
        confidence=confidence,
        in_8_bits=last.reached & rounded.reached,
        model=problem.model.name,
    )


def at_each(
    problem: Problem, method: str, norm: Norm, budgets: Sequence[float], attack: Callable[[float, Sequence[int]], Tensor]
) -> Attack:
    """Runs an attack with every budget, each as if it were the only one."""
    made = [
        (eps, problem.solve(lambda rows, eps=eps: attack(eps, rows), f"{method}, {budget_in_words(eps, norm)}"))
        for eps in budgets
    ]
    return finished(problem, method, norm, made)
