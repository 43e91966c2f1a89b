"""Backward passes other than the gradient (guided backprop, deconvnet, relevance), chosen for each kind of operation."""

from tapetum.engines.backward.modes import backward_rules
from tapetum.engines.backward.rules import deconvolved, guided
