"""The layers of a data set's scan when nobody names them: the output of every block, or of every convolution's activation."""

from __future__ import annotations

from math import prod

from tapetum.models.choice import choose_layer, extended, rejoined
from tapetum.models.layers import Survey, kinds_of_operations
from tapetum.types import Layer


def block_layers(survey: Survey) -> tuple[str, ...]:
    """The output of every block of a network, in its order: what it computes step by step, without what is inside a step.

    A block is a module with a map that holds at least two learned layers, one of which looks at several places (a residual
    block, an inception module, a block of a transformer). Where blocks are lined up inside a larger module (a stage, an
    encoder), the blocks are meant. A network without blocks (VGG, AlexNet) has the activation behind each of its
    convolutions; one without either the layer that `choose_layer` gives.
    """
    blocks = _Blocks(survey).inside("")
    return tuple(blocks or _plain(survey) or [choose_layer(survey)[0]])


class _Blocks:
    """Tree of the modules that ran, by their names."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.kinds = kinds_of_operations(survey.events)
        self.layers = {layer.name: layer for layer in survey.layers}
        self.children: dict[str, list[str]] = {}
        for name in self.layers:
            parts = name.split(".")
            for depth in range(len(parts)):  # a ModuleList does not run itself, but stands in the names
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
        """Whether a module is only blocks one after the other, as a class of its own may be that does what Sequential does."""
        children = self.children.get(name, [])
        if any(child in self.survey.containers for child in children):
            return False
        same = children and children[-1] in self.layers and self.layers[children[-1]].shape == self.layers[name].shape
        return bool(same) and all(self._is_block(child) for child in children)

    def _lines_up(self, name: str) -> bool:
        """Whether a container somewhere in it has blocks side by side."""
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
        """Number of convolutions, linear maps and attentions inside with weights of their own."""
        if name in self.children:
            return sum(self._learned(child) for child in self.children[name])
        return int(self.layers[name].parameters > 0 and bool(self.kinds[name] & {"mix", "channel"}))


def _plain(survey: Survey) -> list[str]:
    """Layers of a network without blocks: behind each module that only joins branches, and each convolution elsewhere.

    A convolution counts if it looks at several places; those with the grid of a join are its branches, or a part of one.
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
