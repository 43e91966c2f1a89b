"""Formats numbers and answers for a report."""

from __future__ import annotations

from math import isfinite

from tapetum.types import Number, Prediction


def number(value: float) -> str:
    """Formats a number with three decimals and a true minus sign; NaN becomes a dash."""
    return f"{value:.3f}".replace("-", "−") if isfinite(value) else "–"


def seconds(value: float) -> str:
    """Formats seconds: "45 ms" below a second, else "3.2 s"."""
    if value < 0.001:
        return "< 1 ms"
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def percent(value: float) -> str:
    """Formats a probability in [0, 1] as "43.2 %", or "< 0.1 %" if it is small but not 0."""
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"


def three_digits(value: float) -> str:
    """Formats a number with three significant digits, from 1000 on as a whole number: 58.2, 1,250, −0.0312."""
    return (f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}").replace("-", "−")


def line_name(one: Prediction | Number) -> str:
    """Returns the label of a class or an output, or its index where it has none."""
    return one.label or f"{'output' if isinstance(one, Number) else 'class'} {one.index}"


def line_value(one: Prediction | Number) -> str:
    """Formats the probability of a prediction in percent, or the value of a regression output."""
    return three_digits(one.value) if isinstance(one, Number) else percent(one.probability)
