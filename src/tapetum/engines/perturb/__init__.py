"""Scores under masks: one stream that occlusion, RISE, Score-CAM, deletion and insertion read."""

from tapetum.engines.perturb.fills import Fill, as_fill
from tapetum.engines.perturb.masks import Masks, random_grids, staircase, windows
from tapetum.engines.perturb.under import mixed, scores, scores_under

__all__ = ["Fill", "Masks", "as_fill", "mixed", "random_grids", "scores", "scores_under", "staircase", "windows"]
