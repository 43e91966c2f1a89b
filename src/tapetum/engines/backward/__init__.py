"""Other backward passes for chosen operations (guided backprop and its kin)."""

from tapetum.engines.backward.modes import Applied, backward_rules
from tapetum.engines.backward.rules import guided

__all__ = ["Applied", "backward_rules", "guided"]
