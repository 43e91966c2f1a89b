"""Verdicts: whether a map says more about a prediction than random maps, edges and a blob in the middle do."""

from tapetum.families.verdicts.judging import ask, judge
from tapetum.families.verdicts.trials import Trials
