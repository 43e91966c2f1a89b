"""Inversion: pictures that give nearly the same activation at a layer as a photograph, and show what the layer kept of it."""
