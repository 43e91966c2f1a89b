"""Statistics of a stream of tensors with their standard errors, whether it may end, and the random numbers behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

CHECK = 16
"""Terms after which a stream checks again whether it has settled: by its own count, so that batches do not matter."""


class RunningMean:
    """Welford's update: exact mean and variance without keeping the terms; half precision adds up in single."""

    def __init__(self) -> None:
        self.count = 0
        self._dtype = torch.float32
        self._mean = self._spread = torch.empty(0)

    def add(self, term: Tensor) -> None:
        """Adds a term; all terms have one shape."""
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
        """The mean of the terms so far."""
        assert self.count, "no terms were added"
        return self._mean.to(self._dtype)

    @property
    def value(self) -> Tensor:
        """Estimate of this statistic: here the mean."""
        return self.mean

    @property
    def stderr(self) -> Tensor:
        """The standard error of that mean: sqrt(variance / count), infinite after one term."""
        assert self.count, "no terms were added"
        if self.count < 2:
            return torch.full_like(self._spread, torch.inf, dtype=self._dtype)
        return (self._spread / (self.count - 1) / self.count).sqrt().to(self._dtype)

    @property
    def estimate(self) -> tuple[Tensor, Tensor]:
        """The estimate of this statistic and its standard error."""
        return self.value, self.stderr

    def settled(self, tolerance: float | None) -> bool:
        """Whether the standard error, averaged over all values, is at most `tolerance` of the largest magnitude.

        True at multiples of CHECK terms only; None never settles.
        """
        return self.count > 0 and self.count % CHECK == 0 and settled(self.value, self.stderr, tolerance)


def settled(values: Tensor, stderr: Tensor, tolerance: float | None) -> bool:
    """Whether the standard error, averaged over all values, is at most `tolerance` of the largest magnitude."""
    return tolerance is not None and bool(stderr.mean() <= tolerance * values.abs().max())


def checks(n: int, tolerance: float | None) -> list[tuple[int, int]]:
    """The rounds, from sample to sample, after which n samples may turn out to be enough: one without a tolerance."""
    step = max(n, 1) if tolerance is None else CHECK
    return [(start, min(start + step, n)) for start in range(0, max(n, 1), step)]


def jackknife(leave_one_out: Tensor) -> Tensor:
    """The standard error of an estimate from its values when one of the n equal parts of its sample is left out, (n, ...).

    For estimates that are no means: ratios of means, a softmax of means. Infinite for one part.
    """
    n = len(leave_one_out)
    if n < 2:
        return torch.full_like(leave_one_out[0], torch.inf)
    return ((leave_one_out - leave_one_out.mean(0)).square().sum(0) * (n - 1) / n).sqrt()


class RunningVariance(RunningMean):
    """The variance of the terms (divided by count - 1), and its standard error from their fourth moment."""

    def __init__(self) -> None:
        super().__init__()
        self._third = self._fourth = torch.zeros(())

    def add(self, term: Tensor) -> None:
        """Adds a term, with Pebay's update of the third and fourth central moments."""
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
        """The unbiased variance so far; zero after one term."""
        assert self.count, "no terms were added"
        return (self._spread / max(self.count - 1, 1)).to(self._dtype)

    @property
    def stderr(self) -> Tensor:
        """sqrt((m4 - v^2 (n - 3) / (n - 1)) / n), m4 the fourth central moment; infinite after one term."""
        n = self.count
        if n < 2:
            return super().stderr
        variance = self._spread / (n - 1)
        return ((self._fourth / n - variance**2 * (n - 3) / (n - 1)).clamp(min=0) / n).sqrt().to(self._dtype)


def stacked(estimates: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The values and the standard errors of one estimate per image, each stacked to (n, ...)."""
    values, errors = zip(*estimates, strict=True)
    return torch.stack(values), torch.stack(errors)


@dataclass(frozen=True)
class Draws:
    """Random numbers for each of many samples, from seeds of their own: made again at each use.

    So they take no memory, batches may be cut anyhow, and a long run begins with the samples of a short one.
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
        """Draws N(0, 1) in a tensor's shape for the k-th sample; the same numbers in every precision."""
        generator = torch.Generator().manual_seed(self.seeds[k])
        return torch.randn(like.shape, generator=generator, dtype=torch.float32).to(like)

    def uniform(self, k: int) -> float:
        """Draws a number in [0, 1) for the k-th sample, independent of the normal ones."""
        return self.shares[k]
