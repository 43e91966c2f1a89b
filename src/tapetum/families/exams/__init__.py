"""An exam for methods and metrics: networks whose weights are set by hand, so that the true explanation is known."""
