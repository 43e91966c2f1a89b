"""Turns targets into scores: only this package deals with class indices, labels and types of output.

score = as_score(model, images, "tabby")     # or 281, [281, 207], contrast(281, 282), Box, Region, Unit, callable, None
score(images)                                # (n,)
score.take([0])                              # the score of the first image alone
"""

from tapetum.engines.scores.base import ModelScore, TargetScore
from tapetum.engines.scores.building import PredictedScore, answers_for, as_score, check_target, n_classes, predicted_score
from tapetum.engines.scores.classes import ClassScore, OutputScore, class_name
from tapetum.engines.scores.embeddings import SimilarityScore
from tapetum.engines.scores.inside import CallableScore, UnitScore
from tapetum.engines.scores.measuring import as_probability, gives_classes, measures, probabilities
from tapetum.engines.scores.outputs import Answer, answer, forward_logits, forward_table, table_of
from tapetum.engines.scores.places import BoxScore, RegionScore
from tapetum.engines.scores.readings import Reading
from tapetum.engines.scores.texts import FORMS
from tapetum.engines.scores.together import Together
