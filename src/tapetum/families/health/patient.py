"""What checks share: the model that is examined, its pictures, and facts about both that are found out once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from tapetum.engines.batching import batch_size
from tapetum.engines.scores import Answer, answer, forward_table
from tapetum.families.health.recording import Recording, record
from tapetum.models.opaque import unseen
from tapetum.models.vision_model import VisionModel
from tapetum.types import Finding, LayerError

FEW = 2
"""Images of the pass with gradients: enough that no single picture decides, few enough for its memory."""

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(eq=False)
class Patient:
    """A model under examination.

    model    with its preprocessing
    images   (n, c, h, w) model-ready; None where no pictures were given
    """

    model: VisionModel
    images: Tensor | None = None

    @property
    def n(self) -> int:
        """Number of pictures."""
        return 0 if self.images is None else len(self.images)

    @cached_property
    def some(self) -> Tensor:
        """The first pictures, or noise where none were given, for passes with gradients."""
        return self.model.noise(FEW) if self.images is None else self.images[:FEW]

    @property
    def on(self) -> str:
        """What `some` are, in words: "on 2 pictures", "on noise"."""
        if self.images is None:
            return "on noise"
        return f"on {counted(len(self.some), 'picture')}"

    @cached_property
    def recording(self) -> Recording:
        """One pass with gradients on `some`; a `LayerError` for a network that has none."""
        refusal = self.without_gradients
        if refusal:
            raise LayerError(refusal)
        return record(self.model, self.some)

    @property
    def without_gradients(self) -> str:
        """Says why there are no gradients through the network as a whole; "" where there are."""
        return (unseen(self.model.module, self.model.name, "gradients") or "").partition(": use ")[0]

    @cached_property
    def answer(self) -> Answer:
        """What the network answers with; a `TargetError` where that cannot be read."""
        return answer(self.model, self.some)

    @cached_property
    def probabilities(self) -> Tensor | None:
        """Probabilities (n, classes) on all pictures, or on `some`; None where the answer has none."""
        if self.answer.kind != "table" or self.answer.read.measured:
            return None
        images = self.some if self.images is None else self.images
        return torch.cat([self.probabilities_on(part) for part in images.split(batch_size(self.model, "auto", n=len(images)))])

    def probabilities_on(self, images: Tensor) -> Tensor:
        """Returns the probabilities (n, classes) of other model-ready images."""
        table, reading = forward_table(self.model, images)
        return reading.on("probability", table)

    @cached_property
    def norms(self) -> dict[str, nn.Module]:
        """Batch norms with running statistics of the private copy, {name: module}."""
        named = self.model.replica.named_modules()
        return {name: part for name, part in named if part._buffers.get("running_var") is not None}

    @cached_property
    def untrained(self) -> bool:
        """Whether the network is known to be untrained: by its random weights, or since no batch norm has seen a batch."""
        fresh = [bool((one._buffers["running_var"] == 1).all() & (one._buffers["running_mean"] == 0).all())
                 for one in self.norms.values()]  # fmt: skip
        return self.model.weights == "random" or bool(fresh and all(fresh))


def in_line(error: Exception) -> str:
    """Returns the message of an error in one line of at most 200 letters."""
    return " ".join(str(error).split())[:200]


def counted(n: int, word: str) -> str:
    """Returns "1 layer", "3 layers"."""
    return f"{n} {word}{'s' * (n != 1)}"


def listed(names: Iterable[str], most: int = 3) -> str:
    """Returns the first names with commas between, and how many more there are."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more


Body = Callable[[Patient], Iterator[Finding]]
B = TypeVar("B", bound=Body)


@dataclass(frozen=True)
class Check:
    """One check: a function that yields findings.

    pictures   the least number of pictures that it needs
    quick      whether it is cheap enough for the head of a report
    passes     whether it runs the network, so that it is left out where that fails
    """

    body: Body
    pictures: int
    quick: bool
    passes: bool

    @property
    def name(self) -> str:
        return self.body.__name__

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")


CHECKS: list[Check] = []
"""All checks: every module of this folder adds its own when it is imported, as `tapetum.families` imports all of them."""


def check(*, pictures: int = 0, quick: bool = False, passes: bool = True) -> Callable[[B], B]:
    """Adds a function of a patient that yields findings to the checks of `doctor`; its name is that of the check."""

    def add(body: B) -> B:
        CHECKS.append(Check(body, pictures, quick, passes))
        return body

    return add
