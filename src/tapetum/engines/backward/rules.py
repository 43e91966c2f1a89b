"""Backward rules: each takes the output of an operation and changes the gradient that will flow back through it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Rule = Callable[[Tensor], None]
"""Gets an operation's output while the graph is recorded and registers what happens to its gradient."""


def guided(output: Tensor) -> None:
    """Guided backprop: R_in = R_out * (R_out > 0) * (x > 0). The second factor is the operation's own derivative."""
    output.register_hook(lambda grad: grad.clamp(min=0))
