"""Numbers and answers as texts of a report."""

from __future__ import annotations

from math import isfinite

from tapetum.types import Number, Prediction


def number(value: float) -> str:
    """A number with a true minus sign; a dash for NaN."""
    return f"{value:.3f}".replace("-", "−") if isfinite(value) else "–"


def seconds(value: float) -> str:
    """ "45 ms" below a second, else "3.2 s"."""
    if value < 0.001:
        return "< 1 ms"
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def percent(value: float) -> str:
    """A probability in [0, 1] as "43.2 %"; "< 0.1 %" if it is small but not 0."""
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"


def measure(value: float) -> str:
    """A number in its own units: 58.2, 1,250, −0.0312."""
    return (f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}").replace("-", "−")


def line_name(one: Prediction | Number) -> str:
    """Label of a class or an output, or its number where it has none."""
    return one.label or f"{'output' if isinstance(one, Number) else 'class'} {one.index}"


def line_value(one: Prediction | Number) -> str:
    """A probability in percent, a number as it is."""
    return measure(one.value) if isinstance(one, Number) else percent(one.probability)
