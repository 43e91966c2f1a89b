"""Composites: the rule of LRP for each kind of operation."""

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
    """Rules by kind of operation.

    first       of the operations that see the image itself (None: the rule of their kind)
    last        of the last affine operation, the classifier (None: the rule of its kind)
    stabilizer  of everything else: sums, averages, normalisations, attention
    supposes_relu  whether a network without ReLUs is refused
    """

    convolution: AffineRule
    linear: AffineRule
    first: AffineRule | None = None
    last: AffineRule | None = None
    stabilizer: float = 1e-6
    supposes_relu: bool = False


def composite(name: CompositeName, epsilon_value: float = 1e-6, gamma_value: float = 0.25) -> Composite:
    """The composite of that name; every linear layer has the epsilon rule, the names tell the convolutions' and the first's."""
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
    """Excitation backprop: z+ without biases everywhere; contrastive: minus what the negated classifier excites."""
    rule, inhibited = z_plus(bias=False), z_minus(bias=False)

    def contrast(a: Affine, relevance: Tensor) -> Tensor:
        return rule(a, relevance) - inhibited(a, relevance)

    return Composite(rule, rule, last=contrast if contrastive else None, supposes_relu=True)
