"""Training of SimpleCNN or any classifier, from nothing or from trained weights, and a check of its predictions."""

from tapetum.training.checking import check_predictions
from tapetum.training.training import fine_tune, train

__all__ = ["check_predictions", "fine_tune", "train"]
