"""Chooses the layers for scanning a data set when the user names none: every block, or the activation of every convolution."""

from __future__ import annotations

from math import prod

from tapetum.models.choice import choose_layer, extended, rejoined
from tapetum.models.layers import Survey, kinds_of_operations
from tapetum.types import Layer


def block_layers(survey: Survey) -> tuple[str, ...]:
    """Returns the names of a network's blocks, in the network's order, without the layers inside them.

    A block is a module whose output is a map and that holds at least two learned layers, one of which looks at several places
    (a residual block, an inception module, a block of a transformer). Where a larger module (a stage, an encoder) lines up
    blocks, these are taken, not the larger module. For a network without blocks (VGG, AlexNet) the activation after each
    convolution is taken; without convolutions, the layer that `choose_layer` gives.
    """
    blocks = _Blocks(survey).inside("")
    return tuple(blocks or _plain(survey) or [choose_layer(survey)[0]])


class _Blocks:
    """Tree of the modules that ran in the recorded pass, built from their names; finds the blocks in it."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.kinds = kinds_of_operations(survey.events)
        self.layers = {layer.name: layer for layer in survey.layers}
        self.children: dict[str, list[str]] = {}
        for name in self.layers:
            parts = name.split(".")
            for depth in range(len(parts)):  # a ModuleList never runs, but its name is part of its children's
                outer, inner = ".".join(parts[:depth]), ".".join(parts[: depth + 1])
                if inner not in self.children.setdefault(outer, []):
                    self.children[outer].append(inner)

    def inside(self, name: str) -> list[str]:
        """Lists the blocks inside a module that is not a block itself."""
        found: list[str] = []
        for child in self.children.get(name, []):
            if self._is_container(child) or self._lines_up(child):
                found += self.inside(child)
            elif self._is_block(child):
                found.append(child)
        return found

    def _is_container(self, name: str) -> bool:
        if name not in self.layers:
            return name in self.children
        return name in self.survey.containers or self._is_row(name)

    def _is_row(self, name: str) -> bool:
        """Checks whether a module only runs blocks one after the other, as nn.Sequential does, but has a class of its own."""
        children = self.children.get(name, [])
        if any(child in self.survey.containers for child in children):
            return False
        same = children and children[-1] in self.layers and self.layers[children[-1]].shape == self.layers[name].shape
        return bool(same) and all(self._is_block(child) for child in children)

    def _lines_up(self, name: str) -> bool:
        """Checks whether a container somewhere inside the module holds blocks."""
        return any(
            (self._is_container(child) and any(map(self._is_block, self.children.get(child, [])))) or self._lines_up(child)
            for child in self.children.get(name, [])
        )

    def _is_block(self, name: str) -> bool:
        layer = self.layers.get(name)
        if layer is None or not _is_map(layer):
            return False
        return name in self.children and "mix" in self.kinds[name] and self._learned(name) >= 2

    def _learned(self, name: str) -> int:
        """Number of convolutions, linear layers and attention layers with weights inside a module, itself included."""
        if name in self.children:
            return sum(self._learned(child) for child in self.children[name])
        return int(self.layers[name].parameters > 0 and bool(self.kinds[name] & {"mix", "channel"}))


def _plain(survey: Survey) -> list[str]:
    """Returns the layers of a network without blocks: the activation after each convolution and each join of branches.

    A convolution counts if it looks at several places, unless its map has the grid of a join: then it lies in a branch.
    """
    kinds = kinds_of_operations(survey.events)
    leaves = [layer for layer in survey.layers if "start" not in kinds[layer.name] and _is_map(layer)]
    joins = [layer for layer in leaves if kinds[layer.name] == {"join"}]
    joined = {layer.grid for layer in joins}
    convolutions = [one for one in leaves if one.parameters and "mix" in kinds[one.name] and one.grid not in joined]
    found = {extended(survey, one.name) for one in convolutions} | {_behind(survey, one.name) for one in joins}
    return [name for name in survey.order if name in found]


def _behind(survey: Survey, join: str) -> str:
    again = rejoined(survey, join)
    return again if again != join else extended(survey, join)


def _is_map(layer: Layer) -> bool:
    return layer.grid is not None and prod(layer.grid) > 1 and layer.channels is not None and layer.calls == 1
