"""Methods that compare the layers of a network: shapes, sparsity, receptive fields, and the effect of a hidden box.

tables      one row per layer: shapes, parameters, fields, sparsity
means       the mean over channels at every stage, and how active the layers are
fields      receptive fields by theory and by gradients
occlusions  a hidden box and what it changes
"""
