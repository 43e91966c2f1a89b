"""Ranks methods on one's own pictures: what metrics say of their maps, and whether what the maps predict comes true."""

from tapetum.families.rankings.ranking import rank_methods
