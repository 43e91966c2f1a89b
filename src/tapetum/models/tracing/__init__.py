"""Follows a tensor of the image through one pass: which places of it each layer can see."""
