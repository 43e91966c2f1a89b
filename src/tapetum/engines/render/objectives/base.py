"""Base of objectives, which have a name, the layers that they need, and one value per picture, and can be added and scaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from tapetum.engines.render.objectives.splitting import in_parts, split_answer
from tapetum.models.vision_model import VisionModel
from tapetum.types import LayerError, Unit

OUTPUT = ".output"
"""Entry in the `needs` of objectives that read the model's answer; no layer can have this name."""


@dataclass(frozen=True)
class PreActivation:
    """Entry in the `needs` of objectives that read a unit before the activation function that ends its layer."""

    unit: Unit


Need = Unit | PreActivation | str
"""What an objective reads: a unit, a unit before the activation function, the name of a layer, or OUTPUT."""


@dataclass(frozen=True, eq=False)
class Seen:
    """Results of one pass of a batch of n pictures: everything that an objective may use.

    pixels   (n, 3, h, w) in [0, 1], the pictures themselves, before the transforms; (n, 4, h, w) with alpha
    images   (n, c, h', w') model-ready, after the transforms: what the network saw
    acts     {layer: activation}, a map (n, c, h, w) where the layer has one
    before   {layer: values before the activation function that ends it}, for `PreActivation` needs
    output   the model's answer, None if the pass stopped at the deepest requested layer
    step     number of the step, from 0 to n_steps - 1, for objectives that fade in or out
    """

    model: VisionModel
    pixels: Tensor
    images: Tensor
    acts: Mapping[str, Tensor]
    output: Any = None
    before: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    step: int = 0
    n_steps: int = 1

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, layer: str) -> Tensor:
        """Returns the activation of a layer, which must be among the needs of the objective."""
        if layer not in self.acts:
            raise LayerError(f"'{layer}' was not recorded: name it in the objective's `needs`")
        return self.acts[layer]

    def split(self, size: int) -> list[Seen]:
        """Splits the results by groups of `size` pictures; each tensor is split only once, so gradients are joined once.

        Each part is a copy, so its memory is laid out as for a single group: sums may depend on alignment.
        """
        n = len(self) // size
        acts = {layer: in_parts(act, size) for layer, act in self.acts.items()}
        before = {layer: in_parts(act, size) for layer, act in self.before.items()}
        outputs = split_answer(self.output, size, n)
        pixels, images = in_parts(self.pixels, size), in_parts(self.images, size)
        return [
            replace(
                self,
                pixels=pixels[i],
                images=images[i],
                acts={k: v[i] for k, v in acts.items()},
                before={k: v[i] for k, v in before.items()},
                output=outputs[i],
            )
            for i in range(n)
        ]


Value = Callable[[Seen], Tensor]
"""Function of the results of n pictures that returns their values (n,)."""


@dataclass(frozen=True, eq=False)
class Objective:
    """Goal of optimised pictures: one value per picture, which is maximised.

    The value of a picture depends on no other picture, unless the objective compares a group of pictures (diversity).

        channel("blocks.3.0", 5) - 100 * total_variation()

    name    text of the call that made the objective
    needs   the layers and units that the objective reads; OUTPUT for the model's answer
    value   function of `Seen` that returns the values (n,)
    """

    name: str
    needs: tuple[Need, ...]
    value: Value

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that the objective reads, with OUTPUT if it reads the model's answer."""
        return tuple(dict.fromkeys(map(layer_of_need, self.needs)))

    @property
    def signed_layers(self) -> tuple[str, ...]:
        """Names of the layers that the objective reads before the activation function that ends them."""
        return tuple(dict.fromkeys(layer_of_need(need) for need in self.needs if isinstance(need, PreActivation)))

    def __call__(self, seen: Seen) -> Tensor:
        return self.value(seen)

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Objective({self.name})"

    def __add__(self, other: Objective | float | int) -> Objective:
        return _joined(self, other, "+", torch.add)

    def __radd__(self, other: float | int) -> Objective:
        return self if other == 0 else _joined(_constant(other), self, "+", torch.add)  # Python's sum() begins with 0

    def __sub__(self, other: Objective | float | int) -> Objective:
        return _joined(self, other, "-", torch.sub)

    def __rsub__(self, other: float | int) -> Objective:
        return _joined(_constant(other), self, "-", torch.sub)

    def __mul__(self, other: Objective | float | int) -> Objective:
        return _joined(self, other, "*", torch.mul)

    def __rmul__(self, other: float | int) -> Objective:
        return _joined(_constant(other), self, "*", torch.mul)

    def __truediv__(self, other: Objective | float | int) -> Objective:
        return _joined(self, other, "/", torch.div)

    def __neg__(self) -> Objective:
        return Objective(f"-{_in_brackets(self)}", self.needs, lambda seen: -self.value(seen))


def layer_of_need(need: Need) -> str:
    unit = need.unit if isinstance(need, PreActivation) else need
    return unit.layer if isinstance(unit, Unit) else unit


def _constant(number: float | int) -> Objective:
    return Objective(f"{number:g}", (), lambda seen: seen.pixels.new_full((len(seen),), number))


def _joined(a: Objective, other: Objective | float | int, sign: str, join: Callable[[Tensor, Tensor], Tensor]) -> Objective:
    b = other if isinstance(other, Objective) else _constant(other)
    left, right = (str(a), str(b)) if sign in "+-" else (_in_brackets(a), _in_brackets(b))
    if sign == "-":
        right = _in_brackets(b)
    return Objective(f"{left} {sign} {right}", a.needs + b.needs, lambda seen: join(a.value(seen), b.value(seen)))


def _in_brackets(objective: Objective) -> str:
    depth = 0
    for letter in objective.name:  # a space outside of brackets belongs to a sum
        depth += (letter in "([") - (letter in ")]")
        if letter == " " and depth == 0:
            return f"({objective.name})"
    return objective.name


def each(objectives: Sequence[Objective], group: int = 1) -> Objective:
    """Combines objectives into one that applies the first to the first `group` pictures, the second to the next, and so on."""
    if len(objectives) == 1:
        return objectives[0]
    needs = tuple(dict.fromkeys(need for one in objectives for need in one.needs))

    def value(seen: Seen) -> Tensor:
        parts = [one(part) for one, part in zip(objectives, seen.split(group), strict=True)]
        return torch.cat(parts)

    return Objective(f"each({', '.join(map(str, objectives))})", needs, value)
