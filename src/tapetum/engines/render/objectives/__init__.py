"""Objectives: what pictures are optimised for. Each gives one value per picture, to be raised, and they add and scale.

from tapetum import objectives
objectives.channel("blocks.3.0", 5) - 0.1 * objectives.total_variation()
"""

from tapetum.engines.render.objectives.base import OUTPUT, Objective, Seen, each
from tapetum.engines.render.objectives.units import channel, neuron, unit

__all__ = ["OUTPUT", "Objective", "Seen", "channel", "each", "neuron", "unit"]
