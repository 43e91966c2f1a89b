"""Mean and standard error of a stream of tensors, and whether it may end."""

from __future__ import annotations

import torch
from torch import Tensor

CHECK = 16
"""Every so many terms a stream asks whether it has settled: of its own count alone, so batches do not matter."""


class RunningMean:
    """Welford's update: exact mean and variance without keeping the terms."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._spread: Tensor | None = None

    def add(self, term: Tensor) -> None:
        """One more term; all terms have one shape."""
        self.count += 1
        if self._mean is None or self._spread is None:
            self._mean, self._spread = term.clone(), torch.zeros_like(term)
            return
        before = term - self._mean
        self._mean += before / self.count
        self._spread += before * (term - self._mean)

    @property
    def value(self) -> Tensor:
        """The mean of the terms so far."""
        assert self._mean is not None, "no terms were added"
        return self._mean

    @property
    def stderr(self) -> Tensor:
        """The standard error of that mean: sqrt(variance / count), infinite after one term."""
        assert self._spread is not None, "no terms were added"
        if self.count < 2:
            return torch.full_like(self._spread, torch.inf)
        return (self._spread / (self.count - 1) / self.count).sqrt()

    def settled(self, tolerance: float | None) -> bool:
        """Whether the standard error, averaged over all values, is at most `tolerance` of the largest magnitude.

        True at multiples of CHECK terms only; None never settles.
        """
        if tolerance is None or self.count == 0 or self.count % CHECK:
            return False
        return bool(self.stderr.mean() <= tolerance * self.value.abs().max())


def jackknife(leave_one_out: Tensor) -> Tensor:
    """The standard error of an estimate from its values when one of the n equal parts of its sample is left out, (n, ...).

    For estimates that are no means: ratios of means, a softmax of means. Infinite for one part.
    """
    n = len(leave_one_out)
    if n < 2:
        return torch.full_like(leave_one_out[0], torch.inf)
    return ((leave_one_out - leave_one_out.mean(0)).square().sum(0) * (n - 1) / n).sqrt()
