"""Gradient attributions: how the score changes with each value of the image."""
