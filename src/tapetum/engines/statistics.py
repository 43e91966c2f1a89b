"""Running mean and variance of tensors with standard errors, rules for stopping, and random numbers for samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

CHECK = 16
"""Number of terms between two checks whether a statistic has settled; counted per stream, so that batches do not matter."""


class RunningMean:
    """Mean of a stream of tensors and its standard error by Welford's update, which does not keep the terms.

    Terms in half precision are summed in single precision.
    """

    def __init__(self) -> None:
        self.count = 0
        self._dtype = torch.float32
        self._mean = self._spread = torch.empty(0)

    def add(self, term: Tensor) -> None:
        """Adds a term; all terms have the same shape."""
        if self.count == 0:
            self._dtype = term.dtype
            wide = torch.promote_types(term.dtype, torch.float32)
            self._mean, self._spread = torch.zeros_like(term, dtype=wide), torch.zeros_like(term, dtype=wide)
        self.count += 1
        before = term - self._mean
        self._mean += before / self.count
        self._spread += before * (term - self._mean)

    @property
    def mean(self) -> Tensor:
        """Mean of the terms so far."""
        assert self.count, "no terms were added"
        return self._mean.to(self._dtype)

    @property
    def value(self) -> Tensor:
        """Estimate of this statistic: here the mean."""
        return self.mean

    @property
    def stderr(self) -> Tensor:
        """Standard error of the mean, sqrt(variance / count); infinite after one term."""
        assert self.count, "no terms were added"
        if self.count < 2:
            return torch.full_like(self._spread, torch.inf, dtype=self._dtype)
        return (self._spread / (self.count - 1) / self.count).sqrt().to(self._dtype)

    @property
    def estimate(self) -> tuple[Tensor, Tensor]:
        """Estimate of this statistic and its standard error."""
        return self.value, self.stderr

    def settled(self, tolerance: float | None) -> bool:
        """Checks whether the mean standard error is at most `tolerance` times the largest absolute value of the statistic.

        Can be true only after a multiple of CHECK terms, and never if the tolerance is None.
        """
        return self.count > 0 and self.count % CHECK == 0 and settled(self.value, self.stderr, tolerance)


def settled(values: Tensor, stderr: Tensor, tolerance: float | None) -> bool:
    """Checks whether the mean of `stderr` is at most `tolerance` times the largest absolute value; never if the tolerance is
    None.
    """
    return tolerance is not None and bool(stderr.mean() <= tolerance * values.abs().max())


def checks(n: int, tolerance: float | None) -> list[tuple[int, int]]:
    """Divides n samples into rounds (start, stop) of CHECK samples, after each of which sampling may end; one round without a
    tolerance.
    """
    step = max(n, 1) if tolerance is None else CHECK
    return [(start, min(start + step, n)) for start in range(0, max(n, 1), step)]


def jackknife(leave_one_out: Tensor) -> Tensor:
    """Returns the jackknife standard error of an estimate from n values (n, ...), each without one of n parts of the sample.

    For estimates that are not means, such as ratios or a softmax of means. Infinite for n = 1.
    """
    n = len(leave_one_out)
    if n < 2:
        return torch.full_like(leave_one_out[0], torch.inf)
    return ((leave_one_out - leave_one_out.mean(0)).square().sum(0) * (n - 1) / n).sqrt()


class RunningVariance(RunningMean):
    """Variance of a stream of tensors (divided by count - 1), with its standard error from the fourth central moment."""

    def __init__(self) -> None:
        super().__init__()
        self._third = self._fourth = torch.zeros(())

    def add(self, term: Tensor) -> None:
        """Adds a term by Pebay's update of the third and fourth central moments."""
        n = self.count + 1
        if n > 1:
            before = term - self._mean
            step = before / n
            fourth = before * step**3 * (n - 1) * (n * n - 3 * n + 3) + 6 * step**2 * self._spread - 4 * step * self._third
            self._third = self._third + before * step**2 * (n - 1) * (n - 2) - 3 * step * self._spread
            self._fourth = self._fourth + fourth
        super().add(term)

    @property
    def value(self) -> Tensor:
        """Unbiased variance of the terms so far; zero after one term."""
        assert self.count, "no terms were added"
        return (self._spread / max(self.count - 1, 1)).to(self._dtype)

    @property
    def stderr(self) -> Tensor:
        """Standard error of the variance v after n terms, sqrt((m4 - v^2 (n - 3) / (n - 1)) / n); infinite after one term.

        m4 is the fourth central moment.
        """
        n = self.count
        if n < 2:
            return super().stderr
        variance = self._spread / (n - 1)
        return ((self._fourth / n - variance**2 * (n - 3) / (n - 1)).clamp(min=0) / n).sqrt().to(self._dtype)


def stacked(estimates: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Stacks one estimate per image, (value, standard error), to values (n, ...) and standard errors (n, ...)."""
    values, errors = zip(*estimates, strict=True)
    return torch.stack(values), torch.stack(errors)


@dataclass(frozen=True)
class Draws:
    """Random numbers for many samples, each drawn from a seed of its own whenever it is used.

    They take no memory, do not depend on how samples are batched, and a long run begins with the samples of a short one.
    """

    seeds: tuple[int, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, generator: torch.Generator, n: int) -> Draws:
        numbers = torch.randint(2**62, (n, 2), generator=generator)
        return cls(tuple(numbers[:, 0].tolist()), tuple((numbers[:, 1].double() / 2**62).tolist()))

    def __len__(self) -> int:
        return len(self.seeds)

    def normal(self, k: int, like: Tensor) -> Tensor:
        """Draws numbers from N(0, 1) for sample k, in the shape of `like`; the same numbers in every precision."""
        generator = torch.Generator().manual_seed(self.seeds[k])
        return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like)

    def uniform(self, k: int) -> float:
        """Returns a random number in [0, 1) for sample k, independent of the normal ones."""
        return self.shares[k]
