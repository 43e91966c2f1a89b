"""Inversion: pictures with the same activation at a layer as a photograph, which show what the layer kept of it."""
