"""Inversion: what is left of a photograph in a layer, as a picture that gives the same activation there."""
