"""Training: SimpleCNN or any classifier, from nothing or from trained weights, and a look at what came out."""

from tapetum.training.checking import check_predictions
from tapetum.training.training import fine_tune, train

__all__ = ["check_predictions", "fine_tune", "train"]
