"""Perturbation attributions: parts of the image are hidden, and the change of the score is measured."""
