"""Scores of an image under masks, as occlusion, RISE, Score-CAM, deletion and insertion need them."""

from tapetum.engines.perturb.cells import Cells, descending
from tapetum.engines.perturb.fills import as_fill
from tapetum.engines.perturb.masks import Masks, random_grids, staircase, windows
from tapetum.engines.perturb.superpixels import Segmentation, coalitions, segment, segments_painted
from tapetum.engines.perturb.under import mixed, scores, scores_under
