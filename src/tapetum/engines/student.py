"""Student's t for one more value beside a few: how low it may be, and how probable one as low is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.special import stdtr, stdtrit


def next_value(values: Sequence[float], level: float, shrunk: float = 1.0) -> float:
    """Returns the bar below which one more value falls with the probability `level`: mean - t s sqrt(1 + 1 / m).

    s is the standard deviation of the m values, divided by `shrunk`, t the quantile for m - 1 degrees of freedom.
    """
    return fmean(values) + float(stdtrit(len(values) - 1, level)) * _spread(values, shrunk)


def next_probability(values: Sequence[float], measured: float, shrunk: float = 1.0) -> float:
    """Returns the probability that one more value is as low as `measured`; 0 or 1 where all values are equal."""
    spread = _spread(values, shrunk)
    if spread == 0:
        return float(measured >= fmean(values))
    return float(stdtr(len(values) - 1, (measured - fmean(values)) / spread))


def _spread(values: Sequence[float], shrunk: float) -> float:
    return stdev(values) / shrunk * math.sqrt(1 + 1 / len(values))
