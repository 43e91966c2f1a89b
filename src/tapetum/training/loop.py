"""Runs an epoch: trains on the training pictures, then tests. Its random numbers depend on (seed, epoch, batch) alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tapetum.models.untrained import torch_seed
from tapetum.models.zoo.heads import logits_in
from tapetum.progress import report, stage
from tapetum.training.data import seed_of, seeded
from tapetum.training.pictures import Examples, batch_orders
from tapetum.types import Epoch, TrainingError

Schedule = Literal["constant", "cosine"]
"""How the learning rate changes: it stays constant, or falls to zero along half a cosine."""


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a training that are fixed before the first epoch."""

    epochs: int
    batch: int
    learning_rate: float
    schedule: Schedule
    seed: int
    patience: int | None


@dataclass
class TrainingState:
    """State of a training after an epoch, as a checkpoint stores it.

    snapshots  weights of the first convolution at the start and after every epoch; empty if it is not trained
    best       {name: tensor} of the network after the epoch with the lowest validation loss; empty without patience
    kept       number of the epoch whose weights are the result so far
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    epochs: list[Epoch] = field(default_factory=list[Epoch])
    snapshots: list[Tensor] = field(default_factory=list[Tensor])
    best: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    kept: int = 0

    def finished(self, plan: TrainingPlan) -> bool:
        """Checks whether all epochs are done, or the validation loss has not fallen for `patience` epochs."""
        tired = plan.patience is not None and len(self.epochs) - self.kept >= plan.patience
        return len(self.epochs) >= plan.epochs or (tired and bool(self.epochs))


@dataclass(frozen=True)
class Work:
    """Resources of an epoch, besides its state and settings: both parts of the data, and how to run the network.

    forward        function (module, inputs) -> output that calls the network
    training_mode  function that puts the network in training mode, except its frozen parts
    """

    train: Examples
    validation: Examples
    forward: Callable[[nn.Module, Tensor], object]
    training_mode: Callable[[], None]

    @property
    def size(self) -> int:
        """Number of pictures per epoch, for training and validation."""
        return len(self.train.labels) + len(self.validation.labels)


def run_epoch(work: Work, state: TrainingState, plan: TrainingPlan) -> Epoch:
    """Trains on all training pictures once, then tests on the held-out pictures; leaves the network in eval mode."""
    number, start = len(state.epochs) + 1, time.perf_counter()
    with stage(f"epoch {number} of {plan.epochs}"):
        done = (number - 1) * work.size
        work.training_mode()
        try:
            loss, accuracy = _trained(work, state, plan, number, done)
        finally:
            state.network.eval()
        held_loss, held_accuracy = _validated(work, state.network, plan, done + len(work.train.labels))
    rate = float(state.optimizer.param_groups[0]["lr"])
    return Epoch(number, loss, accuracy, held_loss, held_accuracy, rate, time.perf_counter() - start)


def learning_rate(plan: TrainingPlan, way: float) -> float:
    """Returns the learning rate after the share `way` of the training, in [0, 1)."""
    return plan.learning_rate if plan.schedule == "constant" else plan.learning_rate * (1 + math.cos(math.pi * way)) / 2


def _trained(work: Work, state: TrainingState, plan: TrainingPlan, number: int, done: int) -> tuple[float, float]:
    orders = batch_orders(len(work.train.labels), plan.batch, seeded(plan.seed, "order", number))
    sums = Sums()
    for place, (inputs, labels) in enumerate(work.train.batches(orders, number)):
        rate = learning_rate(plan, (number - 1 + place / len(orders)) / plan.epochs)
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        with torch_seed(seed_of(plan.seed, "step", number, place), inputs.device), torch.enable_grad():
            labels = labels.to(inputs.device)
            table = _table(work.forward(state.network, inputs))
            loss = F.cross_entropy(table, labels)
            state.optimizer.zero_grad()
            loss.backward()
        sums.add(loss.detach(), table.detach(), labels)
        _check(float(loss.detach()), number, place, plan)
        state.optimizer.step()
        report(done + sums.n, plan.epochs * work.size, "examples", float(loss.detach()))
    return sums.means()


def _validated(work: Work, network: nn.Module, plan: TrainingPlan, done: int) -> tuple[float, float]:
    sums = Sums()
    for inputs, labels in work.validation.batches(batch_orders(len(work.validation.labels), plan.batch), None):
        with torch.no_grad():
            table = _table(work.forward(network, inputs))
            labels = labels.to(inputs.device)
            sums.add(F.cross_entropy(table, labels), table, labels)
        report(done + sums.n, plan.epochs * work.size, "examples")
    return sums.means()


@dataclass
class Sums:
    """Running sums of the loss and of correct predictions over pictures."""

    loss: float = 0.0
    right: int = 0
    n: int = 0

    def add(self, loss: Tensor, table: Tensor, labels: Tensor) -> None:
        self.loss += float(loss) * len(labels)
        self.right += int((table.argmax(1) == labels).sum())
        self.n += len(labels)

    def means(self) -> tuple[float, float]:
        if self.n == 0:
            raise TrainingError("none of the pictures could be read")
        return self.loss / self.n, self.right / self.n


def _table(output: object) -> Tensor:
    table = logits_in(output)
    assert table is not None, "checked before the first epoch"
    return table


def _check(loss: float, number: int, place: int, plan: TrainingPlan) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss became {loss:g} in batch {place + 1} of epoch {number}: the steps are too long;"
            f" a learning_rate below {plan.learning_rate:g} would help"
        )
