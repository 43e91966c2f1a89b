"""Other backward passes for chosen operations (guided backprop, deconvnet, relevance)."""

from tapetum.engines.backward.modes import Applied, backward_rules
from tapetum.engines.backward.rules import deconvolved, guided

__all__ = ["Applied", "backward_rules", "deconvolved", "guided"]
