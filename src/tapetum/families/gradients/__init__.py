"""Gradient attributions: how the score reacts to each value of the image."""
