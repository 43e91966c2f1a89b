"""Follows the image through one pass of a network, to find which part of the image each place of a layer can see."""
