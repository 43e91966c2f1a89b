"""Trains SimpleCNN or any classifier, from random or trained weights, and checks its predictions."""

from tapetum.training.checking import check_predictions
from tapetum.training.training import fine_tune, train
