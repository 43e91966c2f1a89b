"""Layer by layer: what a network's layers hold of an image, what they can see of it, and what hiding a part changes.

tables      one row a layer: shapes, parameters, fields, sparsity
means       what is left of a picture at every stage, and how active the layers are
fields      receptive fields by theory and by gradients
occlusions  a hidden box and what it changes
"""
