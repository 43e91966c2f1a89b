"""Compositions: pictures of many units at once, in the proportions in which a layer has them, or of two that meet.

caricatures   all that a layer found in an image, exaggerated
grids         what it found place by place, and in a few groups of channels
combinations  two units alone, against each other and at once; and the way from the one to the other
"""
