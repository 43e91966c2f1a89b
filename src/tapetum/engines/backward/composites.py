"""Composites: sets of LRP rules, one for each kind of operation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from tapetum.engines.backward.equations import (
    Affine,
    AffineRule,
    alpha_beta,
    epsilon,
    flat,
    gamma,
    w_square,
    z_box,
    z_minus,
    z_plus,
)

CompositeName = Literal[
    "zero", "epsilon", "epsilon_plus", "epsilon_plus_flat", "epsilon_alpha2_beta1", "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box", "epsilon_gamma_flat", "epsilon_plus_w2",
    "sequential_preset_a", "sequential_preset_a_flat", "sequential_preset_b", "sequential_preset_b_flat",
]  # fmt: skip


@dataclass(frozen=True)
class Composite:
    """A set of LRP rules, one for each kind of operation.

    convolution    rule of convolutions
    linear         rule of linear layers
    first          rule of operations that get the image itself; None: the rule of their kind
    last           rule of the last affine operation, the classifier; None: the rule of its kind
    stabilizer     epsilon in all other denominators: of sums, averages, normalisations, attention
    supposes_relu  whether a network without ReLUs is refused
    """

    convolution: AffineRule
    linear: AffineRule
    first: AffineRule | None = None
    last: AffineRule | None = None
    stabilizer: float = 1e-6
    supposes_relu: bool = False


def composite(name: CompositeName, epsilon_value: float = 1e-6, gamma_value: float = 0.25) -> Composite:
    """Returns the composite with this name; linear layers always have the epsilon rule, in "zero" with epsilon 0 (LRP-0)."""
    linear = epsilon(0.0 if name == "zero" else epsilon_value)
    if name == "zero":
        return Composite(linear, linear, stabilizer=0.0)
    if name == "epsilon":
        return Composite(linear, linear)
    convolution, first = _NAMED[_ALIASES.get(name, name)]
    return Composite(convolution(gamma_value), linear, first() if first else None)


_NAMED: dict[str, tuple[Callable[[float], AffineRule], Callable[[], AffineRule] | None]] = {
    "epsilon_plus": (lambda _: z_plus(), None),
    "epsilon_plus_flat": (lambda _: z_plus(), flat),
    "epsilon_plus_w2": (lambda _: z_plus(), w_square),
    "epsilon_alpha2_beta1": (lambda _: alpha_beta(2.0), None),
    "epsilon_alpha2_beta1_flat": (lambda _: alpha_beta(2.0), flat),
    "epsilon_gamma_box": (gamma, z_box),
    "epsilon_gamma_flat": (gamma, flat),
}
_ALIASES = {
    "sequential_preset_a": "epsilon_plus",
    "sequential_preset_a_flat": "epsilon_plus_flat",
    "sequential_preset_b": "epsilon_alpha2_beta1",
    "sequential_preset_b_flat": "epsilon_alpha2_beta1_flat",
}
"""iNNvestigate's names of the same composites (its default epsilon in them is 0.1)."""


def excitation(contrastive: bool) -> Composite:
    """Returns the composite of excitation backprop: z+ without biases; if contrastive, minus z- at the last layer."""
    rule, inhibited = z_plus(bias=False), z_minus(bias=False)

    def contrast(a: Affine, relevance: Tensor) -> Tensor:
        return rule(a, relevance) - inhibited(a, relevance)

    return Composite(rule, rule, last=contrast if contrastive else None, supposes_relu=True)
