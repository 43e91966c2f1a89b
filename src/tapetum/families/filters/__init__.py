"""Filters of a network: their weights, their responses to an image, and the same network with random weights."""
