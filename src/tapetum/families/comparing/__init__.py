"""Two networks side by side: what changed in their answers, their maps and their layers, against a null of other seeds."""

from tapetum.families.comparing.aligning import cka
from tapetum.families.comparing.comparing import compare
