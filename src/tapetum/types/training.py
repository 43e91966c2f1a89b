"""Results of training: the history, epoch by epoch, and the trained network's predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tapetum.types.checks import listed
from tapetum.types.results import PARTS, Result, axes, saved
from tapetum.types.text import table


@saved
@dataclass(frozen=True)
class Epoch:
    """One pass over the training pictures, followed by a validation pass over the held-out ones.

    train_loss, train_accuracy             means over the pass, in training mode, while the weights were changing
    validation_loss, validation_accuracy   after the pass, in eval mode
    learning_rate                          of the pass's last step
    seconds of both passes
    """

    number: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class History(Result):
    """History of a network's training.

    arch       name of the architecture
    classes    in the order of the logits
    epochs     one per pass
    kept       the number of the epoch whose weights the model has: the last, or with `patience` the best
    pictures   number of training pictures, and of held-out ones
    snapshots  (epochs + 1, out, in, h, w) the first convolution's weights, at the start and after each epoch; or empty
    layer      the name of that convolution
    skipped    (name, reason) of each picture that could not be read
    model      the trained `VisionModel`; a history that was saved and opened again has only the model's name
    """

    arch: str
    classes: tuple[str, ...]
    epochs: tuple[Epoch, ...] = field(metadata=PARTS)
    kept: int
    pictures: tuple[int, int]
    snapshots: Tensor = field(default_factory=lambda: torch.zeros(0, 0, 0, 0, 0))
    layer: str | None = None
    skipped: tuple[tuple[str, str], ...] = ()
    model: Any = None
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Accuracy on the held-out pictures in [0, 1], with the weights that were kept."""
        return next(epoch.validation_accuracy for epoch in self.epochs if epoch.number == self.kept)

    def __str__(self) -> str:
        head = ("epoch", "train loss", "accuracy", "validation loss", "accuracy", "learning rate", "seconds")
        kept = f"kept: epoch {self.kept}, {self.accuracy:.1%} of {self.pictures[1]} held-out pictures right"
        return f"{table(head, map(_cells, self.epochs), right=True)}\n{kept}"


def _cells(epoch: Epoch) -> tuple[str, ...]:
    train = f"{epoch.train_loss:.4f}", f"{epoch.train_accuracy:.1%}"
    validation = f"{epoch.validation_loss:.4f}", f"{epoch.validation_accuracy:.1%}"
    return str(epoch.number), *train, *validation, f"{epoch.learning_rate:.2g}", f"{epoch.seconds:.1f}"


@dataclass(frozen=True, eq=False)
class PredictionCheck(Result):
    """Predictions for pictures whose class is known.

    classes      names, in the order of the confusion matrix
    confusion    (k, k) number of pictures of the row's class that were predicted as the column's
    pixels       (n, 3, h, w) in [0, 1], the pictures that are shown, as the network saw them
    ids          names of the shown pictures
    truth        (n,) true classes of the shown pictures
    predicted    (n,) predicted classes of the shown pictures
    probability  (n,) probability of the predicted class, in [0, 1]
    shows        which pictures are shown: "any", "right" or "wrong" ones
    """

    model: str
    classes: tuple[str, ...]
    confusion: Tensor
    pixels: Tensor = field(metadata=axes("n _ _ _"))
    ids: tuple[str, ...] = field(metadata=axes("n"))
    truth: Tensor = field(metadata=axes("n"))
    predicted: Tensor = field(metadata=axes("n"))
    probability: Tensor = field(metadata=axes("n"))
    shows: str = "any"
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> float:
        """Share of all pictures that were predicted correctly, in [0, 1]."""
        return int(self.confusion.diagonal().sum()) / int(self.confusion.sum())

    def __str__(self) -> str:
        right, total = int(self.confusion.diagonal().sum()), int(self.confusion.sum())
        rows = list(zip(self.classes, listed(self.confusion.diagonal()), listed(self.confusion.sum(1)), strict=True))
        width = max(len(name) for name, _, _ in rows)
        lines = [f"{name.ljust(width)}  {hits} of {of} right" + _mistaken(self, name) for name, hits, of in rows if of]
        return "\n".join([f"{self.model}: {right} of {total} pictures right ({self.accuracy:.1%})", *lines])


def _mistaken(check: PredictionCheck, name: str) -> str:
    """Returns the class with which a class is most often confused, in words."""
    place = check.classes.index(name)
    others = check.confusion[place].clone()
    others[place] = 0
    most = int(others.argmax())
    return f", {int(others[most])} called {check.classes[most]}" if int(others[most]) else ""
