"""Compositions: pictures of several units at once, in the proportions of an image's activation, or of two units combined.

caricatures   everything that a layer found in an image, exaggerated
grids         the same place by place, and in a few groups of channels
combinations  two units alone, against each other and together, and the way from one to the other
"""
